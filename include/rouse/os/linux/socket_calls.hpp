// What os/posix/ needs and each Unix-like system does in its own way: Linux. The same names are in
// os/darwin/socket_calls.hpp.
#pragma once
#include <rouse/config.hpp>

#if ROUSE_LINUX
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <netinet/in.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/types.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// UDP_SEGMENT and UDP_GRO of <linux/udp.h>, and the value that switches UDP_GRO on.
inline constexpr int udp_segment_name = 103, udp_gro_name = 104, udp_gro_on = 1;
/// The name of the option with the seconds of lingering.
inline constexpr int linger_name = SO_LINGER;
/// Whether the system distributes connections among several listeners that share an address.
inline constexpr bool spreads_connections = true;
/// Programs that this one executes do not inherit the descriptors that come with a message.
inline constexpr int message_flags = MSG_CMSG_CLOEXEC;
/// The flag of a send without SIGPIPE.
inline constexpr int no_signal = MSG_NOSIGNAL;

/// The flags of a recv. With MSG_TRUNC the kernel returns the real size of a datagram or packet,
/// which shows whether it was larger than the buffer. (On a TCP stream the flag would discard the
/// bytes.)
inline int recv_flags(int type) noexcept { return type == SOCK_STREAM ? 0 : MSG_TRUNC; }

namespace system_calls {

// Programs that this one executes do not inherit any of the handles.

inline int socket(int family, int type, int protocol, bool blocking) noexcept {
  return ::socket(family, type | SOCK_CLOEXEC | (blocking ? 0 : SOCK_NONBLOCK), protocol);
}
inline int socketpair(int type, int (&out)[2]) noexcept {
  return ::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, out);
}
inline int accept(int h) noexcept { return ::accept4(h, nullptr, nullptr, SOCK_CLOEXEC); }

/// Prepares a socket that was made elsewhere, before it leaves blocking mode. Returns a negative
/// number after an error.
inline int prepare_adopted(int /*h*/) noexcept { return 0; }
/// The same for a descriptor that came with a message.
inline void prepare_received(int /*h*/) noexcept {}

/// The family of a socket. Returns a negative number after an error.
inline int family_of(int h, int& family) noexcept {
  socklen_t size = sizeof family;
  return ::getsockopt(h, SOL_SOCKET, SO_DOMAIN, &family, &size);
}

/// Like recv(2); of a datagram or packet that is larger than the buffer, a number above `size`.
inline ssize_t recv(int h, int type, void* data, std::size_t size) noexcept {
  return ::recv(h, data, size, MSG_DONTWAIT | recv_flags(type));
}

inline ssize_t sendfile(int h, int file, std::uint64_t offset, std::size_t size) noexcept {
  auto from = static_cast<off_t>(offset);
  return ::sendfile(h, file, &from, size);
}

/// Whether a connect that was in progress has ended. If so, `error` is 0 or an error number.
///
/// A second connect(2) tells whether it has, or is still in progress (the event may be left over
/// from before the connect). Only this call makes the kernel treat the socket as connected, or,
/// after a failure, as one that was never connected.
inline bool connect_has_ended(int h, const sockaddr& to, socklen_t length, int& error) noexcept {
  error = ::connect(h, &to, length) == 0 || errno == EISCONN ? 0 : errno;
  return error != EALREADY && error != EINPROGRESS && error != EINTR;
}

/// The events of poll(2) of a peer that sends no more.
inline constexpr short peer_closed = POLLRDHUP;

/// The errors of accept(2) about a connection that died, besides those of all systems.
inline bool is_stillborn(int number) noexcept { return number == ENONET; }

/// The error of a full queue that no event announces to have room again: that of a Unix-domain
/// socket's peer.
inline bool is_crowded(int number) noexcept { return number == EAGAIN; }

} // namespace system_calls
}}} // namespace rouse::ROUSE_ABI::os
#endif

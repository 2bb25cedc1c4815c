// What os/posix/ needs and each Unix-like system does in its own way: macOS, and mostly the BSDs.
// The same names are in os/linux/socket_calls.hpp.
//
//   Linux                          here
//   SOCK_CLOEXEC, accept4          fcntl(2) afterwards: a fork in another thread comes in between
//   MSG_NOSIGNAL                   SO_NOSIGPIPE, set on each socket
//   MSG_TRUNC as a flag of recv    recvmsg(2), which reports it
//   SO_DOMAIN                      getsockname(2)
//   a second connect tells         SO_ERROR and getpeername(2)
#pragma once
#include <rouse/config.hpp>

#if ROUSE_DARWIN
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// There are no such options: no_protocol_option.
inline constexpr int udp_segment_name = 0x7f01, udp_gro_name = 0x7f02, udp_gro_on = 1;
/// SO_LINGER counts ticks.
inline constexpr int linger_name = SO_LINGER_SEC;
/// Of several listeners that share an address, the last one gets all connections.
inline constexpr bool spreads_connections = false;
inline constexpr int message_flags = 0; // see prepare_received
inline constexpr int no_signal = 0; // see prepare_adopted

namespace system_calls {

inline int close_after_error(int h) noexcept {
  const int number = errno;
  ::close(h);
  errno = number;
  return -1;
}

/// SO_NOSIGPIPE must be set, or a send could end the process. The kernel refuses it (EINVAL) on a
/// connection that was reset meanwhile.
inline int suppress_sigpipe(int h) noexcept {
  const int on = 1;
  if (::setsockopt(h, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on) == 0 || errno == ENOTSOCK) return 0;
  if (errno == EINVAL) errno = ECONNABORTED;
  return -1;
}
inline int make_private(int h) noexcept { return ::fcntl(h, F_SETFD, FD_CLOEXEC); }

/// Called when a socket that was made elsewhere leaves blocking mode.
inline int prepare_adopted(int h) noexcept { return suppress_sigpipe(h); }
inline void prepare_received(int h) noexcept { make_private(h); }

inline int socket(int family, int type, int protocol, bool blocking) noexcept {
  const int h = ::socket(family, type, protocol);
  if (h < 0) return h;
  const bool ready = make_private(h) == 0 && suppress_sigpipe(h) == 0 &&
                     (blocking || ::fcntl(h, F_SETFL, O_NONBLOCK) == 0);
  return ready ? h : close_after_error(h);
}
inline int socketpair(int type, int (&out)[2]) noexcept {
  if (::socketpair(AF_UNIX, type, 0, out) != 0) return -1;
  for (const int h : out) {
    if (make_private(h) == 0 && suppress_sigpipe(h) == 0) continue;
    close_after_error(out[0]);
    return close_after_error(out[1]);
  }
  return 0;
}
/// The new handle has the mode of the listener.
inline int accept(int h) noexcept {
  const int made = ::accept(h, nullptr, nullptr);
  if (made < 0) return made;
  return make_private(made) == 0 && suppress_sigpipe(made) == 0 ? made : close_after_error(made);
}

inline int family_of(int h, int& family) noexcept {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  if (::getsockname(h, reinterpret_cast<sockaddr*>(&name), &size) != 0) return -1;
  // An unnamed Unix-domain socket may have an address without anything in it.
  family = size == 0 ? AF_UNIX : name.ss_family;
  return 0;
}

inline ssize_t recv(int h, int type, void* data, std::size_t size) noexcept {
  if (type == SOCK_STREAM) return ::recv(h, data, size, MSG_DONTWAIT);
  iovec piece{data, size};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  const ssize_t n = ::recvmsg(h, &message, MSG_DONTWAIT);
  return n >= 0 && (message.msg_flags & MSG_TRUNC) ? static_cast<ssize_t>(size) + 1 : n;
}

/// Bytes that were sent before an error count: the next call reports the error.
inline ssize_t sendfile(int h, int file, std::uint64_t offset, std::size_t size) noexcept {
  auto bytes = static_cast<off_t>(size);
  if (bytes == 0) return 0; // would mean: up to the end of the file
  const int result = ::sendfile(file, h, static_cast<off_t>(offset), &bytes, nullptr, 0);
  return result == 0 || bytes != 0 ? static_cast<ssize_t>(bytes) : -1;
}

inline bool connect_has_ended(int h, const sockaddr&, socklen_t, int& error) noexcept {
  socklen_t size = sizeof error;
  if (::getsockopt(h, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error != 0) return true;
  sockaddr_storage peer{};
  size = sizeof peer;
  if (::getpeername(h, reinterpret_cast<sockaddr*>(&peer), &size) == 0) return true;
  // Without a peer and without an error: the event was left over, unless the socket is dead.
  pollfd p{h, POLLOUT, 0};
  if (::poll(&p, 1, 0) <= 0 || (p.revents & (POLLHUP | POLLERR)) == 0) return false;
  error = ECONNREFUSED;
  return true;
}

inline constexpr short peer_closed =
    0; // recv(2) returns 0 whenever the receiving side is shut down

inline bool is_stillborn(int) noexcept { return false; }

/// A full queue of a network interface, or of a Unix-domain socket's peer.
inline bool is_crowded(int number) noexcept { return number == ENOBUFS || number == EAGAIN; }

} // namespace system_calls
}}} // namespace rouse::ROUSE_ABI::os
#endif

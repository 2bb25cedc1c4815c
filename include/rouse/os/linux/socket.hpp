// Sockets as Linux gives them: the calls that need no engine, and the non-blocking attempts that
// epoll builds on.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/os/address.hpp>

#if ROUSE_LINUX
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <span>
#include <sys/uio.h>
#include <unistd.h>

namespace rouse::inline ROUSE_ABI::os {

inline constexpr native_handle_type no_handle = -1;
inline constexpr int shutdown_recv = SHUT_RD, shutdown_send = SHUT_WR, shutdown_both = SHUT_RDWR;
inline constexpr int reuse_port_name = SO_REUSEPORT;
/// UDP_SEGMENT and UDP_GRO of <linux/udp.h>, and what switches the latter on.
inline constexpr int udp_segment_name = 103, udp_gro_name = 104, udp_gro_on = 1;
/// Whether the system spreads connections over several listeners that share an address.
inline constexpr bool spreads_connections = true;
/// How many accepts a server keeps pending: here one takes all that have come, one after another.
inline constexpr int accepts_at_once = 1;

/// What an engine's operation needs beside rouse::operation: nothing here, an OVERLAPPED on
/// Windows.
struct kernel_record {};

inline failure last_error() noexcept { return failure::from_os(errno); }
inline failure outcome(int result) noexcept { return result < 0 ? last_error() : failure{}; }

/// Not inherited by programs that this one executes.
inline failure open_socket(int family, int type, int protocol, bool blocking,
                           native_handle_type& out) noexcept {
  out = ::socket(family, type | SOCK_CLOEXEC | (blocking ? 0 : SOCK_NONBLOCK), protocol);
  return outcome(out);
}

/// Two that are connected to each other, in blocking mode.
inline failure open_pair(int type, native_handle_type (&out)[2]) noexcept {
  return outcome(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, out));
}

inline void close_socket(native_handle_type h) noexcept { ::close(h); }

inline failure bind(native_handle_type h, const endpoint& local, bool stream) noexcept {
  const socket_address a(local);
  // Without it, a server cannot be started again while connections of the last one linger in
  // TIME_WAIT.
  const int on = 1;
  if (stream) ::setsockopt(h, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  return outcome(::bind(h, &a.any, a.length));
}

/// An unbound socket gets an address first: by itself here, by a bind on Windows, which wants to
/// know the family.
inline failure listen(native_handle_type h, int backlog, int /*family*/) noexcept {
  return outcome(::listen(h, backlog));
}
inline failure shutdown(native_handle_type h, int how) noexcept {
  return outcome(::shutdown(h, how));
}

inline failure local_endpoint(native_handle_type h, endpoint& out) noexcept {
  socket_address a;
  a.length = socket_address::room;
  if (::getsockname(h, &a.any, &a.length) < 0) return last_error();
  out = a.to_endpoint();
  return {};
}

inline failure remote_endpoint(native_handle_type h, endpoint& out) noexcept {
  socket_address a;
  a.length = socket_address::room;
  if (::getpeername(h, &a.any, &a.length) < 0) return last_error();
  out = a.to_endpoint();
  return {};
}

inline failure set_option(native_handle_type h, int level, int name, const void* value,
                          std::size_t size) noexcept {
  return outcome(::setsockopt(h, level, name, value, static_cast<socklen_t>(size)));
}

/// `size` holds the room at first, then what was written.
inline failure get_option(native_handle_type h, int level, int name, void* value,
                          std::size_t& size) noexcept {
  auto length = static_cast<socklen_t>(size);
  const failure f = outcome(::getsockopt(h, level, name, value, &length));
  size = length;
  return f;
}

/// Of a handle made elsewhere.
inline failure describe(native_handle_type h, int& family, int& type) noexcept {
  std::size_t size = sizeof family;
  if (failure f = get_option(h, SOL_SOCKET, SO_DOMAIN, &family, size)) return f;
  size = sizeof type;
  return get_option(h, SOL_SOCKET, SO_TYPE, &type, size);
}

/// io_uring waits only on blocking handles; epoll must not block in accept and connect (the rest
/// says MSG_DONTWAIT).
inline failure set_blocking(native_handle_type h, bool blocking) noexcept {
  const int flags = ::fcntl(h, F_GETFL);
  if (flags < 0) return last_error();
  const int wanted = blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
  return flags == wanted ? failure{} : outcome(::fcntl(h, F_SETFL, wanted));
}

/// What an accept answers when this process or the system is short of descriptors or memory, which
/// may pass.
inline bool is_shortage(failure f) noexcept {
  switch (f.os_number()) {
  case EMFILE:
  case ENFILE:
  case ENOBUFS:
  case ENOMEM:
    return true;
  default:
    return false;
  }
}

/// What a local socket answers where its peer has no room, and nothing would report that it has
/// again: a listener whose queue is full, a datagram socket that this one is not connected to.
inline bool is_crowded(failure f) noexcept { return f.os_number() == EAGAIN; }

/// What accept(2) reports of a connection that died in the queue: the next one may be sound.
inline bool is_stillborn(failure f) noexcept {
  switch (f.os_number()) {
  case ECONNABORTED:
  case EPROTO:
  case ENETDOWN:
  case ENOPROTOOPT:
  case EHOSTDOWN:
  case ENONET:
  case EHOSTUNREACH:
  case ENETUNREACH:
    return true;
  default:
    return false;
  }
}

/// A datagram as the kernel takes it: where its bytes are, and the address that goes with it.
/// Filled in where it stays until the call that uses it has completed.
class message {
public:
  void to_receive(void* data, std::size_t size) noexcept {
    describe(data, size, socket_address::room);
  }
  void to_send(void* data, std::size_t size, const endpoint& to) noexcept {
    peer_ = socket_address(to);
    describe(data, size, peer_.length);
  }

  /// Without an address, and in several pieces.
  void in_pieces(iovec* pieces, std::size_t count) noexcept {
    header_ = {};
    header_.msg_iov = pieces;
    header_.msg_iovlen = count;
  }
  /// Afterwards: with one.
  void with_sender() noexcept { address(socket_address::room); }
  void with_destination(const endpoint& to) noexcept {
    peer_ = socket_address(to);
    address(peer_.length);
  }

  [[nodiscard]] msghdr& header() noexcept { return header_; }
  /// Whether the buffer was too small for what came: the rest is gone.
  [[nodiscard]] bool cut_short() const noexcept { return (header_.msg_flags & MSG_TRUNC) != 0; }
  /// Whom it came from.
  [[nodiscard]] endpoint peer() const noexcept {
    socket_address from = peer_;
    from.length = header_.msg_namelen;
    return from.to_endpoint();
  }

private:
  void describe(void* data, std::size_t size, socklen_t room) noexcept {
    piece_ = {data, size};
    in_pieces(&piece_, 1);
    address(room);
  }
  void address(socklen_t room) noexcept {
    header_.msg_name = &peer_.any;
    header_.msg_namelen = room;
  }

  socket_address peer_;
  iovec piece_{};
  msghdr header_{};
};

/// A message with room for several pieces.
class message_in_pieces : public message {
public:
  static constexpr std::size_t most = 16;

  void clear() noexcept { count_ = 0; }
  [[nodiscard]] bool full() const noexcept { return count_ == most; }
  void add(void* data, std::size_t size) noexcept { pieces_[count_++] = {data, size}; }
  void end() noexcept { in_pieces(pieces_, count_); }

private:
  iovec pieces_[most];
  std::size_t count_ = 0;
};

/// A message that descriptors go with, or come with: those that came and that nobody has taken are
/// still open.
class message_with_descriptors : public message {
public:
  static constexpr bool supported = true;
  static constexpr std::size_t most = 253; // SCM_MAX_FD

  // Where nothing has come, nothing is to be found.
  message_with_descriptors() noexcept { std::memset(control_, 0, sizeof(cmsghdr)); }

  /// Copies them. False: there are too many.
  bool enclose(std::span<const int> handles) noexcept {
    if (handles.size() > most) return false;
    if (handles.empty()) return true;
    const cmsghdr head{CMSG_LEN(handles.size_bytes()), SOL_SOCKET, SCM_RIGHTS};
    std::memcpy(control_, &head, sizeof head);
    std::memcpy(control_ + CMSG_LEN(0), handles.data(), handles.size_bytes());
    enclosed_ = CMSG_SPACE(handles.size_bytes());
    return true;
  }
  void to_send(void* data, std::size_t size) noexcept { describe(data, size, enclosed_); }
  void to_receive(void* data, std::size_t size) noexcept { describe(data, size, sizeof control_); }

  /// Whether some of those that came did not become descriptors of this process, which has no room
  /// for them; the kernel has closed them.
  [[nodiscard]] bool lost_some() noexcept { return (header().msg_flags & MSG_CTRUNC) != 0; }
  /// Gives those that came to `to`, once.
  template <class To>
  void take(To to) noexcept {
    for (cmsghdr* c = CMSG_FIRSTHDR(&header()); c; c = CMSG_NXTHDR(&header(), c)) {
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
      int h = -1;
      for (std::size_t at = CMSG_LEN(0); at + sizeof h <= c->cmsg_len; at += sizeof h) {
        std::memcpy(&h, reinterpret_cast<unsigned char*>(c) + at, sizeof h);
        to(h);
      }
    }
    header().msg_controllen = 0;
  }

private:
  void describe(void* data, std::size_t size, std::size_t control) noexcept {
    piece_ = {data, size};
    in_pieces(&piece_, 1);
    header().msg_control = control != 0 ? control_ : nullptr;
    header().msg_controllen = control;
  }

  iovec piece_{};
  std::size_t enclosed_ = 0;
  alignas(cmsghdr) unsigned char control_[CMSG_SPACE(most * sizeof(int))];
};

/// Whether a short count says that nothing more is there: of datagrams it does not, nor of a local
/// stream, which stops after bytes that a descriptor came with.
inline bool is_continuous(int family, int type) noexcept {
  return type == SOCK_STREAM && family != AF_UNIX;
}

/// Descriptors that come with a message are not inherited by programs that this one executes.
inline constexpr int message_flags = MSG_CMSG_CLOEXEC;

/// How a recv learns that a datagram was larger than its buffer: the kernel gives the real size.
inline int recv_flags(int type) noexcept { return type == SOCK_DGRAM ? MSG_TRUNC : 0; }

/// Looks at the answer to a recv or recv_from: one that was cut short is message_size.
inline void note_truncation(operation& op) noexcept {
  if (op.what == action::recv_from) {
    if (static_cast<message*>(op.data)->cut_short()) op.error = std::errc::message_size;
  } else if (op.bytes > op.size) {
    op.bytes = op.size;
    op.error = std::errc::message_size;
  }
}

// ---- attempts on a non-blocking handle: false where it would have to wait

namespace detail {
ROUSE_NOINLINE inline bool settle_error(failure& error) noexcept {
  if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
  error = last_error();
  return true;
}
inline bool settle(std::size_t& bytes, failure& error, ssize_t result) noexcept {
  if (result < 0) [[unlikely]]
    return settle_error(error);
  bytes = static_cast<std::size_t>(result);
  return true;
}
inline bool settle(operation& op, ssize_t result) noexcept {
  return settle(op.bytes, op.error, result);
}

template <class Call>
ROUSE_ALWAYS_INLINE auto retry_interrupted(Call call) noexcept {
  while (true) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) [[likely]]
      return result;
  }
}

// A system call that nearly always succeeds: what else may come of it stays out of the way.
template <class Call>
ROUSE_NOINLINE bool settle_failed(operation& op, ssize_t result, Call call) noexcept {
  if (errno == EINTR) result = retry_interrupted([&] { return call(op); });
  return settle(op, result);
}
template <class Call>
ROUSE_ALWAYS_INLINE bool settle_call(operation& op, Call call) noexcept {
  const ssize_t result = call(op);
  if (result < 0) [[unlikely]]
    return settle_failed(op, result, call);
  op.bytes = static_cast<std::size_t>(result);
  return true;
}
} // namespace detail

ROUSE_ALWAYS_INLINE bool try_recv(operation& op) noexcept {
  const bool done = detail::settle_call(op, [](operation& o) {
    return ::recv(static_cast<int>(o.target->native), o.data, o.size,
                  MSG_DONTWAIT | recv_flags(o.target->type));
  });
  if (op.bytes > op.size) [[unlikely]]
    note_truncation(op);
  return done;
}

/// No SIGPIPE: a peer that is gone is an error code.
ROUSE_ALWAYS_INLINE bool try_send(operation& op) noexcept {
  return detail::settle_call(op, [](operation& o) {
    return ::send(static_cast<int>(o.target->native), o.data, o.size, MSG_DONTWAIT | MSG_NOSIGNAL);
  });
}

inline bool try_recv_from(native_handle_type h, operation& op) noexcept {
  msghdr& header = static_cast<message*>(op.data)->header();
  const bool done = detail::settle(op, detail::retry_interrupted([&] {
                                     return ::recvmsg(h, &header, MSG_DONTWAIT | message_flags);
                                   }));
  if (done && !op.error) note_truncation(op);
  return done;
}

inline bool try_send_to(native_handle_type h, operation& op) noexcept {
  msghdr& header = static_cast<message*>(op.data)->header();
  const bool done = detail::settle(op, detail::retry_interrupted([&] {
                                     return ::sendmsg(h, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
                                   }));
  if (done || op.target->family != AF_UNIX || !header.msg_name) return done;
  op.error = failure::from_os(EAGAIN); // no edge will come: see is_crowded
  return true;
}

/// What poll(2) calls the readiness that an attempt waits for.
inline short readiness(action what) noexcept {
  if (what == action::when_writable) return POLLOUT;
  // RDBAND never holds for a stream, but belongs to what a wake-up says, where io_uring passes over
  // PRI alone.
  return what == action::when_urgent ? POLLPRI | POLLRDBAND : POLLIN | POLLRDHUP;
}

inline bool run_attempt(operation& op) noexcept {
  if (op.attempt->run) return op.attempt->run(op);
  pollfd p{static_cast<int>(op.target->native), readiness(op.what), 0};
  return detail::retry_interrupted([&] { return ::poll(&p, 1, 0); }) != 0;
}

inline bool try_accept(native_handle_type h, operation& op, native_handle_type& out) noexcept {
  out = detail::retry_interrupted([&] { return ::accept4(h, nullptr, nullptr, SOCK_CLOEXEC); });
  return detail::settle(op, out < 0 ? -1 : 0);
}

inline bool start_connect(native_handle_type h, operation& op) noexcept {
  const socket_address a(*op.peer);
  const int result = ::connect(h, &a.any, a.length);
  if (result < 0 && (errno == EINPROGRESS || errno == EINTR)) return false;
  op.error = outcome(result);
  return true;
}

/// Whether a connect that was started has ended; how, is then in `op`.
inline bool finish_connect(native_handle_type h, operation& op) noexcept {
  int error = 0;
  std::size_t size = sizeof error;
  op.error = get_option(h, SOL_SOCKET, SO_ERROR, &error, size);
  if (!op.error && error) op.error = failure::from_os(error);
  if (op.error) return true;
  // Asked again, the kernel says whether it is still trying (an event of the handle's earlier life
  // may have come first); and only then does it take the socket for connected itself.
  const socket_address a(*op.peer);
  if (::connect(h, &a.any, a.length) == 0 || errno == EISCONN) return true;
  if (errno == EALREADY || errno == EINPROGRESS || errno == EINTR) return false;
  op.error = last_error();
  return true;
}

} // namespace rouse::inline ROUSE_ABI::os
#endif

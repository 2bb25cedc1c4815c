// Sockets on Unix-like systems: the calls that need no engine, and the non-blocking attempts that
// `poll_driver` makes.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/os/address.hpp>
#include <rouse/os/darwin/socket_calls.hpp>
#include <rouse/os/linux/socket_calls.hpp>
#include <rouse/os/posix/message.hpp>

#if !ROUSE_WINDOWS
#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

inline constexpr native_handle_type no_handle = -1;
inline constexpr int shutdown_recv = SHUT_RD, shutdown_send = SHUT_WR, shutdown_both = SHUT_RDWR;
inline constexpr int reuse_port_name = SO_REUSEPORT;
/// The most bytes that one request asks for. The kernel counts them in an int.
inline constexpr std::size_t largest_request = std::size_t{1} << 30;
/// The number of accepts that a server keeps pending. Here one suffices, since it takes all waiting
/// connections one after another.
inline constexpr int accepts_at_once = 1;

/// What the kernel needs for an operation in addition to rouse::operation: nothing here, an
/// OVERLAPPED on Windows.
struct kernel_record {};

inline failure last_error() noexcept { return failure::from_os(errno); }
inline failure outcome(int result) noexcept { return result < 0 ? last_error() : failure{}; }

/// Like socket(2). Programs that this one executes do not inherit the handle.
inline failure open_socket(int family, int type, int protocol, bool blocking,
                           native_handle_type& out) noexcept {
  out = system_calls::socket(family, type, protocol, blocking);
  return outcome(out);
}

/// Makes two sockets that are connected to each other, in blocking mode. Source: socketpair(2).
inline failure open_pair(int type, native_handle_type (&out)[2]) noexcept {
  return outcome(system_calls::socketpair(type, out));
}

/// For a forked child. Does not touch SO_LINGER as `close_socket` does: the parent's handle shares
/// the option.
inline void close_copy(native_handle_type h) noexcept { ::close(h); }

/// Closes the handle without waiting. With SO_LINGER and a time, close(2) would wait, whatever the
/// mode of the handle. So the option is switched off, and the kernel sends the rest in the
/// background, as it does after the time has passed.
inline void close_socket(native_handle_type h) noexcept {
  ::linger option{};
  socklen_t size = sizeof option;
  if (::getsockopt(h, SOL_SOCKET, SO_LINGER, &option, &size) == 0 && option.l_onoff != 0 &&
      option.l_linger != 0) {
    option.l_onoff = 0;
    ::setsockopt(h, SOL_SOCKET, SO_LINGER, &option, sizeof option);
  }
  ::close(h);
}

inline failure bind(native_handle_type h, const endpoint& local, bool stream) noexcept {
  const socket_address a(local);
  // Without the option, a server cannot be started again while connections of its last run linger
  // in TIME_WAIT.
  const int on = 1;
  if (stream) ::setsockopt(h, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  return outcome(::bind(h, &a.any, a.length));
}

/// Like listen(2). An unbound socket gets an address first: from the kernel here, by a bind on
/// Windows, for which the caller passes the family.
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

/// @param size  before the call the size of the buffer, after it the size of the value.
inline failure get_option(native_handle_type h, int level, int name, void* value,
                          std::size_t& size) noexcept {
  auto length = static_cast<socklen_t>(size);
  const failure f = outcome(::getsockopt(h, level, name, value, &length));
  size = length;
  return f;
}

/// Determines the family and the type of a handle that was made elsewhere.
inline failure describe(native_handle_type h, int& family, int& type) noexcept {
  if (system_calls::family_of(h, family) < 0) return last_error();
  std::size_t size = sizeof type;
  return get_option(h, SOL_SOCKET, SO_TYPE, &type, size);
}

/// io_uring waits only on blocking handles. `poll_driver` needs non-blocking ones for accept and
/// connect (its other calls pass MSG_DONTWAIT).
inline failure set_blocking(native_handle_type h, bool blocking) noexcept {
  if (!blocking && system_calls::prepare_adopted(h) < 0) return last_error();
  const int flags = ::fcntl(h, F_GETFL);
  if (flags < 0) return last_error();
  const int wanted = blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
  return flags == wanted ? failure{} : outcome(::fcntl(h, F_SETFL, wanted));
}

/// Whether an accept failed because this process or the system is short of descriptors or memory.
/// The condition may be temporary.
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

/// Whether the error is that of a Unix-domain socket for a full queue of its peer: that of a
/// listener, or of a datagram socket that this one is not connected to. No event announces when the
/// queue has room again.
inline bool is_crowded(failure f) noexcept { return system_calls::is_crowded(f.os_number()); }

/// Whether accept(2) failed because a connection died in the queue. The next one may be sound.
inline bool is_stillborn(failure f) noexcept {
  switch (f.os_number()) {
  case ECONNABORTED:
  case EPROTO:
  case ENETDOWN:
  case ENOPROTOOPT:
  case EHOSTDOWN:
  case EHOSTUNREACH:
  case ENETUNREACH:
    return true;
  default:
    return system_calls::is_stillborn(f.os_number());
  }
}

/// Whether a short count means that no more bytes are there. It does not for datagrams, nor for a
/// Unix-domain stream, where a recv ends after the bytes that a descriptor came with.
inline bool is_continuous(int family, int type) noexcept {
  return type == SOCK_STREAM && family != AF_UNIX;
}

/// Whether sockets of this type must be connected before they can receive.
inline bool is_connected_type(int type) noexcept {
  return type == SOCK_STREAM || type == SOCK_SEQPACKET;
}

/// Finds the right error for a stream that was never connected. Once its connect has failed or it
/// was shut down, the kernel reports that it has ended (0 bytes) or is broken (EPIPE), and EINVAL
/// for a Unix-domain stream. The right error is not_connected.
/// @param ended  whether the call was to receive and has received nothing.
/// @returns ENOTCONN in this case, else `error`.
inline failure explain_unconnected(const socket_state& d, bool ended, failure error) noexcept {
  const int number = error.os_number();
  const bool doubtful =
      error ? number == EPIPE || (number == EINVAL && d.family == AF_UNIX) : ended;
  if (!d.unconnected || !doubtful) return error;
  // The program may have connected it by a system call of its own.
  endpoint peer;
  const failure f = remote_endpoint(static_cast<native_handle_type>(d.native), peer);
  return f == failure::from_os(ENOTCONN) ? f : error;
}
inline void explain_unconnected(operation& op) noexcept {
  if (op.action == action::accept) return;
  const bool ended = op.bytes == 0 && (op.inward() || op.action == action::when_urgent);
  op.error = explain_unconnected(*op.target, ended, op.error);
}

/// Interprets the unusual results of a receiving operation. A message that was cut short is
/// message_size. 0 bytes may mean that the stream was never connected.
ROUSE_COLD inline void explain_received(operation& op) noexcept {
  if (op.action == action::recv_from) {
    if (static_cast<message*>(op.data)->cut_short()) op.error = std::errc::message_size;
  } else if (op.bytes > op.size) {
    op.bytes = op.size;
    op.error = std::errc::message_size;
  }
  if (op.bytes == 0) explain_unconnected(op);
}

// ---- attempts on a non-blocking handle: false if the call would have to wait

namespace detail {
inline bool store_error(failure& error) noexcept {
  if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
  error = last_error();
  return true;
}
inline bool store_result(std::size_t& bytes, failure& error, ssize_t result) noexcept {
  if (result < 0) return store_error(error);
  bytes = static_cast<std::size_t>(result);
  return true;
}
inline bool store_result(operation& op, ssize_t result) noexcept {
  return store_result(op.bytes, op.error, result);
}

template <class Call>
auto retry_interrupted(Call call) noexcept {
  while (true) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

// One of the two calls below, which nearly always succeed and move at least a byte.
using byte_call = ssize_t(operation&) noexcept;

// Their rare results. Not inline, to keep the usual path short.
template <byte_call Call>
ROUSE_NOINLINE bool store_unusual(operation& op, ssize_t result) noexcept {
  if (result < 0 && errno == EINTR) result = retry_interrupted([&] { return Call(op); });
  if (!store_result(op, result)) return false;
  if (op.inward())
    explain_received(op);
  else
    explain_unconnected(op);
  return true;
}
// A single comparison detects an error, 0 bytes, and a size larger than the buffer: minus one and
// as an unsigned number, each of these is at least `op.size`.
template <byte_call Call>
ROUSE_ALWAYS_INLINE bool try_bytes(operation& op) noexcept {
  const ssize_t result = Call(op);
  if (static_cast<std::size_t>(result) - 1 >= op.size) return store_unusual<Call>(op, result);
  op.bytes = static_cast<std::size_t>(result);
  return true;
}
ROUSE_ALWAYS_INLINE ssize_t recv_without_waiting(operation& op) noexcept {
  const socket_state& s = *op.target;
  return system_calls::recv(static_cast<int>(s.native), s.type, op.data, op.size);
}
ROUSE_ALWAYS_INLINE ssize_t send_without_waiting(operation& op) noexcept {
  return ::send(static_cast<int>(op.target->native), op.data, op.size, MSG_DONTWAIT | no_signal);
}
} // namespace detail

ROUSE_ALWAYS_INLINE bool try_recv(operation& op) noexcept {
  return detail::try_bytes<detail::recv_without_waiting>(op);
}

/// Without SIGPIPE: if the peer is gone, that is an error code.
ROUSE_ALWAYS_INLINE bool try_send(operation& op) noexcept {
  return detail::try_bytes<detail::send_without_waiting>(op);
}

inline bool try_recv_from(native_handle_type h, operation& op) noexcept {
  msghdr& header = static_cast<message*>(op.data)->header();
  const bool done =
      detail::store_result(op, detail::retry_interrupted([&] {
                             return ::recvmsg(h, &header, MSG_DONTWAIT | message_flags);
                           }));
  if (!done) return false;
  if (op.error)
    explain_unconnected(op);
  else if (op.bytes == 0 || static_cast<message*>(op.data)->cut_short())
    explain_received(op);
  return true;
}

inline bool try_send_to(native_handle_type h, operation& op) noexcept {
  msghdr& header = static_cast<message*>(op.data)->header();
  const bool done = detail::store_result(op, detail::retry_interrupted([&] {
                                           return ::sendmsg(h, &header, MSG_DONTWAIT | no_signal);
                                         }));
  if (op.error) explain_unconnected(op);
  if (done || op.target->family != AF_UNIX || !header.msg_name) return done;
  op.error = failure::from_os(EAGAIN); // no edge will come: see is_crowded
  return true;
}

/// The events of poll(2) that an attempt waits for.
inline short readiness(action what) noexcept {
  if (what == action::when_writable) return POLLOUT;
  // On Linux, a stream never has POLLRDBAND. But the kernel's wake-up for urgent data carries it,
  // and io_uring ignores that wake-up if the request asks for POLLPRI alone.
  return what == action::when_urgent ? POLLPRI | POLLRDBAND : POLLIN | system_calls::peer_closed;
}

/// Which of `events` hold now, and of POLLERR, POLLHUP and POLLNVAL.
inline short poll_now(native_handle_type h, short events) noexcept {
  pollfd p{h, events, 0};
  return detail::retry_interrupted([&] { return ::poll(&p, 1, 0); }) > 0 ? p.revents : short{0};
}

inline bool run_retry(operation& op) noexcept {
  if (op.retry->run) {
    const bool done = op.retry->run(op);
    if (done && (op.error || op.bytes == 0)) explain_unconnected(op);
    return done;
  }
  return poll_now(static_cast<native_handle_type>(op.target->native), readiness(op.action)) != 0;
}

inline bool try_accept(native_handle_type h, operation& op, native_handle_type& out) noexcept {
  out = detail::retry_interrupted([&] { return system_calls::accept(h); });
  return detail::store_result(op, out < 0 ? -1 : 0);
}

inline bool start_connect(native_handle_type h, operation& op) noexcept {
  const socket_address a(*op.peer);
  const int result = ::connect(h, &a.any, a.length);
  if (result < 0 && (errno == EINPROGRESS || errno == EINTR)) return false;
  op.error = outcome(result);
  if (!op.error) op.target->unconnected = false;
  return true;
}

/// Whether a started connect has ended. The result is then in `op`.
inline bool finish_connect(native_handle_type h, operation& op) noexcept {
  const socket_address a(*op.peer);
  int error = 0;
  if (!system_calls::connect_has_ended(h, a.any, a.length, error)) return false;
  if (error != 0) op.error = failure::from_os(error);
  op.target->unconnected = error != 0;
  return true;
}

/// Called after an attempt to receive has found nothing. That is also what the kernel reports for a
/// datagram socket with a shut-down receiving side, where a blocking call returns 0 bytes.
/// Returns true in this case: the operation completes with 0 bytes.
inline bool receives_no_more(operation& op) noexcept {
  if (!op.inward() || op.target->type == SOCK_STREAM) return false;
  const auto h = static_cast<native_handle_type>(op.target->native);
  if ((poll_now(h, system_calls::peer_closed) & system_calls::peer_closed) == 0) return false;
  if (op.action == action::recv_from) static_cast<message*>(op.data)->header().msg_namelen = 0;
  return true;
}

}}} // namespace rouse::ROUSE_ABI::os
#endif

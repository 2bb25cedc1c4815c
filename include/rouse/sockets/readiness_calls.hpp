// Waiting for readiness, and the calls that are made of it: a system call, retried when the socket
// is ready.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/buffer.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/os/attempts.hpp>
#include <rouse/os/socket.hpp>
#include <rouse/sockets/socket_part.hpp>

#include <cstddef>
#include <system_error>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {

/// What `wait` waits for.
enum class readiness : unsigned char {
  readable, ///< bytes, the end of the stream, a datagram, a connection to accept
  writable, ///< room to send
  urgent, ///< out-of-band data, or the end of the stream
};
inline constexpr readiness readable = readiness::readable;
inline constexpr readiness writable = readiness::writable;
inline constexpr readiness urgent = readiness::urgent;

namespace detail {

struct wait_call : retry_when_ready {
  using value_type = done;
  static constexpr const char* name = "rouse: wait";
  socket_state* socket;
  readiness what;

  wait_call(socket_state* d, readiness r) noexcept
      : retry_when_ready(nullptr, name_of(r)), socket(d), what(r) {}

  bool prepare(operation& op) noexcept {
    constexpr action actions[] = {action::when_readable, action::when_writable,
                                  action::when_urgent};
    op.action = actions[static_cast<unsigned>(what)];
    op.target = socket;
    op.retry = this;
    return true;
  }
  bool advance(operation&) noexcept { return true; }
  done value(operation&) noexcept { return {}; }

private:
  static constexpr const char* name_of(readiness r) noexcept {
    constexpr const char* each[] = {"wait(readable)", "wait(writable)", "wait(urgent)"};
    return each[static_cast<unsigned>(r)];
  }
};

template <class Sockets>
struct peek_attempt {
  static constexpr const char* name = "rouse: peek";
  static constexpr action what = action::when_readable;
  using buffer = mutable_buffer;
  static bool now(native_handle_type h, buffer b, operation& op) noexcept {
    return Sockets::peek_now(h, b.data(), b.size(), op.bytes, op.error);
  }
};

template <class Sockets>
struct recv_out_of_band_attempt {
  static constexpr const char* name = "rouse: recv_out_of_band";
  static constexpr action what = action::when_urgent;
  using buffer = mutable_buffer;
  static bool now(native_handle_type h, buffer b, operation& op) noexcept {
    return Sockets::recv_urgent_now(h, b.data(), b.size(), op.bytes, op.error);
  }
};

template <class Sockets>
struct send_out_of_band_attempt {
  static constexpr const char* name = "rouse: send_out_of_band";
  static constexpr action what = action::when_writable;
  using buffer = const_buffer;
  static bool now(native_handle_type h, buffer b, operation& op) noexcept {
    return Sockets::send_now(h, b.data(), b.size(), true, op.bytes, op.error);
  }
};

/// A call on one buffer that is one system call, retried when the socket is ready.
template <class Tried>
struct retry_call : retry_when_ready {
  using value_type = std::size_t;
  static constexpr const char* name = Tried::name;
  static constexpr const char* misuse = empty_buffer;
  socket_state* socket;
  typename Tried::buffer buffer;

  retry_call(socket_state* d, typename Tried::buffer b) noexcept
      : retry_when_ready(&retry_call::try_now, name + sizeof "rouse: " - 1), socket(d), buffer(b) {}

  bool prepare(operation& op) noexcept {
    op.action = Tried::what;
    op.target = socket;
    op.retry = this;
    if (buffer.size() == 0) op.error = std::errc::invalid_argument;
    return !op.error;
  }
  bool advance(operation&) noexcept { return true; }
  std::size_t value(operation& op) noexcept { return op.bytes; }

private:
  static bool try_now(operation& op) noexcept {
    const auto& self = static_cast<retry_call&>(*op.retry);
    return Tried::now(static_cast<native_handle_type>(op.target->native), self.buffer, op);
  }
};

/// A part of `socket`: the calls that wait for readiness.
template <class Socket>
class readiness_calls : public socket_part<readiness_calls<Socket>, Socket> {
public:
  /// Waits until a call would not block, and moves no bytes: `wait(rouse::readable)`,
  /// `wait(rouse::writable)`, `wait(rouse::urgent)`. For libraries that make their own system calls
  /// on the handle.
  ///
  /// The result is a hint: another call may take the bytes first. The call also completes when the
  /// connection fails or ends; the next call reports how. It queues with the waiting calls of its
  /// direction (recv and accept; send and connect). On Linux, a message in the socket's error queue
  /// (MSG_ERRQUEUE: time stamps of sent data, refused datagrams) completes each of the three; it
  /// does not affect the other calls.
  ///
  /// Errors: only those of every call. A socket that is not connected is ready on Linux, which
  /// reports a hangup; on Windows the call waits. Cost: no allocation; epoll one poll(2), io_uring
  /// one poll(2) and one SQE, IOCP one request. Source: poll(2); IORING_OP_POLL_ADD, Linux 5.1;
  /// IOCTL_AFD_POLL, on which WSAPoll is built.
  template <class...>
  decltype(auto) wait(readiness what, location at = location::current()) {
    return this->start(wait_call{this->record(), what}, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) wait(readiness what, First&& first, How&& how = How(),
                      call_site at = location::current()) {
    return this->start(wait_call{this->record(), what}, at, std::forward<First>(first),
                       std::forward<How>(how));
  }

  /// Like `recv`, but the bytes (or the datagram) stay in the socket, and the next call receives
  /// them again.
  ///
  /// @returns the number of bytes in `buffer`, possibly fewer than have arrived; 0 at the end of
  /// the stream, or for an empty datagram. A datagram larger than the buffer gives its beginning.
  ///
  /// Errors: those of `recv`. Cost: epoll one recv(2); io_uring and IOCP the same, after a request
  /// to wait if nothing has arrived. Source: recv(2) and recv of Winsock, MSG_PEEK.
  template <class...>
  decltype(auto) peek(bytes_to_fill<Socket> buffer, location at = location::current()) {
    return this->start(retry_call<peek_attempt<typename Socket::sockets>>{this->record(), buffer},
                       at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) peek(bytes_to_fill<Socket> buffer, First&& first, How&& how = How(),
                      call_site at = location::current()) {
    return this->start(retry_call<peek_attempt<typename Socket::sockets>>{this->record(), buffer},
                       at, std::forward<First>(first), std::forward<How>(how));
  }

  /// Receives without waiting, and returns its value with every scheduler. Fails with
  /// operation_would_block if nothing has arrived, or if another call waits for it already.
  ///
  /// Errors: those of `recv`. Cost: one recv(2); on Windows also a call that sets the mode of the
  /// handle. Source: recv(2), MSG_DONTWAIT; recv of Winsock.
  std::size_t try_recv(passed_buffer<mutable_buffer> buffer) {
    if (buffer.size() == 0)
      throw_failed(std::errc::invalid_argument, "rouse: try_recv", empty_buffer);
    return at_once("rouse: try_recv", [&](std::error_code& ec) { return try_recv(buffer, ec); });
  }
  std::size_t try_recv(passed_buffer<mutable_buffer> buffer, std::error_code& ec) noexcept {
    if (buffer.size() == 0) {
      ec = failure(std::errc::invalid_argument).code();
      return 0;
    }
    return at_once(true, ec, [&](native_handle_type h, std::size_t& bytes, failure& error) {
      const int type = this->record()->type;
      return Socket::sockets::recv_now(h, type, buffer.data(), buffer.size(), bytes, error);
    });
  }

  /// Sends without waiting, as much as there is room for. Fails with operation_would_block if there
  /// is none, or if another call waits for it already.
  ///
  /// Errors: those of `send`. Cost and source: those of `try_recv`; send(2).
  std::size_t try_send(passed_buffer<const_buffer> buffer) {
    return at_once("rouse: try_send", [&](std::error_code& ec) { return try_send(buffer, ec); });
  }
  std::size_t try_send(passed_buffer<const_buffer> buffer, std::error_code& ec) noexcept {
    return at_once(false, ec, [&](native_handle_type h, std::size_t& bytes, failure& error) {
      return Socket::sockets::send_now(h, buffer.data(), buffer.size(), false, bytes, error);
    });
  }

  /// Like `send`, but marks the last byte as urgent: the peer is notified of it ahead of the bytes
  /// before it. Stream sockets only (TCP). New protocols should not use it (RFC 6093), since middle
  /// boxes may remove the mark.
  ///
  /// Errors: those of `send`; operation_not_supported; invalid_argument (an empty buffer). Source:
  /// send(2), MSG_OOB; tcp(7).
  template <class...>
  decltype(auto) send_out_of_band(bytes_to_send<Socket> buffer, location at = location::current()) {
    return this->start(
        retry_call<send_out_of_band_attempt<typename Socket::sockets>>{this->record(), buffer}, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) send_out_of_band(bytes_to_send<Socket> buffer, First&& first, How&& how = How(),
                                  call_site at = location::current()) {
    return this->start(
        retry_call<send_out_of_band_attempt<typename Socket::sockets>>{this->record(), buffer}, at,
        std::forward<First>(first), std::forward<How>(how));
  }

  /// Waits for the last urgent byte that the peer has sent, and takes it out of the stream. It does
  /// not queue with `recv`. If the peer sends another urgent byte first, that one replaces it, and
  /// the first stays in the stream.
  ///
  /// @returns 1; 0 once both sides have shut down.
  ///
  /// Errors: those of `recv`; invalid_argument (with `out_of_band_inline`, or an empty buffer).
  /// Source: recv(2), MSG_OOB; poll(2), POLLPRI; tcp(7).
  template <class...>
  decltype(auto) recv_out_of_band(bytes_to_fill<Socket> buffer, location at = location::current()) {
    return this->start(
        retry_call<recv_out_of_band_attempt<typename Socket::sockets>>{this->record(), buffer}, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) recv_out_of_band(bytes_to_fill<Socket> buffer, First&& first, How&& how = How(),
                                  call_site at = location::current()) {
    return this->start(
        retry_call<recv_out_of_band_attempt<typename Socket::sockets>>{this->record(), buffer}, at,
        std::forward<First>(first), std::forward<How>(how));
  }

private:
  template <class F>
  std::size_t at_once(bool inward, std::error_code& ec, F try_now) noexcept {
    std::size_t bytes = 0;
    ec = this->on_handle([&](native_handle_type h) {
               failure error;
               const bool must_wait = this->engine().busy(*this->record(), inward);
               if (must_wait || !try_now(h, bytes, error)) error = std::errc::operation_would_block;
               if (bytes != 0) return error;
               return Socket::sockets::explain(*this->record(), inward, error);
             })
             .code();
    return bytes;
  }

  template <class F>
  auto at_once(const char* name, F call) {
    std::error_code ec;
    const auto value = call(ec);
    if (ec) throw_error(ec, name);
    return value;
  }
};

} // namespace detail
}} // namespace rouse::ROUSE_ABI

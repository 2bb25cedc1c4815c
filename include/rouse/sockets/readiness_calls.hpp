// Readiness: to wait until a socket has something, or room, and take nothing; and the calls that
// are system calls of their own, tried when there is.
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

struct peek_attempt {
  static constexpr const char* name = "rouse: peek";
  static constexpr action what = action::when_readable;
  using buffer = mutable_buffer;
  static bool now(native_handle_type h, buffer b, operation& op) noexcept {
    return os::peek_now(h, b.data(), b.size(), op.bytes, op.error);
  }
};

struct recv_out_of_band_attempt {
  static constexpr const char* name = "rouse: recv_out_of_band";
  static constexpr action what = action::when_urgent;
  using buffer = mutable_buffer;
  static bool now(native_handle_type h, buffer b, operation& op) noexcept {
    return os::recv_urgent_now(h, b.data(), b.size(), op.bytes, op.error);
  }
};

struct send_out_of_band_attempt {
  static constexpr const char* name = "rouse: send_out_of_band";
  static constexpr action what = action::when_writable;
  using buffer = const_buffer;
  static bool now(native_handle_type h, buffer b, operation& op) noexcept {
    return os::send_now(h, b.data(), b.size(), true, op.bytes, op.error);
  }
};

/// A call on one buffer that is tried.
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

/// A part of `socket`: its calls that wait for readiness.
template <class Socket>
class readiness_calls : public socket_part<readiness_calls<Socket>, Socket> {
public:
  /// Waits until a call would not have to wait, and takes nothing: `wait(rouse::readable)`,
  /// `wait(rouse::writable)`, `wait(rouse::urgent)`. For libraries that make their own system calls
  /// on the handle.
  ///
  /// A hint: who reads in between takes the bytes away. Also done when the connection fails or has
  /// ended: the next call says how. It takes its turn among the calls of the same direction that
  /// wait (recv and accept; send and connect). On Linux a message in the socket's error queue
  /// (MSG_ERRQUEUE: time stamps of what was sent, refused datagrams) makes it ready, too, for each
  /// of the three; the other calls do not mind one.
  ///
  /// Errors: only those of every call. A socket that is not connected is ready on Linux, which
  /// reports a hangup; on Windows it waits.
  /// Cost: no allocation; epoll one poll(2), io_uring that and an entry, IOCP one request.
  /// Source: poll(2); IORING_OP_POLL_ADD, Linux 5.1; IOCTL_AFD_POLL, which is below WSAPoll.
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

  /// As `recv`, but the bytes (or the datagram) stay: the next call gets them again.
  ///
  /// @returns how many bytes are in `buffer`; 0 at the end of the stream, or of an empty datagram.
  /// It may be fewer than have come. A datagram's beginning, where it is larger.
  ///
  /// Errors: as `recv`. Cost: epoll one recv(2), io_uring and IOCP one, and a request to wait if
  /// nothing is there. Source: recv(2) and recv of Winsock, MSG_PEEK.
  template <class...>
  decltype(auto) peek(bytes_to_fill<Socket> buffer, location at = location::current()) {
    return this->start(retry_call<peek_attempt>{this->record(), buffer}, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) peek(bytes_to_fill<Socket> buffer, First&& first, How&& how = How(),
                      call_site at = location::current()) {
    return this->start(retry_call<peek_attempt>{this->record(), buffer}, at,
                       std::forward<First>(first), std::forward<How>(how));
  }

  /// `recv` that does not wait: operation_would_block where there is nothing, or where another call
  /// waits for it already. The same under every scheduler: it returns its value.
  ///
  /// Errors: as `recv`. Cost: one recv(2); on Windows a second call, which sets the mode of the
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
      return os::recv_now(h, type, buffer.data(), buffer.size(), bytes, error);
    });
  }

  /// `send` that does not wait: it takes what there is room for, operation_would_block where there
  /// is none, or where another call waits for it already.
  ///
  /// Errors: as `send`. Cost and source: as `try_recv`; send(2).
  std::size_t try_send(passed_buffer<const_buffer> buffer) {
    return at_once("rouse: try_send", [&](std::error_code& ec) { return try_send(buffer, ec); });
  }
  std::size_t try_send(passed_buffer<const_buffer> buffer, std::error_code& ec) noexcept {
    return at_once(false, ec, [&](native_handle_type h, std::size_t& bytes, failure& error) {
      return os::send_now(h, buffer.data(), buffer.size(), false, bytes, error);
    });
  }

  /// As `send`, with the last byte marked as urgent: the peer is told of it ahead of the bytes
  /// before it. Stream sockets only (TCP). New protocols do without (RFC 6093): middle boxes may
  /// take the mark away.
  ///
  /// Errors: as `send`; operation_not_supported; invalid_argument (an empty buffer).
  /// Source: send(2), MSG_OOB; tcp(7).
  template <class...>
  decltype(auto) send_out_of_band(bytes_to_send<Socket> buffer, location at = location::current()) {
    return this->start(retry_call<send_out_of_band_attempt>{this->record(), buffer}, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) send_out_of_band(bytes_to_send<Socket> buffer, First&& first, How&& how = How(),
                                  call_site at = location::current()) {
    return this->start(retry_call<send_out_of_band_attempt>{this->record(), buffer}, at,
                       std::forward<First>(first), std::forward<How>(how));
  }

  /// Waits for the urgent byte that the peer has sent last, and takes it out of the stream. It
  /// waits beside `recv`, not before or after it; a second one that the peer sends before takes the
  /// first one's place, which then stays in the stream.
  ///
  /// @returns 1, or 0 once both sides have finished.
  ///
  /// Errors: as `recv`; invalid_argument (with `out_of_band_inline`, or an empty buffer).
  /// Source: recv(2), MSG_OOB; poll(2), POLLPRI; tcp(7).
  template <class...>
  decltype(auto) recv_out_of_band(bytes_to_fill<Socket> buffer, location at = location::current()) {
    return this->start(retry_call<recv_out_of_band_attempt>{this->record(), buffer}, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) recv_out_of_band(bytes_to_fill<Socket> buffer, First&& first, How&& how = How(),
                                  call_site at = location::current()) {
    return this->start(retry_call<recv_out_of_band_attempt>{this->record(), buffer}, at,
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
               return os::explain_unconnected(*this->record(), inward, error);
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

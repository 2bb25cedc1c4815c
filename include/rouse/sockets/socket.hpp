// The socket: one class, whatever waits on it.
#pragma once
#include <rouse/concepts/scheduler.hpp>
#include <rouse/config.hpp>
#include <rouse/core/buffer.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/detail/chrono.hpp>
#include <rouse/fwd.hpp>
#include <rouse/os/socket.hpp>
#include <rouse/sockets/batch_calls.hpp>
#include <rouse/sockets/connection_calls.hpp>
#include <rouse/sockets/datagram_calls.hpp>
#include <rouse/sockets/descriptor_calls.hpp>
#include <rouse/sockets/file_calls.hpp>
#include <rouse/sockets/list_calls.hpp>
#include <rouse/sockets/option_calls.hpp>
#include <rouse/sockets/options.hpp>
#include <rouse/sockets/readiness_calls.hpp>
#include <rouse/sockets/socket_part.hpp>
#include <rouse/sockets/stream_calls.hpp>

#include <cstddef>
#include <system_error>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {
template <class>
class connect_attempt;
template <class>
class ready_case;
} // namespace detail

/// A socket whose calls wait the way its scheduler wakes: with `fibers` and `threads` they return
/// their value, with `coroutines` they are awaited, with `callbacks` they take a handler as their
/// last argument.
///
/// Each waiting call is written `s.recv(buffer [, limit] [, how...])`:
/// - `limit`: a duration, a `deadline`, a `std::stop_token`, or `{5s, token}`; see `limit`.
/// - `how`: nothing (errors throw std::system_error), or a `std::error_code&`; for callbacks the
/// handler,
///   `void(std::error_code, T)`, or `void(std::error_code)` for calls that give no value.
///
/// A buffer is borrowed until the call has completed. `fibers` and `threads` return only then, so
/// that a temporary is fine: `conn.send_all(make_text())`. Elsewhere it is refused.
///
/// Errors that every call may give: bad_file_descriptor (closed, or the scheduler is gone),
/// timed_out, operation_canceled (by `cancel`, `close`, a stop_token, `flow_handle::cancel`).
/// Cancellation is a request: if bytes win the race they are returned; none is ever lost. Errors
/// compare equal to std::errc on every platform.
///
/// Move-only. Default-constructed it is closed. The destructor closes. A socket may outlive its
/// scheduler; it is then closed. Threads: the scheduler's own. One recv and one send may wait at
/// once; further ones queue up in order. Of calls that make several requests of the kernel
/// (send_all, recv_exactly, and what reads or writes in pieces) only one a direction: two at once
/// would mix their pieces.
template <class Scheduler>
class [[nodiscard]] socket : public detail::batch_calls<socket<Scheduler>>,
                             public detail::connection_calls<socket<Scheduler>>,
                             public detail::datagram_calls<socket<Scheduler>>,
                             public detail::descriptor_calls<socket<Scheduler>>,
                             public detail::file_calls<socket<Scheduler>>,
                             public detail::option_calls<socket<Scheduler>>,
                             public detail::readiness_calls<socket<Scheduler>> {
  using call_site = detail::call_site;
  using location = detail::location;
  using nothing = detail::nothing;

public:
  using scheduler_type = Scheduler;

  socket() noexcept = default;

  /// A new socket.
  /// @param family  AF_INET, AF_INET6, AF_UNIX.  @param type  SOCK_STREAM, SOCK_DGRAM. (Windows has
  /// AF_UNIX since Windows 10, 1803, and only streams of it.)
  ///
  /// Errors: too_many_files_open (EMFILE; WSAEMFILE), address_family_not_supported,
  /// no_buffer_space. Source: socket(2); WSASocketW.
  explicit socket(Scheduler& s, int family = AF_INET, int type = SOCK_STREAM, int protocol = 0)
      : socket(s, family, type, protocol, nullptr) {}
  socket(Scheduler& s, int family, int type, int protocol, std::error_code& ec)
      : socket(s, family, type, protocol, &ec) {}

  socket(socket&& other) noexcept : record_(std::exchange(other.record_, nullptr)) {}
  socket& operator=(socket&& other) noexcept {
    if (this != &other) {
      give_back();
      record_ = std::exchange(other.record_, nullptr);
    }
    return *this;
  }
  ~socket() { give_back(); }

  /// Takes over a socket made elsewhere; it is closed with this one. If it fails
  /// (bad_file_descriptor, not_a_socket), the handle stays the caller's, open. On Windows it must
  /// have been made for overlapped I/O and belong to no completion port.
  static socket adopt(Scheduler& s, native_handle_type handle) {
    std::error_code ec;
    socket adopted = adopt(s, handle, ec);
    if (ec) detail::throw_error(ec, "rouse: adopt");
    return adopted;
  }
  static socket adopt(Scheduler& s, native_handle_type handle, std::error_code& ec) noexcept {
    failure why;
    socket adopted = from(s.engine().adopt(&s, handle, why));
    ec = why.code();
    return adopted;
  }

  // ---- at once

  /// Ends one direction or both; the peer's recv then gives 0 once it has had all bytes.
  ///
  /// After `shutdown_recv` or `shutdown_both`, calls of this socket that receive end with 0 bytes on
  /// Linux, also those that wait already, and also of datagrams (an accept: with invalid_argument);
  /// on Windows those that begin later end with broken_pipe.
  ///
  /// Errors: not_connected. Source: shutdown(2).
  void shutdown(shutdown_how how) { check(do_shutdown(how), "rouse: shutdown"); }
  void shutdown(shutdown_how how, std::error_code& ec) noexcept { ec = do_shutdown(how).code(); }

  /// Ends what is pending with operation_canceled; harmless when closed.
  void cancel() noexcept {
    if (Scheduler* s = scheduler()) s->engine().cancel(*record_);
  }

  /// Ends what is pending with operation_canceled, then closes; harmless when closed. It does not
  /// wait, whatever `linger` says.
  /// Source: close(2); closesocket, preceded by CancelIoEx.
  void close() noexcept {
    if (Scheduler* s = scheduler()) s->engine().close(*record_);
  }

  /// Ends what is pending and gives up the handle, which is the caller's then, in blocking mode.
  /// (On Windows it stays tied to the scheduler's completion port.)
  [[nodiscard]] native_handle_type release() noexcept {
    Scheduler* s = scheduler();
    return s ? s->engine().release(*record_) : os::no_handle;
  }

  [[nodiscard]] bool is_open() const noexcept { return record_ && record_->open(); }
  /// For the system's own calls; stays the socket's.
  [[nodiscard]] native_handle_type native_handle() const noexcept {
    return is_open() ? static_cast<native_handle_type>(record_->native) : os::no_handle;
  }

  /// The limit of each call that gives no deadline of its own (Python's settimeout), a duration of
  /// any type. One too long for the clock, as `duration::max()`, is none; a negative one has passed
  /// before each call. Accepted sockets begin with none.
  template <class Rep, class Period>
  void timeout(std::chrono::duration<Rep, Period> d) noexcept {
    if (record_) record_->default_timeout = detail::saturated<clock::duration>(d);
  }
  [[nodiscard]] clock::duration timeout() const noexcept {
    return record_ ? record_->default_timeout : (clock::duration::max)();
  }

  // ---- waiting

  /// Receives at least one byte, waiting for the peer if none has arrived.
  ///
  /// One call is one kernel request; a short count is success (TCP keeps no message boundaries;
  /// `recv_exactly` fills). Completes when bytes are there, the peer has shut down its sending
  /// side, `l` says so, or the connection fails.
  ///
  /// @param buffer  where the bytes go. Borrowed: the kernel may write into it until the call has
  /// *completed*; asking
  ///                to cancel is not completion.
  /// @param l       when to give up; none waits as long as `timeout()` says. One already past still
  /// takes bytes that are there.
  /// @returns bytes received, 0 only at the end of the stream.
  ///
  /// Errors: connection_reset (ECONNRESET; WSAECONNRESET, ERROR_NETNAME_DELETED), not_connected (a
  /// stream that was never connected, or whose connect failed: that never reads as its end),
  /// message_size (EMSGSIZE; WSAEMSGSIZE: a datagram, or a packet of SOCK_SEQPACKET, is larger than
  /// the buffer, which has its beginning; in the `ec` form and for handlers that is counted, and
  /// the rest is gone), invalid_argument (an empty buffer: 0 would read as end of stream).
  /// Cost: no allocation; io_uring one SQE, epoll one recv(2), IOCP one WSARecv.
  /// Source: recv(2); IORING_OP_RECV, Linux 5.6; WSARecv.
  template <class...>
  decltype(auto) recv(detail::bytes_to_fill<socket> buffer, location at = location::current()) {
    return start(detail::recv_call{{record_, buffer}}, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) recv(detail::bytes_to_fill<socket> buffer, First&& first, How&& how = How(),
                      call_site at = location::current()) {
    return start(detail::recv_call{{record_, buffer}}, at, std::forward<First>(first),
                 std::forward<How>(how));
  }
  /// Into several buffers, one after the other.
  template <class First = limit, class How = nothing>
  decltype(auto) recv(detail::list_to_fill<socket> list, First&& first = First(), How&& how = How(),
                      call_site at = location::current()) {
    return start(detail::recv_list_call{record_, list}, at, std::forward<First>(first),
                 std::forward<How>(how));
  }

  /// Receives at least one byte into a buffer that the engine lends: while the call waits, it holds
  /// none. For servers with many idle connections.
  ///
  /// @returns the bytes, as a `loan`, at most 16 KiB; an empty one only at the end of the stream
  /// (or for an empty datagram; a larger one is message_size, with its beginning).
  ///
  /// Errors: as `recv`; not_enough_memory.
  /// Cost: no allocation while the loans come back; io_uring one SQE, epoll one recv(2), IOCP two
  /// WSARecv. Source: IORING_OP_RECV with a ring of provided buffers, Linux 5.19 (before it, and
  /// where more come at once than are provided, IORING_OP_POLL_ADD and recv(2)); a WSARecv of no
  /// bytes.
  template <class...>
  decltype(auto) receive(location at = location::current()) {
    return start(detail::receive_call{record_}, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) receive(First&& first, How&& how = How(), call_site at = location::current()) {
    return start(detail::receive_call{record_}, at, std::forward<First>(first),
                 std::forward<How>(how));
  }

  /// Receives until the buffer is full or the peer has finished.
  ///
  /// @returns bytes received: fewer than the buffer's size only at the end of the stream. With an
  /// error, what had come before it (in the `ec` form and for handlers). `l` holds for the whole.
  /// Otherwise as `recv`.
  template <class...>
  decltype(auto) recv_exactly(detail::bytes_to_fill<socket> buffer,
                              location at = location::current()) {
    return start(detail::recv_exactly_call{{record_, buffer}}, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) recv_exactly(detail::bytes_to_fill<socket> buffer, First&& first,
                              How&& how = How(), call_site at = location::current()) {
    return start(detail::recv_exactly_call{{record_, buffer}}, at, std::forward<First>(first),
                 std::forward<How>(how));
  }
  /// Until all of several buffers are full.
  template <class First = limit, class How = nothing>
  decltype(auto) recv_exactly(detail::list_to_fill<socket> list, First&& first = First(),
                              How&& how = How(), call_site at = location::current()) {
    return start(detail::recv_exactly_list_call{record_, list}, at, std::forward<First>(first),
                 std::forward<How>(how));
  }

  /// Hands bytes to the kernel, waiting while its send buffer is full; it may take fewer than there
  /// are (`send_all` goes on).
  ///
  /// @param buffer  borrowed, unchanged, until the call has completed. Empty: completes at once
  /// with 0.
  /// @returns bytes taken by the kernel, which is not yet bytes received by the peer.
  ///
  /// Errors: broken_pipe (EPIPE; WSAESHUTDOWN), connection_reset (ECONNRESET; WSAECONNRESET),
  /// not_connected. No SIGPIPE. Cancellation: on Windows a cancelled send may have sent bytes that
  /// it does not count: close the connection. Cost: no allocation; io_uring one SQE, epoll one
  /// send(2), IOCP one WSASend. Source: send(2); IORING_OP_SEND, Linux 5.6; WSASend.
  template <class...>
  decltype(auto) send(detail::bytes_to_send<socket> buffer, location at = location::current()) {
    return start(detail::send_call{{record_, buffer}}, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) send(detail::bytes_to_send<socket> buffer, First&& first, How&& how = How(),
                      call_site at = location::current()) {
    return start(detail::send_call{{record_, buffer}}, at, std::forward<First>(first),
                 std::forward<How>(how));
  }
  /// Several buffers, as if they were one.
  template <class First = limit, class How = nothing>
  decltype(auto) send(detail::list_to_send<socket> list, First&& first = First(), How&& how = How(),
                      call_site at = location::current()) {
    return start(detail::send_list_call{record_, list}, at, std::forward<First>(first),
                 std::forward<How>(how));
  }

  /// Sends all of the buffer.
  ///
  /// @returns bytes taken: all, unless there is an error; then what the kernel had taken before it
  /// (in the `ec` form and for handlers). `l` holds for the whole. Otherwise as `send`.
  template <class...>
  decltype(auto) send_all(detail::bytes_to_send<socket> buffer, location at = location::current()) {
    return start(detail::send_all_call{{record_, buffer}}, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) send_all(detail::bytes_to_send<socket> buffer, First&& first, How&& how = How(),
                          call_site at = location::current()) {
    return start(detail::send_all_call{{record_, buffer}}, at, std::forward<First>(first),
                 std::forward<How>(how));
  }
  /// All of several buffers.
  template <class First = limit, class How = nothing>
  decltype(auto) send_all(detail::list_to_send<socket> list, First&& first = First(),
                          How&& how = How(), call_site at = location::current()) {
    return start(detail::send_all_list_call{record_, list}, at, std::forward<First>(first),
                 std::forward<How>(how));
  }

private:
  template <class>
  friend struct detail::accept_call;
  template <class>
  friend class detail::connect_attempt;
  template <class>
  friend class detail::ready_case;
  template <class, class>
  friend class detail::socket_part;
  friend class reader<Scheduler>;
  friend class signals<Scheduler>;

  static socket from(socket_state* record) noexcept {
    socket s;
    s.record_ = record;
    return s;
  }

  socket(Scheduler& s, int family, int type, int protocol, std::error_code* ec) {
    static_assert(rouse::scheduler<Scheduler>,
                  "rouse: a socket is made with its scheduler: "
                  "coroutines, fibers, threads, callbacks, or a basic_scheduler");
    failure why;
    record_ = s.engine().open(&s, family, type, protocol, why);
    if (ec)
      *ec = why.code();
    else
      check(why, "rouse: socket");
  }

  // Null when there is no socket, or no scheduler any more.
  [[nodiscard]] Scheduler* scheduler() const noexcept {
    return record_ ? static_cast<Scheduler*>(record_->owner) : nullptr;
  }

  void give_back() noexcept {
    if (Scheduler* s = scheduler())
      s->engine().give_back(*record_);
    else
      delete record_;
    record_ = nullptr;
  }

  template <class Call, class... Rest>
  decltype(auto) start(Call&& call, const detail::location& at, Rest&&... rest) {
    return detail::begin_call(scheduler(), std::move(call), at, std::forward<Rest>(rest)...);
  }

  static void check(failure why, const char* what) {
    if (why) detail::throw_error(why.code(), what);
  }

  template <class F>
  failure on_handle(F&& f) const noexcept {
    return is_open() ? f(native_handle()) : failure(std::errc::bad_file_descriptor);
  }
  failure do_shutdown(shutdown_how how) noexcept {
    return on_handle([&](native_handle_type h) { return os::shutdown(h, static_cast<int>(how)); });
  }
  socket_state* record_ = nullptr;
};

template <class Scheduler>
socket(Scheduler&) -> socket<Scheduler>;
template <class Scheduler>
socket(Scheduler&, int) -> socket<Scheduler>;
template <class Scheduler>
socket(Scheduler&, int, int) -> socket<Scheduler>;
template <class Scheduler>
socket(Scheduler&, int, int, int) -> socket<Scheduler>;
template <class Scheduler>
socket(Scheduler&, int, int, int, std::error_code&) -> socket<Scheduler>;

}} // namespace rouse::ROUSE_ABI

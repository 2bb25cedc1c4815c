// The socket: one class for every way of waiting.
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
namespace tls { namespace detail {
template <class>
class connection;
}} // namespace tls::detail
namespace detail {
template <class>
class connect_attempt;
template <class>
struct stream_access;

// The calls of its driver that need no waiting; none for a type that is no scheduler.
template <class Scheduler>
struct sockets_of {
  using type = void;
};
template <class Scheduler>
  requires requires { typename Scheduler::engine_type::sockets; }
struct sockets_of<Scheduler> {
  using type = typename Scheduler::engine_type::sockets;
};

} // namespace detail

/// A socket. How its calls wait depends on the scheduler: with `fibers` and `threads` they return
/// their value, with `coroutines` they are awaited, and with `callbacks` the last argument is a
/// handler.
///
/// Each waiting call has the form `s.recv(buffer [, limit] [, how])`:
/// - `limit`: a duration, a `deadline`, a `std::stop_token`, or both as in `{5s, token}`; see
///   `limit`. Without one, the call waits as long as `timeout()` allows. A limit that has passed
///   already still takes what is there.
/// - `how`: nothing (errors are thrown as std::system_error) or a `std::error_code&`; with
///   callbacks the handler, `void(std::error_code, T)`, or `void(std::error_code)` for calls
///   without a value.
///
/// Buffers are borrowed until the call has completed. `fibers` and `threads` return only then, so
/// that temporaries work: `conn.send_all(make_text())`. Other schedulers refuse them at compile
/// time.
///
/// The calls on a buffer also take several, which are filled or sent one after the other: an array,
/// vector or span of `mutable_buffer` or `const_buffer`, borrowed like the bytes, or up to eight in
/// braces: `conn.send_all({head, body})`. One request takes 16 buffers that are not empty. Of a
/// longer list, `recv` and `send` move what fits, `send_all` and `recv_exactly` continue with
/// further requests; for a datagram it is message_size, and nothing is sent or received.
/// (recvmsg(2), sendmsg(2); IORING_OP_RECVMSG, IORING_OP_SENDMSG; WSARecvFrom, WSASendTo.)
///
/// Errors of every call: bad_file_descriptor (closed, or the scheduler was destroyed), timed_out,
/// operation_canceled (by `cancel`, `close`, a stop_token, `flow_handle::cancel`). Cancellation is
/// a request: if bytes arrive first, they are returned, and none is ever lost. Errors compare equal
/// to std::errc on every platform.
///
/// Move-only. A default-constructed socket is closed. The destructor closes. A socket may outlive
/// its scheduler, and is then closed. Threads: the scheduler's own. One recv and one send may wait
/// at the same time; further ones queue in order. Of the calls that make several requests
/// (send_all, recv_exactly, and those that read or write in pieces) only one per direction may run,
/// since two would mix their pieces.
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
  using sockets = typename detail::sockets_of<Scheduler>::type;

  socket() noexcept = default;

  /// Creates a socket.
  /// @param family  AF_INET, AF_INET6, AF_UNIX (on Windows since Windows 10, 1803, and only
  /// streams).
  /// @param type    SOCK_STREAM, SOCK_DGRAM.
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

  /// Takes over a socket that was created elsewhere, and closes it at the end. On an error
  /// (bad_file_descriptor, not_a_socket) the handle stays open and the caller's. On Windows it must
  /// have been created for overlapped I/O and must belong to no completion port.
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

  // ---- without waiting

  /// Closes one direction or both. The peer's recv returns 0 after all bytes.
  ///
  /// After `shutdown_recv` or `shutdown_both`, on Linux the receiving calls of this socket return 0
  /// bytes, including those that wait already and those on datagrams (accept: invalid_argument); on
  /// Windows later ones fail with broken_pipe.
  ///
  /// Errors: not_connected. Source: shutdown(2).
  void shutdown(shutdown_how how) { check(do_shutdown(how), "rouse: shutdown"); }
  void shutdown(shutdown_how how, std::error_code& ec) noexcept { ec = do_shutdown(how).code(); }

  /// Cancels the pending calls: they fail with operation_canceled. No effect on a closed socket.
  void cancel() noexcept {
    if (Scheduler* s = scheduler()) s->engine().cancel(*record_);
  }

  /// Cancels the pending calls, then closes the socket. No effect on a closed one. It never waits,
  /// whatever `linger` says. Source: close(2); closesocket, preceded by CancelIoEx.
  void close() noexcept {
    if (Scheduler* s = scheduler()) s->engine().close(*record_);
  }

  /// Cancels the pending calls and returns the handle, in blocking mode; the caller then owns it.
  /// (On Windows it stays tied to the scheduler's completion port.)
  [[nodiscard]] native_handle_type release() noexcept {
    Scheduler* s = scheduler();
    return s ? s->engine().release(*record_) : os::no_handle;
  }

  [[nodiscard]] bool is_open() const noexcept { return record_ && record_->open(); }
  /// The handle, for system calls. The socket still owns it.
  [[nodiscard]] native_handle_type native_handle() const noexcept {
    return is_open() ? static_cast<native_handle_type>(record_->native) : os::no_handle;
  }

  /// The scheduler that the socket was made with, also after `close`. Null if that one has been
  /// destroyed, or if the socket never had one: default-constructed, moved from, failed to open.
  [[nodiscard]] Scheduler* scheduler() const noexcept {
    return record_ ? static_cast<Scheduler*>(record_->owner) : nullptr;
  }

  /// Sets the limit of every call without a deadline of its own (Python's settimeout). A duration
  /// beyond the clock's range, such as `duration::max()`, is no limit; a negative one has passed
  /// before each call. Accepted sockets have no limit.
  template <class Rep, class Period>
  void timeout(std::chrono::duration<Rep, Period> d) noexcept {
    if (record_) record_->default_timeout = detail::saturated<clock::duration>(d);
  }
  [[nodiscard]] clock::duration timeout() const noexcept {
    return record_ ? record_->default_timeout : (clock::duration::max)();
  }

  // ---- waiting

  /// Receives at least one byte.
  ///
  /// One call is one kernel request; a short count is success (TCP keeps no message boundaries;
  /// `recv_exactly` fills the buffer). Completes when bytes have arrived, the peer has shut down
  /// its sending direction, the limit is reached, or the connection fails.
  ///
  /// @param buffer  receives the bytes. Borrowed: the kernel may write into it until the call has
  /// *completed*, not only until it is cancelled.
  /// @returns the number of bytes; 0 only at the end of the stream.
  ///
  /// Errors: connection_reset (ECONNRESET; WSAECONNRESET, ERROR_NETNAME_DELETED), not_connected (a
  /// stream that was never connected, or failed to connect; this is never reported as its end),
  /// message_size (EMSGSIZE; WSAEMSGSIZE: a datagram, or a packet of SOCK_SEQPACKET, larger than
  /// the buffer. The buffer holds its beginning, which an `ec` or a handler has counted, and the
  /// rest is lost), invalid_argument (an empty buffer: 0 would mean the end of the stream). Cost:
  /// no allocation; io_uring one SQE, epoll one recv(2), IOCP one WSARecv. Source: recv(2);
  /// IORING_OP_RECV, Linux 5.6; WSARecv.
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
  /// Receives into several buffers, filled one after the other.
  template <class First = limit, class How = nothing>
  decltype(auto) recv(detail::list_to_fill<socket> list, First&& first = First(), How&& how = How(),
                      call_site at = location::current()) {
    return start(detail::recv_list_call{record_, list}, at, std::forward<First>(first),
                 std::forward<How>(how));
  }

  /// Receives at least one byte into a buffer that the engine lends. While the call waits, it holds
  /// no buffer: for servers with many idle connections.
  ///
  /// @returns the bytes as a `loan`: at most 16,672, or 65,536 while a stream fills its buffers. An
  /// empty one only at the end of the stream or for an empty datagram. (A datagram of more than
  /// 16,672 bytes is message_size; the loan holds its beginning.)
  ///
  /// Errors: those of `recv`; not_enough_memory. Cost: no allocation while loans are returned;
  /// io_uring one SQE, epoll one recv(2), IOCP two WSARecv. Source: IORING_OP_RECV with a ring of
  /// provided buffers, Linux 5.19 (before, IORING_OP_POLL_ADD and recv(2)); a WSARecv of no bytes.
  /// The ring has 32 buffers, and up to 512 while more calls complete at once; recv(2) replaces it
  /// for a stream that has filled a buffer.
  template <class...>
  decltype(auto) receive(location at = location::current()) {
    return start(detail::receive_call{record_}, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) receive(First&& first, How&& how = How(), call_site at = location::current()) {
    return start(detail::receive_call{record_}, at, std::forward<First>(first),
                 std::forward<How>(how));
  }

  /// Receives until the buffer is full or the stream ends. Otherwise like `recv`.
  ///
  /// @returns the number of bytes; less than the buffer's size only at the end of the stream.
  /// Beside an error (with an `ec` or a handler), the bytes received before it. A limit covers the
  /// whole call.
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
  /// Receives until all of several buffers are full.
  template <class First = limit, class How = nothing>
  decltype(auto) recv_exactly(detail::list_to_fill<socket> list, First&& first = First(),
                              How&& how = How(), call_site at = location::current()) {
    return start(detail::recv_exactly_list_call{record_, list}, at, std::forward<First>(first),
                 std::forward<How>(how));
  }

  /// Hands bytes to the kernel. Waits while the kernel's send buffer is full. The kernel may take
  /// fewer bytes than given (`send_all` sends the rest).
  ///
  /// @param buffer  borrowed, unchanged, until the call has completed. Empty: completes at once
  /// with 0.
  /// @returns the number of bytes that the kernel took; the peer may not have received them.
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
  /// Sends several buffers as if they were one.
  template <class First = limit, class How = nothing>
  decltype(auto) send(detail::list_to_send<socket> list, First&& first = First(), How&& how = How(),
                      call_site at = location::current()) {
    return start(detail::send_list_call{record_, list}, at, std::forward<First>(first),
                 std::forward<How>(how));
  }

  /// Sends the whole buffer. Otherwise like `send`.
  ///
  /// @returns the number of bytes: all. Beside an error (with an `ec` or a handler), the bytes that
  /// the kernel took before it. A limit covers the whole call.
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
  /// Sends the whole of several buffers.
  template <class First = limit, class How = nothing>
  decltype(auto) send_all(detail::list_to_send<socket> list, First&& first = First(),
                          How&& how = How(), call_site at = location::current()) {
    return start(detail::send_all_list_call{record_, list}, at, std::forward<First>(first),
                 std::forward<How>(how));
  }

private:
  template <class>
  friend class tls::detail::connection;
  template <class>
  friend struct detail::accept_call;
  template <class>
  friend class detail::connect_attempt;
  template <class>
  friend struct detail::stream_access;
  template <class, class>
  friend class detail::socket_part;
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
    return on_handle(
        [&](native_handle_type h) { return sockets::shutdown(h, static_cast<int>(how)); });
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

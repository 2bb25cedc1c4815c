// The concept of a stream of bytes: a socket, a TLS connection, or a stream of your own.
#pragma once
#include <rouse/concepts/waker.hpp>
#include <rouse/config.hpp>
#include <rouse/core/buffer.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/loan.hpp>
#include <rouse/detail/chrono.hpp>
#include <rouse/fwd.hpp>

#include <concepts>
#include <cstddef>
#include <system_error>
#include <type_traits>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

template <class T>
inline constexpr bool is_socket = false;
template <class Scheduler>
  requires requires { typename Scheduler::engine_type; }
inline constexpr bool is_socket<socket<Scheduler>> = true;

// The stream that a class template is given: a byte_stream, or a scheduler, which stands for its
// socket.
template <class T>
struct stream_of {
  using type = T;
};
template <class Scheduler>
  requires requires { typename Scheduler::engine_type; }
struct stream_of<Scheduler> {
  using type = socket<Scheduler>;
};

// Completes any call of a callback scheduler.
struct any_handler {
  void operator()(std::error_code, std::size_t) const noexcept {}
  void operator()(std::error_code, loan) const noexcept {}
};

template <class Stream>
concept names_scheduler = requires {
  typename Stream::scheduler_type;
  typename Stream::scheduler_type::waker_type;
};

// What completes a call without throwing: an error_code variable, or a handler.
template <class Stream>
using completes =
    std::conditional_t<Stream::scheduler_type::template accepts<std::size_t, std::error_code&>,
                       std::error_code&, const any_handler&>;

template <class Stream>
concept returns_directly = blocking_waker<typename Stream::scheduler_type::waker_type>;

// What a call of a stream returns: its value, if the stream's scheduler has calls that do;
// otherwise an awaitable, or (with a handler) anything.
template <class Result, class Stream, class Value>
concept result_of_call =
    (returns_directly<Stream> && std::convertible_to<Result, Value>) ||
    (!returns_directly<Stream> &&
     (!std::same_as<completes<Stream>, std::error_code&> || !std::is_void_v<Result>));

template <class S>
concept has_recv = requires(S& s, mutable_buffer b, limit l, completes<S> how) {
  { s.recv(b, how) } -> result_of_call<S, std::size_t>;
  { s.recv(b, l, how) } -> result_of_call<S, std::size_t>;
};
template <class S>
concept has_recv_exactly = requires(S& s, mutable_buffer b, limit l, completes<S> how) {
  { s.recv_exactly(b, how) } -> result_of_call<S, std::size_t>;
  { s.recv_exactly(b, l, how) } -> result_of_call<S, std::size_t>;
};
template <class S>
concept has_receive = requires(S& s, limit l, completes<S> how) {
  { s.receive(how) } -> result_of_call<S, loan>;
  { s.receive(l, how) } -> result_of_call<S, loan>;
};
template <class S>
concept has_send = requires(S& s, const_buffer b, limit l, completes<S> how) {
  { s.send(b, how) } -> result_of_call<S, std::size_t>;
  { s.send(b, l, how) } -> result_of_call<S, std::size_t>;
};
template <class S>
concept has_send_all = requires(S& s, const_buffer b, limit l, completes<S> how) {
  { s.send_all(b, how) } -> result_of_call<S, std::size_t>;
  { s.send_all(b, l, how) } -> result_of_call<S, std::size_t>;
};
template <class S>
concept has_shutdown = requires(S& s, shutdown_how h, std::error_code& ec) { s.shutdown(h, ec); };
template <class S>
concept has_ends = requires(S& s, const S& unchanged) {
  s.cancel();
  s.close();
  { unchanged.is_open() } -> std::convertible_to<bool>;
};
template <class S>
concept has_timeout = requires(S& s, const S& unchanged, clock::duration d) {
  s.timeout(d);
  { unchanged.timeout() } -> std::convertible_to<clock::duration>;
};
template <class S>
concept has_scheduler = requires(const S& s) {
  { s.scheduler() } -> std::convertible_to<typename S::scheduler_type*>;
};

} // namespace detail

/// A stream of bytes: what code can be written for that serves a socket, a TLS connection, and
/// streams of the application alike. A protocol is a template over it, with `co_await` if it is to
/// serve fibers and threads as well as coroutines:
///
///     template <rouse::byte_stream Stream>
///     rouse::task<> answer(Stream conn) {
///       rouse::reader in{conn};
///       const std::string_view line = co_await in.read_line(5s);
///       ...
///
///     answer(co_await listener.accept());                                     // a socket
///     answer(co_await rouse::tls::connect(sched, web, "example.org", "https")); // a tls::socket
///
/// `reader`, `socket_stream` and `serve` take each kind; so does `select`, but for streams of the
/// application.
///
/// - `S::scheduler_type`, and `s.scheduler()`: a pointer to the scheduler, or null.
/// - `s.recv(buffer, [limit,] how)`, and likewise `recv_exactly`, `send`, `send_all`, and
///   `receive([limit,] how)`. They mean what they mean on a `socket`, and return what calls of the
///   scheduler return. 0 from `recv` is the end of the stream.
/// - `s.shutdown(shutdown_send, ec)`, `s.cancel()`, `s.close()`, `s.is_open()`, `s.timeout(d)`,
///   `s.timeout()`: likewise.
/// - It can be moved.
///
/// To write one, own another stream and hand its calls on. The arguments after the buffer are the
/// limit and how the call is completed, so one function serves every scheduler and all forms of the
/// call:
///
///     template <rouse::byte_stream Inner>
///     class counted {
///     public:
///       using scheduler_type = typename Inner::scheduler_type;
///       explicit counted(Inner s) : inner_(std::move(s)) {}
///
///       template <class... Rest>
///       decltype(auto) recv(rouse::mutable_buffer b, Rest&&... rest) {
///         ++receives_;
///         return inner_.recv(b, std::forward<Rest>(rest)...);
///       }
///       ...
///       scheduler_type* scheduler() const noexcept { return inner_.scheduler(); }
///
/// A stream that changes the bytes returns a `task` from its calls, in which it awaits the inner
/// stream's; a task can be awaited with coroutines, and a stream for `fibers` and `threads` calls
/// the inner stream directly. `explain_byte_stream<S>()` says in words what a class lacks.
template <class S>
concept byte_stream =
    detail::is_socket<S> ||
    (detail::names_scheduler<S> && detail::has_recv<S> && detail::has_recv_exactly<S> &&
     detail::has_receive<S> && detail::has_send<S> && detail::has_send_all<S> &&
     detail::has_shutdown<S> && detail::has_ends<S> && detail::has_timeout<S> &&
     detail::has_scheduler<S> && std::move_constructible<S>);

namespace detail {

template <class S>
consteval void explain_calls() {
  static_assert(has_recv<S>,
                "rouse: a byte_stream has \"recv(mutable_buffer, rest...)\", where the rest is a "
                "limit and how the call is completed: \"return inner.recv(b, rest...);\"");
  static_assert(has_recv_exactly<S>,
                "rouse: a byte_stream has \"recv_exactly(mutable_buffer, rest...)\", like recv, "
                "which fills the buffer");
  static_assert(has_receive<S>, "rouse: a byte_stream has \"receive(rest...)\", which gives a loan "
                                "of received bytes");
  static_assert(has_send<S>,
                "rouse: a byte_stream has \"send(const_buffer, rest...)\", where the rest is a "
                "limit and how the call is completed: \"return inner.send(b, rest...);\"");
  static_assert(has_send_all<S>,
                "rouse: a byte_stream has \"send_all(const_buffer, rest...)\", like send, which "
                "sends the whole buffer");
  static_assert(has_scheduler<S>, "rouse: a byte_stream has \"scheduler_type* scheduler() const\": "
                                  "its scheduler, or null");
}

} // namespace detail

/// Says in words what a type lacks to be a stream of bytes.
template <class S>
consteval void explain_byte_stream() {
  if constexpr (!detail::is_socket<S>) {
    static_assert(detail::names_scheduler<S>,
                  "rouse: a byte_stream names its scheduler: \"using scheduler_type = "
                  "rouse::fibers;\", or that of the stream inside it");
    if constexpr (detail::names_scheduler<S>) detail::explain_calls<S>();
    static_assert(detail::has_shutdown<S>,
                  "rouse: a byte_stream has \"void shutdown(shutdown_how, std::error_code&)\", "
                  "which ends one direction or both");
    static_assert(detail::has_ends<S>,
                  "rouse: a byte_stream has \"void cancel()\", \"void close()\" and \"bool "
                  "is_open() const\"");
    static_assert(detail::has_timeout<S>,
                  "rouse: a byte_stream has \"void timeout(clock::duration)\" and "
                  "\"clock::duration timeout() const\", the limit of calls without one");
    static_assert(std::move_constructible<S>,
                  "rouse: a byte_stream can be moved: into the flow that uses it, for example");
  }
}

}} // namespace rouse::ROUSE_ABI

// The record that all layers share: one request to an engine, and its result.
//
//   user code -- socket<Scheduler> -- basic_scheduler<Engine, Waker>
//                  |                     |            |
//            describes a call         engine        waker
//            (recv into these bytes)  "do it"       "resume the caller"
//                  +------------- operation ------------+
//
//            submit                     completed by the driver
//   idle ------------> pending -----------------------------------> ready ----> idle
//     ^                   |  (recv, accept, ... are in the kernel)     complete()
//     +-------------------+
//       submit returned true: the result was there at once
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/socket_state.hpp>
#include <rouse/detail/chrono.hpp>
#include <rouse/detail/intrusive_list.hpp>
#include <rouse/detail/timer_wheel.hpp>

#include <cstddef>
#include <cstdint>

namespace rouse { inline namespace ROUSE_ABI {

class completions;
class endpoint;
class waitable;

/// What an operation requests. The order matters: see `inward` and `socket_state::queue_of`.
enum class action : unsigned char {
  // inward
  recv, ///< up to `size` bytes into `data`
  receive, ///< like recv, but into a buffer that the engine lends and `data` then points to
  recv_from, ///< one message; `data` is an os::message, which then holds the sender
  accept, ///< a connection; `handle` is then the system's handle of it
  when_readable, ///< run `retry` whenever there is something to receive or to accept
  // outward
  send, ///< up to `size` bytes from `data`
  send_to, ///< one message; `data` is an os::message, which holds the destination
  connect, ///< to `peer`
  when_writable, ///< run `retry` whenever there is room to send
  // neither
  when_urgent, ///< run `retry` whenever there is out-of-band data
  wait, ///< no request to the kernel: a limit, `awaited` or a cancel ends it (sleeps, joins,
  ///< channels); with a target, whatever ends that socket's other operations ends it as well
  yield, ///< completes in the next turn of the loop
};

/// Which requests to cancel it a further round of a call obeys.
enum class cancellation : unsigned char {
  all,
  requests, ///< but not the limit that ended the round before, which was only a pause
  none, ///< the call waits for something that it cannot leave behind
};

/// Why an operation is being cancelled.
enum class cancel_reason : unsigned char {
  none, ///< it is not
  limit, ///< its limit has passed
  request,
};

enum class operation_state : unsigned char {
  idle, ///< the caller's
  pending, ///< the engine's: the kernel may be writing into the buffer
  ready, ///< the result is there, `complete` has not been called yet
  direct, ///< its own thread makes the call, unknown to the driver (engines/direct_calls.hpp)
  behind, ///< waits for a direct one in the same direction of the socket, unknown to the driver
};

/// A non-blocking system call to be made whenever a socket becomes ready. It turns a call that the
/// kernel interface has no request for (sendfile(2), recvmmsg(2)) into a waiting one. The engine
/// borrows it together with the operation.
///
/// The driver runs it at once if nothing else is queued, and then each time the socket becomes
/// ready. The engine's lock is held: it must not block, nor call the engine.
struct retry_when_ready {
  using runner = bool(operation&) noexcept;
  /// @param r  null: readiness is all that the caller wants.
  /// @param call_name  for `dump`: "send_file".
  retry_when_ready(runner* r, const char* call_name) noexcept : run(r), call(call_name) {}

  runner* run; ///< true: done, the result is in the operation; false: it would block
  const char* call; ///< the name of the call
  std::intptr_t handle = -1; ///< for `dump`, if the library made the socket: the user's handle
  void* files = nullptr; ///< of a socket that stands for a set of files: their poll entries
  alignas(8) unsigned char room[40]; ///< the driver's
};

/// One request and its result. It lives where the caller waits (in a coroutine's frame, on a
/// fiber's or thread's stack, in a callback's recycled block), and the engine borrows it from
/// `submit` until `complete`: no allocation per call.
///
/// An engine calls `complete` exactly once, and never from inside `submit` (O1, O2).
class operation : public detail::list_node, public detail::timer_node {
public:
  using completion_handler = void(operation&) noexcept;

  explicit operation(completion_handler* c) noexcept : complete(c) {}

  // ---- the request
  completion_handler* complete; ///< called on the thread that runs the engine; may destroy `*this`
  socket_state* target = nullptr; ///< the socket; null for most waits, and for yield
  union {
    void* data = nullptr; ///< recv, send: borrowed bytes (send only reads them); recv_from,
        ///< send_to: a borrowed os::message; result of receive: a buffer of a
        ///< pool, or null, owned by the code that takes it out
    const endpoint* peer; ///< connect: borrowed
    waitable* awaited; ///< wait: borrowed, or null
    retry_when_ready* retry; ///< when_...: borrowed
    std::intptr_t handle; ///< result of accept, owned by the code that takes it out
  };
  std::size_t size = 0; ///< bytes, for recv, send, recv_from, send_to

  /// Sets the limit, when to give up (`due`); `time_point::max()` is none.
  void limit_to(clock::time_point when) noexcept {
    due = when;
    limited = when != (clock::time_point::max)();
  }
  /// Whether the limit of its socket applies to it.
  [[nodiscard]] bool has_default_timeout() const noexcept {
    return !limited && target->default_timeout != (clock::duration::max)();
  }
  /// Without a limit of its own, a call has that of its socket, counted from now.
  void apply_default_timeout() noexcept {
    if (has_default_timeout()) limit_to(deadline(target->default_timeout).when());
  }

  /// Before a further round: forgets a cancel that the call does not obey.
  void forget_ignored_cancel() noexcept {
    if (cancellation == rouse::cancellation::all) [[likely]]
      return;
    if (cancellation == rouse::cancellation::none || cancel_reason == rouse::cancel_reason::limit)
      cancel_reason = rouse::cancel_reason::none;
    if (cancellation == rouse::cancellation::requests) cancellation = rouse::cancellation::all;
  }

  /// Whether it was submitted, and has no result yet.
  [[nodiscard]] bool waits() const noexcept {
    return state == operation_state::pending || outside_of_driver();
  }
  [[nodiscard]] bool outside_of_driver() const noexcept { return state > operation_state::ready; }

  /// Whether it waits for something to come in.
  [[nodiscard]] bool inward() const noexcept { return action <= rouse::action::when_readable; }
  /// Whether it runs `retry`.
  [[nodiscard]] bool is_retry() const noexcept {
    return action == rouse::action::when_readable || action == rouse::action::when_writable ||
           action == rouse::action::when_urgent;
  }

  // ---- the result
  std::size_t bytes = 0; ///< bytes moved
  failure error;

  // ---- the engine's
  std::uint32_t cancel_count; ///< that of `target` when the call began
  rouse::action action = rouse::action::yield;
  operation_state state = operation_state::idle;
  bool more = false; ///< the kernel will report it once more
  bool continues = false; ///< a further round of a call, which a cancel between the two rounds ends
  bool limited = false; ///< `due` is set
  bool has_result = false; ///< the result is there, but the kernel will report once more
  rouse::cancel_reason cancel_reason = rouse::cancel_reason::none;
  rouse::cancellation cancellation = rouse::cancellation::all;
  // Eight bytes from `action` to here, which one store initializes.

  [[nodiscard]] bool cancelled() const noexcept {
    return cancel_reason != rouse::cancel_reason::none;
  }
  /// The result of a cancelled operation, unless the kernel reports another one first.
  [[nodiscard]] failure cancel_error() const noexcept {
    return cancel_reason == rouse::cancel_reason::limit ? std::errc::timed_out
                                                        : std::errc::operation_canceled;
  }
};

inline detail::list<operation>& socket_state::queue_of(const operation& op) noexcept {
  if (op.inward()) return inbound;
  if (op.action <= action::when_writable) return outbound;
  return op.action == action::when_urgent ? urgent : paused;
}

}} // namespace rouse::ROUSE_ABI

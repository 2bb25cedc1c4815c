// The record that all of rouse shares: what is asked of an engine, what came of it, and whom to
// tell.
//
//   user code -- socket<Scheduler> -- basic_scheduler<Engine, Waker>
//                  |                     |            |
//            describes an operation    engine        waker
//            (recv into these bytes)   "do it"       "tell them"
//                  +------------- operation ------------+
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/detail/chrono.hpp>
#include <rouse/detail/intrusive_list.hpp>
#include <rouse/detail/timer_wheel.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace rouse { inline namespace ROUSE_ABI {

class answers;
class endpoint;
class operation;

/// What an operation asks for.
enum class action : unsigned char {
  // inward
  recv, ///< up to `size` bytes into `data`
  receive, ///< as recv, but into a buffer that the engine lends; the answer is in `data`
  recv_from, ///< as recv, but a message: `data` is an os::message, which then knows the sender
  accept, ///< a connection; the answer is in `accepted`
  when_readable, ///< to try `attempt` when there is something to receive, or to accept
  // outward
  send, ///< up to `size` bytes from `data`
  send_to, ///< as send, but a message: `data` is an os::message, which knows the destination
  connect, ///< to `peer`
  when_writable, ///< to try `attempt` when there is room to send
  // neither
  when_urgent, ///< to try `attempt` when there is out-of-band data
  wait, ///< nothing of the kernel's: ends by its limit, by what it awaits, or by a cancel
  ///< (sleeping, joining, channels); of a socket, where it has a target, by what ends that
  ///< one's other operations
  yield, ///< nothing at all: told in the next turn of the loop
};

/// Which requests to end it a further round of a call heeds.
///
enum class heed : unsigned char {
  all,
  cancels, ///< not the limit that ended the round before: that was a rest
  nothing, ///< it waits for what cannot be left behind
};

/// Something to try on a socket that may not be ready for it: what only has a system call of its
/// own becomes a waiting call by it. Borrowed by the engine with the operation.
///
/// It is tried at once when nothing waits before it, then each time that the socket has become
/// ready. The engine's lock is held: it must not wait, nor call the engine.
struct attempt {
  using runner = bool(operation&) noexcept;
  /// Null: to be ready is all that is wanted.
  /// @param what  the call, for `dump`: "send_file".
  attempt(runner* r, const char* what) noexcept : run(r), words(what) {}

  runner* run; ///< true: done, the answer is in the operation; false: it would have to wait
  const char* words; ///< which call it is
  std::intptr_t handle = -1; ///< for `dump`, where the socket is the library's own: the program's
  void* files = nullptr; ///< where a socket stands for a set of files: what the system says of them
  alignas(8) unsigned char room[40]; ///< the engine's
};

/// Something that a `wait` may wait for besides time. The engine calls it with its lock held, so
/// that of an answer and a cancel one wins and the other finds nothing left.
class waitable {
public:
  /// `op` comes. True: it is done, the answer is in it. False: it waits. Others that it answers
  /// join `answered`.
  virtual bool enter(operation& op, answers& answered) noexcept = 0;
  /// `op` waits no more. May be called twice.
  virtual void leave(operation& op) noexcept = 0;
  /// What it is, for `dump`: "lock", "channel receive".
  [[nodiscard]] virtual const char* words() const noexcept = 0;

protected:
  ~waitable() = default;
};

/// An engine's record of one open socket: the opaque handle of the layers above. Engines derive
/// theirs from it.
///
/// Owned by the engine that made it while `owner` is set; once that is null (the scheduler is gone,
/// the socket is closed and everything on it was answered) by the socket that holds it.
class descriptor : public detail::list_node {
public:
  virtual ~descriptor() = default;

  void* owner = nullptr; ///< the scheduler that the socket belongs to
  std::intptr_t native = -1; ///< the system's handle, -1 when closed
  int family = 0; ///< AF_...
  int type = 0; ///< SOCK_...
  clock::duration patience = (clock::duration::max)(); ///< the limit of calls that give no deadline
  std::uint32_t cancels = 0; ///< how often all that was pending on it was ended
  const char* purpose = nullptr; ///< for `dump`, of a socket of the library's own: "signal wait"
  bool closing = false; ///< or closed: nothing is begun on it any more
  bool unconnected = false; ///< a stream that no `connect` has connected: its end is none
  detail::list<operation> inbound; ///< pending recv and accept, oldest first
  detail::list<operation> outbound; ///< pending send and connect, oldest first
  detail::list<operation> urgent; ///< pending when_urgent, oldest first
  detail::list<operation> resting; ///< pending wait, before it tries again

  [[nodiscard]] bool open() const noexcept { return native != -1 && !closing; }
  [[nodiscard]] bool busy() const noexcept {
    return !inbound.empty() || !outbound.empty() || !urgent.empty() || !resting.empty();
  }
  /// Where `op` waits for its turn.
  [[nodiscard]] detail::list<operation>& queue_of(const operation& op) noexcept;
};

/// One request and its answer. It lives where the waiter lives (a coroutine's frame, a fiber's or a
/// thread's stack, a callback's recycled block) and is borrowed by the engine from `submit` until
/// it is told: no allocation per call.
///
/// An engine tells the completion exactly once, by calling `tell`, never from inside `submit` (O1,
/// O2). Where one request brings several completions, `more` is true for all but the last.
class operation : public detail::list_node, public detail::timer_node {
public:
  using teller = void(operation&) noexcept;
  enum class state : unsigned char {
    idle, ///< the waiter's own
    pending, ///< the engine's: the kernel may be writing into the buffer
    ready, ///< answered, not yet told
  };

  ROUSE_ALWAYS_INLINE explicit operation(teller* t) noexcept : tell(t) {}

  // ---- the question
  teller* tell; ///< called on the thread that runs the engine; may destroy the operation
  descriptor* target = nullptr; ///< the socket; none for wait and yield
  union {
    void* data = nullptr; ///< recv, send: borrowed bytes (send only reads them); recv_from,
        ///< send_to: a borrowed os::message; the answer to receive: a buffer
        ///< of a pool, or null, owned by whoever takes it
    const endpoint* peer; ///< connect: borrowed
    waitable* awaited; ///< wait: borrowed, or null
    rouse::attempt* attempt; ///< when_...: borrowed
    descriptor* accepted; ///< the answer to accept: owned by whoever takes it
    std::intptr_t handle; ///< the answer to a bare accept: the system's, owned by whoever takes it
  };
  std::size_t size = 0; ///< recv, send, recv_from, send_to: bytes
  union {
    clock::time_point due; ///< when to give up, where it is `limited`
  };

  /// From now on it has a limit, unless that is never.
  void limit_to(clock::time_point when) noexcept {
    due = when;
    limited = when != (clock::time_point::max)();
  }
  /// The limit that its socket, `target`, gives to calls which have none, from now on.
  ROUSE_ALWAYS_INLINE void take_patience() noexcept {
    if (!limited && target->patience != (clock::duration::max)()) [[unlikely]]
      limit_to_patience();
  }
  ROUSE_NOINLINE void limit_to_patience() noexcept { limit_to(deadline(target->patience).when()); }

  /// Whether it waits for what comes in.
  [[nodiscard]] bool inward() const noexcept { return what <= action::when_readable; }
  /// Whether it tries an `attempt`.
  [[nodiscard]] bool attempts() const noexcept {
    return what == action::when_readable || what == action::when_writable ||
           what == action::when_urgent;
  }

  // ---- the answer
  std::size_t bytes = 0; ///< bytes moved
  failure error;

  // ---- the engine's
  failure ending; ///< why it is being ended (timed_out, operation_canceled): the answer if nothing
      ///< else comes first
  action what = action::yield;
  state now = state::idle;
  bool bare = false; ///< accept: the connection's handle, of no engine yet, instead of a record
  bool more = false; ///< further completions will follow this one
  bool again = false; ///< a further request of one call, which a cancel between the two ends
  bool limited = false; ///< `due` says when it gives up
  bool answered = false; ///< the answer is in it, but completions will follow
  rouse::heed heed = rouse::heed::all; ///< with it the flags fill a word, and are set at once
  std::uint32_t cancels; ///< those of `target` when the call began
};

/// The operations of one engine that were answered by something else than its kernel: they are told
/// by the loop. With the engine's lock held.
class answers {
public:
  answers(detail::list<operation>& ready, detail::timer_wheel& timers) noexcept
      : ready_(ready), timers_(timers) {}

  /// `op` is pending, and waits no more for what it awaited.
  ROUSE_ALWAYS_INLINE void add(operation& op) noexcept {
    if (op.armed()) [[unlikely]]
      timers_.disarm(op);
    op.leave();
    op.now = operation::state::ready;
    ready_.push_back(op);
    any_ = true;
  }
  [[nodiscard]] bool any() const noexcept { return any_; }

private:
  detail::list<operation>& ready_;
  detail::timer_wheel& timers_;
  bool any_ = false;
};

/// Answers an operation that waits, on behalf of what it awaits. With the engine's lock held.
inline void answer(operation& op, failure error, answers& answered) noexcept {
  op.awaited->leave(op);
  op.error = error;
  answered.add(op);
}

/// Asks for a wait that `what` answers; null: one that only ends by its limit, or by a cancel.
inline void ask_wait(operation& op, waitable* what) noexcept {
  op.what = action::wait;
  op.awaited = what;
}

/// It opens once and stays open. One operation may wait for it at a time; a second ends with
/// operation_not_permitted.
class gate final : public waitable {
public:
  /// @param what  what it is to be open for, for `dump`.
  explicit gate(const char* what) noexcept : words_(what) {}

  std::atomic<bool> is_open{false}; ///< any thread may look; its opener's writes come with it

  /// With the engine's lock held.
  void open(answers& answered) noexcept {
    is_open.store(true, std::memory_order_release); // partner of the load in flow_handle::ended()
    if (waiter_) answer(*waiter_, {}, answered);
  }
  bool enter(operation& op, answers&) noexcept override {
    if (is_open.load(std::memory_order_relaxed)) return true; // under the lock
    if (waiter_) {
      op.error = std::errc::operation_not_permitted;
      return true;
    }
    waiter_ = &op;
    return false;
  }
  void leave(operation&) noexcept override { waiter_ = nullptr; }
  [[nodiscard]] const char* words() const noexcept override { return words_; }

private:
  operation* waiter_ = nullptr;
  const char* const words_;
};

inline detail::list<operation>& descriptor::queue_of(const operation& op) noexcept {
  if (op.inward()) return inbound;
  if (op.what <= action::when_writable) [[likely]]
    return outbound;
  return op.what == action::when_urgent ? urgent : resting;
}

}} // namespace rouse::ROUSE_ABI

// Waiting for something that no kernel reports: the end of a flow, an item in a channel.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/detail/chrono.hpp>
#include <rouse/detail/intrusive_list.hpp>
#include <rouse/detail/timer_wheel.hpp>

#include <atomic>
#include <cstddef>

namespace rouse { inline namespace ROUSE_ABI {

namespace detail {
template <class Operation, class Threading>
class completion_queue;
} // namespace detail

/// The operations of one engine that have completed: drivers add what the kernel reports, channels
/// and locks what they let go. The engine then calls their `complete`, in its turn of the loop.
///
/// Used with the engine's lock held.
class completions {
public:
  completions() : timers_(clock::now()) {}

  /// `op` is pending, and has left what it awaited.
  ROUSE_ALWAYS_INLINE void add(operation& op) noexcept {
    if (op.armed()) [[unlikely]]
      timers_.disarm(op);
    op.leave();
    op.state = operation_state::ready;
    ready_.push_back(op);
  }
  /// The same for drivers: the kernel's result for a pending operation.
  void add(operation& op, failure error, std::size_t bytes) noexcept {
    // The kernel says "canceled" whatever the reason was.
    if (error == failure(std::errc::operation_canceled) && op.cancelled())
      error = op.cancel_error();
    op.error = error;
    op.bytes = bytes;
    add(op);
  }
  [[nodiscard]] bool any() const noexcept { return !ready_.empty(); }

  /// For drivers: `wake` has ended the wait.
  void interrupt() noexcept { interrupted_ = true; }

private:
  template <class, class>
  friend class detail::completion_queue;

  detail::list<operation> ready_;
  detail::timer_wheel timers_; // of the operations in progress that have a limit
  bool interrupted_ = false;
};

/// Something that a `wait` can wait for besides time. The engine calls it with its lock held, so
/// that if a completion and a cancel race, one of them wins and the other finds nothing left to do.
class waitable {
public:
  /// `op` arrives. True: it is done, its result is set. False: it waits. Other operations that
  /// complete because of it are added to `completed`.
  virtual bool enter(operation& op, completions& completed) noexcept = 0;
  /// `op` no longer waits. May be called twice.
  virtual void leave(operation& op) noexcept = 0;
  /// For `dump`: "lock", "channel receive".
  [[nodiscard]] virtual const char* description() const noexcept = 0;

protected:
  ~waitable() = default;
};

/// Completes an operation that waits, on behalf of what it awaits. With the engine's lock held.
inline void complete(operation& op, failure error, completions& completed) noexcept {
  op.awaited->leave(op);
  op.error = error;
  completed.add(op);
}

/// Turns `op` into a wait for `awaited`; null: only its limit or a cancel ends it.
inline void request_wait(operation& op, waitable* awaited) noexcept {
  op.action = action::wait;
  op.awaited = awaited;
}

/// An event that happens once and stays so. One operation may wait for it at a time; a second one
/// fails with operation_not_permitted.
class one_shot_event final : public waitable {
public:
  /// @param what  what is being waited for, for `dump`.
  explicit one_shot_event(const char* what) noexcept : description_(what) {}

  /// With the engine's lock held.
  void set(completions& completed) noexcept {
    is_set.store(true, std::memory_order_release); // pairs with the load in flow_handle::ended()
    if (waiter_) complete(*waiter_, {}, completed);
  }
  bool enter(operation& op, completions&) noexcept override {
    if (is_set.load(std::memory_order_relaxed)) return true; // the lock orders it
    if (waiter_) {
      op.error = std::errc::operation_not_permitted;
      return true;
    }
    waiter_ = &op;
    return false;
  }
  void leave(operation&) noexcept override { waiter_ = nullptr; }
  [[nodiscard]] const char* description() const noexcept override { return description_; }

private:
  operation* waiter_ = nullptr;
  const char* const description_;

public:
  /// Whether it has happened. Any thread may read it; with acquire order, it then also sees what
  /// the thread that called `set` wrote before.
  std::atomic<bool> is_set{false};
};

}} // namespace rouse::ROUSE_ABI

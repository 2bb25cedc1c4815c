// The operations of one engine that are about to complete, their limits, and fairness.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/waiting.hpp>
#include <rouse/detail/chrono.hpp>
#include <rouse/detail/intrusive_list.hpp>
#include <rouse/detail/threading.hpp>
#include <rouse/detail/timer_wheel.hpp>

#include <cstddef>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// Part of an engine; all functions are called with the engine's lock held.
///
/// Fairness (O2): a flow may find at most `budget` calls in a row done at once; the next one is
/// deferred to the following turn. Each completed operation renews the budget.
template <class Operation, class Threading>
class completion_queue {
  using observer_type = typename Threading::observer;
  using list_type = list<rouse::operation>;

public:
  static constexpr int budget = 32;

  [[nodiscard]] observer_type& observer() noexcept { return observer_; }
  /// To which operations are added as they complete.
  [[nodiscard]] completions& done() noexcept { return done_; }
  /// Whether a driver has reported an interruption since the last call.
  [[nodiscard]] bool take_interruption() noexcept {
    if (!done_.interrupted_) return false;
    done_.interrupted_ = false;
    return true;
  }
  /// The number of operations in progress: submitted, and not yet completed.
  [[nodiscard]] std::size_t active() const noexcept { return active_; }
  [[nodiscard]] bool nothing_ready() const noexcept { return done_.ready_.empty(); }
  [[nodiscard]] bool nothing_deferred() const noexcept { return later_.empty(); }
  /// When the first limit passes.
  [[nodiscard]] clock::time_point next_limit() const noexcept { return done_.timers_.next(); }
  [[nodiscard]] bool no_limits() const noexcept { return done_.timers_.empty(); }

  // ---- an operation's way

  /// `op` waits in `to` from now on.
  void add_pending(Operation& op, list_type& to) noexcept {
    belongs_to_loop(op);
    to.push_back(op);
    op.state = operation_state::pending;
    ++active_;
    observer_.begun(op);
  }
  /// Its limit counts from now on.
  void arm(Operation& op) noexcept { done_.timers_.arm(op, op.due); }

  /// `op` was done at once. True: its flow may go on. False: it completes in the next turn.
  bool complete_at_once(Operation& op) noexcept {
    if (within_budget()) {
      observer_.at_once(op);
      return true;
    }
    defer(op);
    return false;
  }
  /// Of the threads that share an engine, only the one in the loop keeps others waiting.
  bool within_budget() noexcept {
    if constexpr (Threading::shared) {
      if (completing_ != this_thread()) return true;
    }
    return --left_ >= 0;
  }
  /// Whether a call may be done without an operation, which `spend` then counts.
  [[nodiscard]] bool may_spend() const noexcept { return left_ != 0; }
  void spend() noexcept { --left_; }

  void defer(Operation& op) noexcept {
    left_ = 0;
    put_off(op);
  }
  /// `op` completes in the next turn, after the kernel has been asked again.
  void put_off(Operation& op) noexcept { add_ready(op, later_); }
  /// `op`, which is not pending, completes as soon as possible.
  void add_ready(Operation& op) noexcept { add_ready(op, done_.ready_); }

  /// `op` is forgotten: it does not complete.
  void remove(Operation& op) noexcept {
    op.unlink();
    op.state = operation_state::idle;
    --active_;
    observer_.ended(op);
  }

  // ---- a turn

  void take_deferred() noexcept {
    while (!later_.empty()) done_.ready_.push_back(later_.pop_front());
  }

  /// Calls `end(op)` for each operation that is past its limit.
  template <class End>
  void expire(End end) noexcept {
    if (done_.timers_.empty()) return;
    done_.timers_.expire(clock::now(), [&](timer_node& n) { end(static_cast<Operation&>(n)); });
  }

  /// Completes what is ready, with the lock released. Returns how many.
  template <class Lock>
  std::size_t complete_ready(Lock& lock) noexcept {
    std::size_t done = 0;
    for (; done < at_most_ && !done_.ready_.empty(); ++done) {
      auto& op = static_cast<Operation&>(done_.ready_.pop_front());
      op.state = operation_state::idle;
      --active_;
      observer_.ended(op);
      left_ = budget;
      lock.unlock();
      op.complete(op);
      lock.lock();
    }
    left_ = budget;
    return done;
  }
  /// The thread that completes, of those that share the engine; null: none.
  void completes(const void* thread) noexcept { completing_ = thread; }

  /// Calls `f` for each operation that is ready or deferred.
  template <class F>
  void for_each(F f) {
    done_.ready_.for_each(f);
    later_.for_each(f);
  }

  // ---- in a forked child

  /// Nothing completes any more; the loop that may be completing something stops after that.
  void abandon() noexcept {
    at_most_ = 0;
    active_ = 0;
  }
  /// Of an inert engine: nothing refers to `op` any more. False: it was not in progress.
  bool forget(rouse::operation& op) noexcept {
    if (op.state == operation_state::idle) return false;
    if (op.armed()) done_.timers_.disarm(op);
    if (op.state == operation_state::pending && op.action == action::wait && op.awaited)
      op.awaited->leave(op);
    op.unlink();
    op.state = operation_state::idle;
    return true;
  }

private:
  // From now on the loop's thread goes on with the call, not its own.
  static void belongs_to_loop(Operation& op) noexcept {
    if constexpr (requires { op.direct.possible; }) {
      if (op.direct.possible) op.direct.possible = false; // else the call's own thread may read it
    }
  }
  void add_ready(Operation& op, list_type& to) noexcept {
    belongs_to_loop(op);
    op.state = operation_state::ready;
    to.push_back(op);
    ++active_;
    observer_.begun(op);
  }

  int left_ = budget;
  std::size_t at_most_ = 1024; // completions before the kernel is asked again
  const void* completing_ = nullptr;
  std::size_t active_ = 0;
  completions done_; // complete in this turn
  list_type later_; // complete in the next turn
  ROUSE_NO_UNIQUE_ADDRESS observer_type observer_;
};

}}} // namespace rouse::ROUSE_ABI::detail

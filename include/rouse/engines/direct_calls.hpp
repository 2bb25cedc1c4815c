// Direct calls: a thread that only blocks until its call has completed makes the call itself. No
// other thread runs the loop for it, and its system calls are made without the engine's lock.
//
//   submit: the operation joins its socket's list `paused`, where no driver looks
//
//   run: attempt ----done----> complete
//           |EAGAIN     ^
//           v           |ready
//        one poll(2) of the socket and of an interrupt, until the limit
//           |
//           +--cancelled, limit----> complete
//           +--interrupted, to run the loop----> the driver gets the operation
//
// An operation that starts while a direct one waits in the same direction of the socket is `behind`
// it: the driver gets it once no direct one is left there.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>

#include <cstddef>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// Of an engine with a driver that has no `interrupts`, or that one thread uses.
struct no_direct_calls {
  struct mark {};
  static constexpr std::size_t threads() noexcept { return 0; }
  static constexpr bool any(const socket_state&) noexcept { return false; }
  static constexpr bool any(const socket_state&, bool) noexcept { return false; }
  template <class Engine, class Queue>
  static constexpr bool keep(Engine&, operation&, const Queue&) noexcept {
    return false;
  }
  template <class Engine>
  static constexpr bool run(Engine&, operation&) noexcept {
    return false;
  }
  static void interrupt(operation&) noexcept {}
  template <class Engine>
  static void call_to_loop(Engine&) noexcept {}
  static void renew() noexcept {}
};

/// Part of an engine. All functions but `run` and `call_to_loop` are called with its lock held.
template <class Driver>
class direct_calls {
  using interrupts = typename Driver::interrupts;

public:
  /// In each operation.
  struct mark {
    bool possible = false; ///< set by a thread that will only wait; see `run`
    bool interrupted = false;
    typename interrupts::one* interrupt = nullptr;
  };

  /// The number of calls in progress.
  [[nodiscard]] std::size_t threads() const noexcept { return interrupts_.threads(); }

  /// Whether a call on `s` is direct, or behind one that is.
  [[nodiscard]] static bool any(socket_state& s) noexcept { return any(s, true) || any(s, false); }
  [[nodiscard]] static bool any(const socket_state& s, bool inward) noexcept {
    bool found = false;
    s.paused.for_each(
        [&](const operation& op) { found |= op.outside_of_driver() && op.inward() == inward; });
    return found;
  }

  /// True: the driver does not get `op`, or not yet.
  /// @param queue  that of the driver, for the same direction.
  template <class Engine>
  bool keep(Engine& e, typename Engine::operation& op, const list<operation>& queue) noexcept {
    const bool behind = any(*op.target, op.inward());
    if (!behind) {
      // A posted function needs a thread in the loop.
      if (!op.direct.possible || !queue.empty() || !e.mailbox_.posted.empty()) return false;
      op.direct.interrupt = e.driver_.may_be_direct(op) ? interrupts_.join() : nullptr;
      if (!op.direct.interrupt) return false;
    }
    e.queue_.add_pending(op, op.target->paused);
    op.apply_default_timeout();
    op.state = behind ? operation_state::behind : operation_state::direct;
    op.direct.possible = !behind; // add_pending() has cleared it
    if (behind && op.limited) (void)e.arm(op);
    return true;
  }

  /// For the thread that has set `op.direct.possible` and then submitted `op`: makes the call, and
  /// completes it. False: it is the loop's.
  template <class Engine>
  bool run(Engine& e, typename Engine::operation& op) noexcept {
    if (!op.direct.possible) return false;
    if (Driver::attempt_first(op)) return finish(e, op);
    while (true) {
      const bool ready = interrupts::wait_ready(op, *op.direct.interrupt);
      if (ready && Driver::attempt(op)) return finish(e, op);
      typename Engine::lock_type lock(e.mutex_);
      if (e.inert_) break; // a signal handler has forked
      if (op.limited && op.due <= clock::now() && !op.cancelled())
        op.cancel_reason = cancel_reason::limit;
      if (op.cancelled()) {
        op.error = op.cancel_error();
        return finish(e, op, lock);
      }
      // Ready, but for something that an attempt does not find: the driver knows such cases.
      if (ready || op.direct.interrupted) {
        give_to_driver(e, op);
        return false;
      }
      // The interrupt is meant for another thread, which is yet to see it.
      while (op.direct.interrupt->raised != 0 && !op.direct.interrupted) e.waited_.wait(lock);
    }
    op.direct.possible = false;
    e.refuse(op);
    return true;
  }

  /// Wakes the thread of `op`: it is cancelled, or to run the loop.
  template <class Operation>
  void interrupt(Operation& op) noexcept {
    if (!op.direct.interrupted) interrupts_.raise(*op.direct.interrupt);
    op.direct.interrupted = true;
  }
  /// Makes the thread of any direct call run the loop, if that has something to do.
  template <class Engine>
  void call_to_loop(Engine& e) noexcept {
    const typename Engine::lock_type lock(e.mutex_);
    if (!e.inert_ && !e.has_nothing_to_do()) interrupt_any(e);
  }

  /// In a forked child, if no call was in progress: the descriptors are the parent's too.
  void renew() noexcept { interrupts_.clear(); }

private:
  template <class Engine>
  void interrupt_any(Engine& e) noexcept {
    typename Engine::operation* found = nullptr;
    e.open_.for_each([&](socket_state& s) {
      s.paused.for_each([&](operation& op) {
        if (op.state == operation_state::direct)
          found = static_cast<typename Engine::operation*>(&op);
      });
    });
    if (found) interrupt(*found);
  }

  template <class Engine>
  bool finish(Engine& e, typename Engine::operation& op) noexcept {
    typename Engine::lock_type lock(e.mutex_);
    return finish(e, op, lock);
  }
  template <class Engine>
  bool finish(Engine& e, typename Engine::operation& op,
              typename Engine::lock_type& lock) noexcept {
    const bool called_to_loop = op.direct.interrupted && !op.cancelled();
    leave(e, op);
    e.queue_.remove(op);
    give_behind_to_driver(e, *op.target, op.inward());
    if (called_to_loop) interrupt_any(e); // another one, then
    lock.unlock();
    op.complete(op);
    return true;
  }

  // `op` is no longer direct. Some thread may wait for that: one that closes the socket, or one
  // that has the same interrupt.
  template <class Engine>
  void leave(Engine& e, typename Engine::operation& op) noexcept {
    if (op.direct.interrupted) {
      interrupts_.settle(*op.direct.interrupt);
      e.waited_.notify_all();
    }
    op.direct.interrupted = false;
    interrupts_.leave(*op.direct.interrupt);
  }

  template <class Engine>
  void give_to_driver(Engine& e, typename Engine::operation& op) noexcept {
    leave(e, op);
    op.direct.possible = false;
    start_in_driver(e, op);
    if (op.state == operation_state::pending) (void)e.arm(op);
    give_behind_to_driver(e, *op.target, op.inward());
  }
  template <class Engine>
  void give_behind_to_driver(Engine& e, socket_state& s, bool inward) noexcept {
    s.paused.for_each([&](operation& op) {
      if (op.state == operation_state::behind && op.inward() == inward)
        start_in_driver(e, static_cast<typename Engine::operation&>(op));
    });
  }
  template <class Engine>
  void start_in_driver(Engine& e, typename Engine::operation& op) noexcept {
    const bool done = e.driver_.start(op);
    op.unlink();
    op.target->queue_of(op).push_back(op);
    op.state = operation_state::pending;
    if (!done) return;
    e.queue_.done().add(op);
    e.wake_others();
  }

  interrupts interrupts_;
};

template <class Driver, class Threading>
struct direct_calls_of {
  using type = no_direct_calls;
};
template <class Driver, class Threading>
  requires(Threading::shared && requires { typename Driver::interrupts; })
struct direct_calls_of<Driver, Threading> {
  using type = direct_calls<Driver>;
};

}}} // namespace rouse::ROUSE_ABI::detail

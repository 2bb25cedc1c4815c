// Semaphore, mutex, event and wait group for flows: they suspend a flow, never its thread.
//
// All four are one wait queue with a different state. A state has `bool try_acquire() noexcept`,
// which takes what it grants:
//
//     class             state             try_acquire succeeds
//     flow_semaphore    permits left      if there is one; takes it
//     flow_mutex        1 or 0 permits    if there is one; takes it
//     flow_event        set or not        while it is set
//     wait_group        number running    while it is 0
#pragma once
#include <rouse/concepts/scheduler.hpp>
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/waiter.hpp>
#include <rouse/detail/intrusive_list.hpp>

#include <cstddef>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

// A state and the calls that wait for it. Used with the engine's lock held.
template <class State>
struct wait_queue {
  State state;
  list<waiter> waiters; // oldest first

  // Completes waiting calls, oldest first, as long as the state lets them acquire.
  void admit_waiting(completions& completed) noexcept {
    while (!waiters.empty() && state.try_acquire()) waiters.front().admit(completed);
  }
};

template <class State>
struct queued_waiter final : waiter_base<queued_waiter<State>> {
  static constexpr const char* awaits = State::awaits;
  explicit queued_waiter(wait_queue<State>& t) noexcept : at(&t) {}
  // A call does not overtake those that wait already.
  list<waiter>* try_enter(failure&, completions&) noexcept {
    return at->waiters.empty() && at->state.try_acquire() ? nullptr : &at->waiters;
  }
  wait_queue<State>* at;
};

template <class State>
struct acquire_call : queued_call<queued_waiter<State>> {
  using value_type = done;
  static constexpr const char* name = State::name;
  done value() noexcept { return {}; }
};

template <class State>
class acquired_case;

// Base class of the four. Its destructor completes the calls that still wait with
// operation_canceled.
template <class Scheduler, class State>
class sync_object {
public:
  sync_object(const sync_object&) = delete;
  sync_object& operator=(const sync_object&) = delete;

protected:
  explicit sync_object(Scheduler& s, State state) noexcept : scheduler_(&s), queue_{state, {}} {}
  ~sync_object() {
    scheduler_->engine().with_completions([&](completions& completed) {
      admit_all(queue_.waiters, completed, std::errc::operation_canceled);
    });
  }

  template <class... Rest>
  decltype(auto) begin(const location& at, Rest&&... rest) {
    return begin_call(scheduler_, acquire_call<State>{{queued_waiter<State>(queue_)}}, at,
                      std::forward<Rest>(rest)...);
  }

  // Returns what `f` returns for the state, which it may change; then completes waiting calls.
  template <class F>
  auto with_state(F&& f) const noexcept {
    decltype(f(queue_.state)) result{};
    scheduler_->engine().with_completions([&](completions& completed) {
      result = f(queue_.state);
      queue_.admit_waiting(completed);
    });
    return result;
  }

private:
  friend class acquired_case<State>;
  Scheduler* scheduler_;
  mutable wait_queue<State> queue_;
};

struct semaphore_state {
  static constexpr const char* name = "rouse: acquire";
  static constexpr const char* awaits = "semaphore";
  std::size_t permits;
  bool try_acquire() noexcept { return permits != 0 && permits-- != 0; }
};
struct lock_state : semaphore_state {
  static constexpr const char* name = "rouse: lock";
  static constexpr const char* awaits = "lock";
};
struct event_state {
  static constexpr const char* name = "rouse: wait for an event";
  static constexpr const char* awaits = "event";
  bool set;
  bool try_acquire() const noexcept { return set; }
};
struct group_state {
  static constexpr const char* name = "rouse: wait for a group";
  static constexpr const char* awaits = "group";
  std::size_t running;
  bool try_acquire() const noexcept { return running == 0; }
};

} // namespace detail

/// A counting semaphore. Waiting flows get permits in the order of their calls.
///
/// This class and the three below suspend flows, not threads. Their waiting calls take a limit and
/// a `how`, like those of a socket, and return nothing. A destructor completes the calls that still
/// wait with operation_canceled; the object must be destroyed before its scheduler.
///
/// Errors: timed_out, operation_canceled. Threads: the scheduler's own (with `threads`, any);
/// other threads use `post`. Cost: no allocation, no system call.
template <class Scheduler>
class flow_semaphore : public detail::sync_object<Scheduler, detail::semaphore_state> {
public:
  explicit flow_semaphore(Scheduler& s, std::size_t permits)
      : detail::sync_object<Scheduler, detail::semaphore_state>(s, {permits}) {}

  /// Takes a permit. Completes when there is one. If a release and the call's limit or cancellation
  /// race, a call that was given the permit succeeds.
  template <class...>
  decltype(auto) acquire(detail::location at = detail::location::current()) {
    return this->begin(at);
  }
  template <class First = limit, class How = detail::nothing>
  decltype(auto) acquire(First&& first, How&& how = How(),
                         detail::call_site at = detail::location::current()) {
    return this->begin(at, std::forward<First>(first), std::forward<How>(how));
  }
  /// Takes a permit if there is one and returns true; otherwise returns false.
  [[nodiscard]] bool try_acquire() noexcept {
    return this->with_state([](detail::semaphore_state& s) { return s.try_acquire(); });
  }
  /// Adds `n` permits: those taken before, or new ones.
  void release(std::size_t n = 1) noexcept {
    this->with_state([n](detail::semaphore_state& s) { return s.permits += n; });
  }
  /// Number of permits left.
  [[nodiscard]] std::size_t available() const noexcept {
    return this->with_state([](detail::semaphore_state& s) { return s.permits; });
  }
};

/// A mutex. Waiting flows get it in the order of their calls. The flow that holds it must not lock
/// it again. Errors, threads and cost: see `flow_semaphore`.
///
/// With `fibers` and `threads`, std::lock_guard and std::unique_lock work; with `coroutines`:
///
///     co_await m.lock();
///     std::lock_guard held{m, std::adopt_lock};
template <class Scheduler>
class flow_mutex : public detail::sync_object<Scheduler, detail::lock_state> {
public:
  explicit flow_mutex(Scheduler& s)
      : detail::sync_object<Scheduler, detail::lock_state>(s, {{1}}) {}

  /// Locks the mutex. Completes when the calling flow holds it.
  template <class...>
  decltype(auto) lock(detail::location at = detail::location::current()) {
    return this->begin(at);
  }
  template <class First = limit, class How = detail::nothing>
  decltype(auto) lock(First&& first, How&& how = How(),
                      detail::call_site at = detail::location::current()) {
    return this->begin(at, std::forward<First>(first), std::forward<How>(how));
  }
  /// Locks the mutex and returns true, unless it is locked.
  [[nodiscard]] bool try_lock() noexcept {
    return this->with_state([](detail::lock_state& s) { return s.try_acquire(); });
  }
  /// Unlocks it; the flow that has waited longest gets it.
  void unlock() noexcept {
    this->with_state([](detail::lock_state& s) { return s.permits = 1; });
  }
};

/// An event that is set or not. Setting it completes all waiting calls at once; it stays set until
/// `reset`. Errors, threads and cost: see `flow_semaphore`.
template <class Scheduler>
class flow_event : public detail::sync_object<Scheduler, detail::event_state> {
public:
  explicit flow_event(Scheduler& s)
      : detail::sync_object<Scheduler, detail::event_state>(s, {false}) {}

  /// Completes when the event is set; at once if it is.
  template <class...>
  decltype(auto) wait(detail::location at = detail::location::current()) {
    return this->begin(at);
  }
  template <class First = limit, class How = detail::nothing>
  decltype(auto) wait(First&& first, How&& how = How(),
                      detail::call_site at = detail::location::current()) {
    return this->begin(at, std::forward<First>(first), std::forward<How>(how));
  }
  /// Sets the event.
  void set() noexcept {
    this->with_state([](detail::event_state& s) { return s.set = true; });
  }
  /// Later calls wait again.
  void reset() noexcept {
    this->with_state([](detail::event_state& s) { return s.set = false; });
  }
  [[nodiscard]] bool is_set() const noexcept {
    return this->with_state([](detail::event_state& s) { return s.set; });
  }
};

/// A count of running tasks: flows wait until it is 0. Errors, threads and cost: see
/// `flow_semaphore`.
template <class Scheduler>
class wait_group : public detail::sync_object<Scheduler, detail::group_state> {
public:
  /// @param running  the initial count.
  explicit wait_group(Scheduler& s, std::size_t running = 0)
      : detail::sync_object<Scheduler, detail::group_state>(s, {running}) {}

  /// Completes when the count is 0; at once if it is.
  template <class...>
  decltype(auto) wait(detail::location at = detail::location::current()) {
    return this->begin(at);
  }
  template <class First = limit, class How = detail::nothing>
  decltype(auto) wait(First&& first, How&& how = How(),
                      detail::call_site at = detail::location::current()) {
    return this->begin(at, std::forward<First>(first), std::forward<How>(how));
  }
  /// Adds `n` to the count.
  void add(std::size_t n = 1) noexcept {
    this->with_state([n](detail::group_state& s) { return s.running += n; });
  }
  /// Subtracts one from the count. Ignored when the count is 0.
  void finish() noexcept {
    this->with_state([](detail::group_state& s) { return s.running == 0 ? 0 : --s.running; });
  }
  /// The count.
  [[nodiscard]] std::size_t running() const noexcept {
    return this->with_state([](detail::group_state& s) { return s.running; });
  }
};

}} // namespace rouse::ROUSE_ABI

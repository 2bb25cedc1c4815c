// What flows share: locks, permits, events and counts that park a flow, never its thread.
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
#include <source_location>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

// Something that lets flows pass, or has them wait in line. `Rule` says which: `bool pass()
// noexcept`, called with the engine's lock held; what it takes is taken.
template <class State>
struct wait_queue {
  State state;
  list<waiter> waiters; // oldest first

  // As many as may pass now, do.
  void admit_waiting(completions& completed) noexcept {
    while (!waiters.empty() && state.try_acquire()) waiters.front().admit(completed);
  }
};

template <class State>
struct queued_waiter final : waiter_base<queued_waiter<State>> {
  static constexpr const char* awaits = State::awaits;
  explicit queued_waiter(wait_queue<State>& t) noexcept : at(&t) {}
  list<waiter>* try_enter(failure&, completions&) noexcept {
    return at->waiters.empty() && at->state.try_acquire() ? nullptr
                                                          : &at->waiters; // nobody overtakes
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

// What the four have in common. When it goes, those who wait end with operation_canceled.
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

  template <class Limit, class... How>
  decltype(auto) begin(Limit l, How&&... how) {
    return Scheduler::initiate(scheduler_, acquire_call<State>{{queued_waiter<State>(queue_)}},
                               std::move(l), std::forward<How>(how)...);
  }

  // Asks, or changes, the rule; then lets pass who may.
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

/// So many permits; whoever finds none waits for one to be given back. First come, first served.
///
/// This and the classes below park flows, not threads. Their waiting calls take a limit and a `how`
/// as a socket's do, and give nothing; errors: timed_out, operation_canceled. They go before their
/// scheduler does. Threads: the scheduler's own (with `threads`, any; from elsewhere through
/// `post`). Cost: no allocation, no system call.
template <class Scheduler>
class flow_semaphore : public detail::sync_object<Scheduler, detail::semaphore_state> {
public:
  explicit flow_semaphore(Scheduler& s, std::size_t permits)
      : detail::sync_object<Scheduler, detail::semaphore_state>(s, {permits}) {}

  /// Takes a permit, waiting for one if there is none. One that is given just as the wait ends is
  /// taken.
  template <class How = detail::nothing>
    requires(!detail::limit_first<How>)
  decltype(auto) acquire(How&& how = How(),
                         detail::call_site at = std::source_location::current()) {
    return this->begin(no_limit{at}, std::forward<How>(how));
  }
  template <class... How>
  decltype(auto) acquire(limit l, How&&... how) {
    return this->begin(std::move(l), std::forward<How>(how)...);
  }
  [[nodiscard]] bool try_acquire() noexcept {
    return this->with_state([](detail::semaphore_state& s) { return s.try_acquire(); });
  }
  /// Gives permits back, or adds them.
  void release(std::size_t n = 1) noexcept {
    this->with_state([n](detail::semaphore_state& s) { return s.permits += n; });
  }
  [[nodiscard]] std::size_t available() const noexcept {
    return this->with_state([](detail::semaphore_state& s) { return s.permits; });
  }
};

/// A lock that one flow holds at a time. First come, first served; the holder must not lock it
/// again.
///
/// With `fibers` and `threads`, std::lock_guard and std::unique_lock do; with `coroutines`:
///
///     co_await m.lock();
///     std::lock_guard held{m, std::adopt_lock};
template <class Scheduler>
class flow_mutex : public detail::sync_object<Scheduler, detail::lock_state> {
public:
  explicit flow_mutex(Scheduler& s)
      : detail::sync_object<Scheduler, detail::lock_state>(s, {{1}}) {}

  template <class How = detail::nothing>
    requires(!detail::limit_first<How>)
  decltype(auto) lock(How&& how = How(), detail::call_site at = std::source_location::current()) {
    return this->begin(no_limit{at}, std::forward<How>(how));
  }
  template <class... How>
  decltype(auto) lock(limit l, How&&... how) {
    return this->begin(std::move(l), std::forward<How>(how)...);
  }
  [[nodiscard]] bool try_lock() noexcept {
    return this->with_state([](detail::lock_state& s) { return s.try_acquire(); });
  }
  void unlock() noexcept {
    this->with_state([](detail::lock_state& s) { return s.permits = 1; });
  }
};

/// Something that is so or is not yet: flows wait until it is set, all of them at once.
template <class Scheduler>
class flow_event : public detail::sync_object<Scheduler, detail::event_state> {
public:
  explicit flow_event(Scheduler& s)
      : detail::sync_object<Scheduler, detail::event_state>(s, {false}) {}

  template <class How = detail::nothing>
    requires(!detail::limit_first<How>)
  decltype(auto) wait(How&& how = How(), detail::call_site at = std::source_location::current()) {
    return this->begin(no_limit{at}, std::forward<How>(how));
  }
  template <class... How>
  decltype(auto) wait(limit l, How&&... how) {
    return this->begin(std::move(l), std::forward<How>(how)...);
  }
  void set() noexcept {
    this->with_state([](detail::event_state& s) { return s.set = true; });
  }
  void reset() noexcept {
    this->with_state([](detail::event_state& s) { return s.set = false; });
  }
  [[nodiscard]] bool is_set() const noexcept {
    return this->with_state([](detail::event_state& s) { return s.set; });
  }
};

/// A count of things that are under way: flows wait until it is 0.
template <class Scheduler>
class wait_group : public detail::sync_object<Scheduler, detail::group_state> {
public:
  explicit wait_group(Scheduler& s, std::size_t running = 0)
      : detail::sync_object<Scheduler, detail::group_state>(s, {running}) {}

  template <class How = detail::nothing>
    requires(!detail::limit_first<How>)
  decltype(auto) wait(How&& how = How(), detail::call_site at = std::source_location::current()) {
    return this->begin(no_limit{at}, std::forward<How>(how));
  }
  template <class... How>
  decltype(auto) wait(limit l, How&&... how) {
    return this->begin(std::move(l), std::forward<How>(how)...);
  }
  void add(std::size_t n = 1) noexcept {
    this->with_state([n](detail::group_state& s) { return s.running += n; });
  }
  /// One is finished. (One more than were added is passed over.)
  void finish() noexcept {
    this->with_state([](detail::group_state& s) { return s.running == 0 ? 0 : --s.running; });
  }
  [[nodiscard]] std::size_t running() const noexcept {
    return this->with_state([](detail::group_state& s) { return s.running; });
  }
};

}} // namespace rouse::ROUSE_ABI

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
template <class Rule>
struct wait_queue {
  Rule rule;
  list<waiter> line; // oldest first

  // As many as may pass now, do.
  void admit_waiting(completions& completed) noexcept {
    while (!line.empty() && rule.pass()) line.front().admit(completed);
  }
};

template <class Rule>
struct queued_waiter final : waiter_as<queued_waiter<Rule>> {
  static constexpr const char* awaits = Rule::awaits;
  explicit queued_waiter(wait_queue<Rule>& t) noexcept : at(&t) {}
  list<waiter>* try_enter(failure&, completions&) noexcept {
    return at->line.empty() && at->rule.pass() ? nullptr : &at->line; // nobody overtakes
  }
  wait_queue<Rule>* at;
};

template <class Rule>
struct acquire_call : waiting_call<queued_waiter<Rule>> {
  using value_type = done;
  static constexpr const char* name = Rule::name;
  done value() noexcept { return {}; }
};

template <class Rule>
class acquired_case;

// What the four have in common. When it goes, those who wait end with operation_canceled.
template <class Scheduler, class Rule>
class shared_place {
public:
  shared_place(const shared_place&) = delete;
  shared_place& operator=(const shared_place&) = delete;

protected:
  explicit shared_place(Scheduler& s, Rule rule) noexcept : scheduler_(&s), queue_{rule, {}} {}
  ~shared_place() {
    scheduler_->engine().with_completions([&](completions& completed) {
      admit_all(queue_.line, completed, std::errc::operation_canceled);
    });
  }

  template <class Limit, class... How>
  decltype(auto) begin(Limit l, How&&... how) {
    return Scheduler::initiate(scheduler_, acquire_call<Rule>{{queued_waiter<Rule>(queue_)}},
                               std::move(l), std::forward<How>(how)...);
  }

  // Asks, or changes, the rule; then lets pass who may.
  template <class F>
  auto with_rule(F&& f) const noexcept {
    decltype(f(queue_.rule)) answer{};
    scheduler_->engine().with_completions([&](completions& completed) {
      answer = f(queue_.rule);
      queue_.admit_waiting(completed);
    });
    return answer;
  }

private:
  friend class acquired_case<Rule>;
  Scheduler* scheduler_;
  mutable wait_queue<Rule> queue_;
};

struct permit_rule {
  static constexpr const char* name = "rouse: acquire";
  static constexpr const char* awaits = "semaphore";
  std::size_t left;
  bool pass() noexcept { return left != 0 && left-- != 0; }
};
struct lock_rule : permit_rule {
  static constexpr const char* name = "rouse: lock";
  static constexpr const char* awaits = "lock";
};
struct event_rule {
  static constexpr const char* name = "rouse: wait for an event";
  static constexpr const char* awaits = "event";
  bool set;
  bool pass() const noexcept { return set; }
};
struct count_rule {
  static constexpr const char* name = "rouse: wait for a group";
  static constexpr const char* awaits = "group";
  std::size_t running;
  bool pass() const noexcept { return running == 0; }
};

} // namespace detail

/// So many permits; whoever finds none waits for one to be given back. First come, first served.
///
/// This and the classes below park flows, not threads. Their waiting calls take a limit and a `how`
/// as a socket's do, and give nothing; errors: timed_out, operation_canceled. They go before their
/// scheduler does. Threads: the scheduler's own (with `threads`, any; from elsewhere through
/// `post`). Cost: no allocation, no system call.
template <class Scheduler>
class flow_semaphore : public detail::shared_place<Scheduler, detail::permit_rule> {
public:
  explicit flow_semaphore(Scheduler& s, std::size_t permits)
      : detail::shared_place<Scheduler, detail::permit_rule>(s, {permits}) {}

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
    return this->with_rule([](detail::permit_rule& r) { return r.pass(); });
  }
  /// Gives permits back, or adds them.
  void release(std::size_t n = 1) noexcept {
    this->with_rule([n](detail::permit_rule& r) { return r.left += n; });
  }
  [[nodiscard]] std::size_t available() const noexcept {
    return this->with_rule([](detail::permit_rule& r) { return r.left; });
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
class flow_mutex : public detail::shared_place<Scheduler, detail::lock_rule> {
public:
  explicit flow_mutex(Scheduler& s)
      : detail::shared_place<Scheduler, detail::lock_rule>(s, {{1}}) {}

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
    return this->with_rule([](detail::lock_rule& r) { return r.pass(); });
  }
  void unlock() noexcept {
    this->with_rule([](detail::lock_rule& r) { return r.left = 1; });
  }
};

/// Something that is so or is not yet: flows wait until it is set, all of them at once.
template <class Scheduler>
class flow_event : public detail::shared_place<Scheduler, detail::event_rule> {
public:
  explicit flow_event(Scheduler& s)
      : detail::shared_place<Scheduler, detail::event_rule>(s, {false}) {}

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
    this->with_rule([](detail::event_rule& r) { return r.set = true; });
  }
  void reset() noexcept {
    this->with_rule([](detail::event_rule& r) { return r.set = false; });
  }
  [[nodiscard]] bool is_set() const noexcept {
    return this->with_rule([](detail::event_rule& r) { return r.set; });
  }
};

/// A count of things that are under way: flows wait until it is 0.
template <class Scheduler>
class wait_group : public detail::shared_place<Scheduler, detail::count_rule> {
public:
  explicit wait_group(Scheduler& s, std::size_t running = 0)
      : detail::shared_place<Scheduler, detail::count_rule>(s, {running}) {}

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
    this->with_rule([n](detail::count_rule& r) { return r.running += n; });
  }
  /// One is finished. (One more than were added is passed over.)
  void finish() noexcept {
    this->with_rule([](detail::count_rule& r) { return r.running == 0 ? 0 : --r.running; });
  }
  [[nodiscard]] std::size_t running() const noexcept {
    return this->with_rule([](detail::count_rule& r) { return r.running; });
  }
};

}} // namespace rouse::ROUSE_ABI

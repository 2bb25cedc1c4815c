// select: waiting for the first of several things.
#pragma once
#include <rouse/concepts/scheduler.hpp>
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/waiter.hpp>
#include <rouse/core/waiting.hpp>
#include <rouse/detail/intrusive_list.hpp>
#include <rouse/flows/channel.hpp>
#include <rouse/flows/channel_core.hpp>
#include <rouse/flows/sync.hpp>
#include <rouse/sockets/readiness_calls.hpp>
#include <rouse/sockets/socket.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <optional>
#include <source_location>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

// A case stands in a line, as its own call would; the first one that is served takes all the others
// out of theirs. What it has besides: `begin` and `end`, called before and after all that; and of
// the one that was served `why`, what went wrong, and `take`, which may throw.
template <class Waiter>
class select_case {
public:
  Waiter& as_waiter() noexcept { return waiter_; }
  void start() noexcept {}
  void stop() noexcept {}
  [[nodiscard]] failure error() const noexcept { return {}; } // its operation has it
  void take_result() noexcept {}

protected:
  explicit select_case(Waiter w) noexcept : waiter_(std::move(w)) {}
  Waiter waiter_;
};

template <class T>
class receive_case : public select_case<typename channel_core<T>::receiver> {
public:
  template <class Scheduler>
  receive_case(const channel<T, Scheduler>& ch, std::optional<T>& into) noexcept
      : select_case<typename channel_core<T>::receiver>(
            typename channel_core<T>::receiver(*ch.core_)),
        into_(into) {}
  void take_result() { into_ = this->waiter_.slot.unwrap(); }

private:
  std::optional<T>& into_;
};

template <class T>
class send_case : public select_case<typename channel_core<T>::sender> {
public:
  template <class Scheduler>
  send_case(const channel<T, Scheduler>& ch, T value) noexcept
      : select_case<typename channel_core<T>::sender>({*ch.core_, item<T>(std::move(value))}) {}
};

template <class State>
class acquired_case : public select_case<queued_waiter<State>> {
public:
  template <class Scheduler>
  explicit acquired_case(const sync_object<Scheduler, State>& where) noexcept
      : select_case<queued_waiter<State>>(queued_waiter<State>(where.queue_)) {}
};

template <class Scheduler>
class ready_case final : public waiter_base<ready_case<Scheduler>> {
  using engine_type = typename Scheduler::engine_type;

public:
  static constexpr const char* awaits = "readiness";
  ready_case(const socket<Scheduler>& s, readiness what) noexcept
      : engine_(s.scheduler() ? &s.scheduler()->engine() : nullptr), call_(s.record_, what) {}
  ready_case(ready_case&& other) noexcept
      : waiter_base<ready_case>(other), engine_(other.engine_), call_(other.call_) {
  } // before it has begun

  ready_case& as_waiter() noexcept { return *this; }
  void start() noexcept { watch_.emplace(*this); }
  void stop() noexcept {
    // One that is being told by another thread: that is soon over.
    if (!watch_->stop())
      while (!completed_.load(std::memory_order_acquire)) std::this_thread::yield();
  }
  [[nodiscard]] failure error() const noexcept { return error_; }
  void take_result() noexcept {}

  list<waiter>* try_enter(failure&, completions&) noexcept { return ready_ ? nullptr : &queue_; }

private:
  class watch final : public pending_call<engine_type, wait_call, no_limit, watch> {
    using call = pending_call<engine_type, wait_call, no_limit, watch>;

  public:
    explicit watch(ready_case& c) noexcept
        : call(c.engine_, wait_call(c.call_), no_limit{}), case_(c) {
      if (this->start()) deliver();
    }
    void deliver() noexcept { case_.complete(this->error); }
    // False: `deliver` was called, or will be.
    bool stop() noexcept { return this->engine() && this->engine()->abandon(*this); }

  private:
    ready_case& case_;
  };

  void complete(failure why) noexcept {
    const auto note = [&](auto... completed) {
      error_ = why;
      ready_ = true;
      if (this->linked()) (this->admit(*completed), ...);
      completed_.store(true, std::memory_order_release); // partner of end()
    };
    if (engine_ && !engine_->inert())
      engine_->with_completions([&](completions& completed) { note(&completed); });
    else
      note();
  }

  engine_type* engine_;
  wait_call call_;
  std::optional<watch> watch_;
  list<waiter> queue_; // of one
  bool ready_ = false; // guarded, as the next, by the engine's lock
  failure error_;
  std::atomic<bool> completed_{false};
};

template <class... Cases>
struct select_call final : waitable {
  using value_type = std::size_t;
  static constexpr const char* name = "rouse: select";
  static constexpr std::size_t none = sizeof...(Cases);

  std::tuple<Cases...> cases;
  std::size_t chosen = none;

  bool started = false;

  explicit select_call(std::tuple<Cases...> c) noexcept : cases(std::move(c)) {}
  select_call(select_call&& other) noexcept : waitable(), cases(std::move(other.cases)) {}

  bool prepare(operation& op) noexcept {
    started = true;
    each([](auto& c, std::size_t) { c.start(); });
    request_wait(op, this);
    return true;
  }
  bool advance(operation& op) noexcept {
    stop();
    each([&](auto& c, std::size_t i) {
      if (c.as_waiter().admitted()) chosen = i;
      if (i == chosen && !op.error) op.error = c.error();
    });
    return true;
  }
  std::size_t value(operation& op) {
    each([&](auto& c, std::size_t i) {
      if (i == chosen && !op.error) c.take_result();
    });
    return chosen;
  }
  template <class Engine>
  void discard(operation&, Engine&) noexcept {
    if (started) stop(); // it was never told
  }

  // ---- what it waits for

  bool enter(operation& op, completions& completed) noexcept override {
    std::array<list<waiter>*, none> queues{};
    each([&](auto& c, std::size_t i) {
      if (chosen != none) return;
      queues[i] = c.as_waiter().try_enter(op.error, completed);
      if (!queues[i]) chosen = i;
    });
    if (chosen != none) return true;
    each([&](auto& c, std::size_t i) { c.as_waiter().enqueue(*queues[i], op); });
    return false;
  }
  void leave(operation&) noexcept override {
    each([](auto& c, std::size_t) { c.as_waiter().unlink(); });
  }
  [[nodiscard]] const char* description() const noexcept override { return "select"; }
  void stop() noexcept {
    started = false;
    each([](auto& c, std::size_t) { c.stop(); });
  }

  template <class F>
  void each(F f) {
    each(f, std::index_sequence_for<Cases...>());
  }
  template <class F, std::size_t... I>
  void each(F& f, std::index_sequence<I...>) {
    (f(std::get<I>(cases), I), ...);
  }
};

template <class Scheduler, class... Cases, class Limit, class... How>
decltype(auto) begin_select(Scheduler& s, std::tuple<Cases...> cases, Limit l, How&&... how) {
  return Scheduler::initiate(&s, select_call<Cases...>(std::move(cases)), std::move(l),
                             std::forward<How>(how)...);
}

} // namespace detail

/// Cases of `select`: to receive from a channel into `into` (empty, where it is closed); to send a
/// value through one; to acquire, lock or wait for what flows share; to have a socket ready.
template <class T, class Scheduler>
[[nodiscard]] auto receiving(const channel<T, Scheduler>& ch, std::optional<T>& into) noexcept {
  return detail::receive_case<T>(ch, into);
}
template <class T, class Scheduler>
[[nodiscard]] auto sending(const channel<T, Scheduler>& ch, std::type_identity_t<T> value) {
  return detail::send_case<T>(ch, std::move(value));
}
template <class Scheduler, class State>
[[nodiscard]] auto acquired(const detail::sync_object<Scheduler, State>& where) noexcept {
  return detail::acquired_case<State>(where);
}
template <class Scheduler>
[[nodiscard]] auto ready(const socket<Scheduler>& s, readiness what) noexcept {
  return detail::ready_case<Scheduler>(s, what);
}
template <class... Cases>
[[nodiscard]] std::tuple<Cases...> cases(Cases... c) noexcept {
  return {std::move(c)...};
}

/// Waits for the first of several things, and does that one alone.
///
///     std::optional<int> number;
///     switch (co_await rouse::select(
///         sched, rouse::cases(rouse::receiving(numbers, number), rouse::acquired(stop),
///                             rouse::ready(conn, rouse::readable)), 5s)) {
///     case 0: ...                       // a number, or the end of the channel
///
/// Where several can be had at once, it is the one that stands first. What the others would have
/// taken stays: no value is received or sent but by the case that is chosen.
///
/// @param cases  what they name is borrowed until the call has completed.
/// @returns which one, from 0; with an error of no case (at the limit, a cancel) how many there
/// are.
///
/// Errors: those of the case, timed_out, operation_canceled. Threads: the scheduler's own (with
/// `threads`, any). Cost: no allocation; for each socket a request, and its end.
template <class Scheduler, class... Cases, class How = detail::nothing>
  requires(scheduler<Scheduler> && !detail::limit_first<How>)
decltype(auto) select(Scheduler& s, std::tuple<Cases...> cases, How&& how = How(),
                      detail::call_site at = std::source_location::current()) {
  return detail::begin_select(s, std::move(cases), no_limit{at}, std::forward<How>(how));
}
template <class Scheduler, class... Cases, class... How>
  requires scheduler<Scheduler>
decltype(auto) select(Scheduler& s, std::tuple<Cases...> cases, limit l, How&&... how) {
  return detail::begin_select(s, std::move(cases), std::move(l), std::forward<How>(how)...);
}

}} // namespace rouse::ROUSE_ABI

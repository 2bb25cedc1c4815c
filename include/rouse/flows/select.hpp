// select: wait for the first of several things.
#pragma once
#include <rouse/concepts/byte_stream.hpp>
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
#include <rouse/sockets/stream_access.hpp>

#include <array>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <optional>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

// Base class of cases. A case has a waiter, which waits in a queue as the case's own call would.
// The first waiter to be admitted completes the select, which takes the other waiters out of their
// queues. The functions of a case:
//
//     start               once, before the case is tried
//     as_waiter           try_enter, enqueue, admit: see waiter
//     stop                once, when the select has completed or is given up
//     error, take_result  of the chosen case only; take_result may throw
template <class Waiter>
class select_case {
public:
  Waiter& as_waiter() noexcept { return waiter_; }
  void start() noexcept {}
  void stop() noexcept {}
  [[nodiscard]] failure error() const noexcept { return {}; } // the operation has the error
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

template <class Stream>
class ready_case final : public waiter_base<ready_case<Stream>> {
  using engine_type = typename Stream::scheduler_type::engine_type;
  using wait_call = decltype(stream_access<Stream>::waiting(std::declval<const Stream&>(), {}));

public:
  static constexpr const char* awaits = "readiness";
  ready_case(const Stream& s, readiness what) noexcept
      : engine_(s.scheduler() ? &s.scheduler()->engine() : nullptr),
        call_(stream_access<Stream>::waiting(s, what)) {}
  ready_case(ready_case&& other) noexcept
      : waiter_base<ready_case>(other), engine_(other.engine_), call_(other.call_) {
  } // only before `start`

  ready_case& as_waiter() noexcept { return *this; }
  void start() noexcept { watch_.emplace(*this); }
  void stop() noexcept {
    // With `threads`, another thread may be completing the watch: wait until it has finished, or
    // waits in a further round.
    while (!watch_->stop() && !completed_.load(std::memory_order_acquire))
      std::this_thread::yield();
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
    // False: it is no longer pending; `deliver` was called, or will be.
    bool stop() noexcept { return this->engine() && this->engine()->abandon(*this); }

  private:
    ready_case& case_;
  };

  void complete(failure why) noexcept {
    const auto note = [&](auto... completed) {
      error_ = why;
      ready_ = true;
      if (this->linked()) (this->admit(*completed), ...);
      completed_.store(true, std::memory_order_release); // pairs with the load in stop()
    };
    if (engine_ && !engine_->inert())
      engine_->with_completions([&](completions& completed) { note(&completed); });
    else
      note();
  }

  engine_type* engine_;
  wait_call call_;
  std::optional<watch> watch_;
  list<waiter> queue_; // at most one waiter
  bool ready_ = false; // this and error_: under the engine's lock
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
    if (started) stop(); // it has not completed
  }

  // ---- waitable: all queues at once

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

} // namespace detail

/// A case of `select`: receives a value from a channel.
/// @param into  gets the value, or becomes empty if the channel is closed. Borrowed until the
/// select has completed.
template <class T, class Scheduler>
[[nodiscard]] auto receiving(const channel<T, Scheduler>& ch, std::optional<T>& into) noexcept {
  return detail::receive_case<T>(ch, into);
}
/// A case of `select`: sends a value through a channel.
template <class T, class Scheduler>
[[nodiscard]] auto sending(const channel<T, Scheduler>& ch, std::type_identity_t<T> value) {
  return detail::send_case<T>(ch, std::move(value));
}
/// A case of `select`: acquires a permit of a `flow_semaphore`, locks a `flow_mutex`, or waits for
/// a `flow_event` or a `wait_group`.
template <class Scheduler, class State>
[[nodiscard]] auto acquired(const detail::sync_object<Scheduler, State>& where) noexcept {
  return detail::acquired_case<State>(where);
}
/// A case of `select`: waits until a socket is ready, as its `wait` does. It reads and writes
/// nothing.
template <class Scheduler>
[[nodiscard]] auto ready(const socket<Scheduler>& s, readiness what) noexcept {
  return detail::ready_case<socket<Scheduler>>(s, what);
}
/// Likewise a TLS socket. Another `byte_stream` that owns one of the two can return the case for it
/// from a member of its own.
template <byte_stream Stream>
  requires(!std::derived_from<Stream, socket<typename Stream::scheduler_type>>)
[[nodiscard]] auto ready(const Stream& s, readiness what) noexcept {
  static_assert(detail::describes_calls<Stream>,
                "rouse: select waits for a rouse::socket or a rouse::tls::socket: write "
                "ready(inner, what) for the one inside this stream");
  return detail::ready_case<Stream>(s, what);
}
/// The list of cases that `select` takes.
template <class... Cases>
[[nodiscard]] std::tuple<Cases...> cases(Cases... c) noexcept {
  return {std::move(c)...};
}

/// Waits until one of several cases can proceed, and performs that case only.
///
///     std::optional<int> number;
///     switch (co_await rouse::select(
///         sched, rouse::cases(rouse::receiving(numbers, number), rouse::acquired(stop),
///                             rouse::ready(conn, rouse::readable)), 5s)) {
///     case 0: ...                       // a number, or the end of the channel
///
/// If several cases can proceed at once, the first of them in the list is chosen. The other cases
/// have no effect: they receive, send and acquire nothing.
///
/// @param cases  the channels, sockets and other objects that they refer to are borrowed until the
/// call has completed.
/// @returns the index of the chosen case, from 0. If the call reaches its limit or is cancelled,
/// it fails, and the index beside the error (for a std::error_code or a handler) is the number of
/// cases.
///
/// Errors: those of the chosen case, timed_out, operation_canceled. Threads: the scheduler's own
/// (with `threads`, any). Cost: no allocation; for each socket one request, and its cancellation if
/// another case is chosen.
template <scheduler Scheduler, class... Cases>
decltype(auto) select(Scheduler& s, std::tuple<Cases...> cases,
                      detail::location at = detail::location::current()) {
  return detail::begin_call(&s, detail::select_call<Cases...>(std::move(cases)), at);
}
template <scheduler Scheduler, class... Cases, class First = limit, class How = detail::nothing>
decltype(auto) select(Scheduler& s, std::tuple<Cases...> cases, First&& first, How&& how = How(),
                      detail::call_site at = detail::location::current()) {
  return detail::begin_call(&s, detail::select_call<Cases...>(std::move(cases)), at,
                            std::forward<First>(first), std::forward<How>(how));
}

}} // namespace rouse::ROUSE_ABI

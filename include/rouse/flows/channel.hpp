// Channels: values handed from one flow to another.
#pragma once
#include <rouse/concepts/scheduler.hpp>
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/detail/engine_home.hpp>
#include <rouse/flows/channel_core.hpp>

#include <atomic>
#include <concepts>
#include <cstddef>
#include <exception>
#include <iterator>
#include <optional>
#include <source_location>
#include <system_error>
#include <type_traits>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

// What the ends of a channel share; the last one destroys it.
template <class T, class Engine>
class shared_channel final : public channel_core<T>, Engine::posted {
public:
  shared_channel(Engine& e, std::size_t capacity) noexcept
      : channel_core<T>(capacity), Engine::posted(&shared_channel::destroy_posted),
        home_(e.home()) {
    home_.hold();
  }

  // Any thread.
  void hold() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void drop() noexcept {
    // Release and acquire pair up among the threads that drop an end.
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy();
  }

  [[nodiscard]] typename Engine::home_type& home() const noexcept { return home_; }

private:
  ~shared_channel() { home_.drop(); }

  // A thread that does not use the engine hands the channel over to the one that does, which ends
  // the calls that still wait, and destroys the values.
  void destroy() noexcept {
    bool here = true;
    home_.meet([&](whereabouts at, auto* engine) {
      here = at != whereabouts::outside;
      if (!here)
        engine->post(*this);
      else if (at == whereabouts::inside)
        abandon_calls(*engine);
    });
    if (here) delete this;
  }
  static void destroy_posted(typename Engine::posted& p, bool) noexcept {
    auto* const self = static_cast<shared_channel*>(&p);
    self->home_.meet([&](whereabouts, auto* engine) {
      if (engine) self->abandon_calls(*engine);
    });
    delete self;
  }
  template <class E>
  void abandon_calls(E& engine) noexcept {
    engine.with_completions([&](completions& completed) { this->abandon(completed); });
  }

  typename Engine::home_type& home_;
  std::atomic<std::size_t> references_{1};
};

} // namespace detail

/// A channel: flows hand each other values through it, in order, and wait for one another the way
/// their scheduler wakes.
///
///     rouse::channel<int, rouse::fibers> numbers{sched};
///     sched.spawn([=]() mutable { for (int n : {1, 2, 3}) numbers.send(n); numbers.close(); });
///     while (auto n = numbers.receive()) ...      // or: for (int n : numbers)
///
/// Without a capacity a send waits until its value is received; with one, until there is room.
/// Whoever came first is served first. The channel never loses a value: where one meets a limit or
/// a cancel, either the receiver gets it, or it stays and the next one does.
///
/// A channel is a handle: copies are ends of the same channel. When the last one is dropped, the
/// calls that still wait end with operation_canceled, and buffered values are destroyed: at once
/// in the scheduler's thread, by its loop if another thread drops the last one. Calls take a limit
/// and a `how`, as a socket's do.
///
/// Threads: a handle may be copied, moved, assigned and dropped in any thread, also while the
/// scheduler is destroyed and afterwards; `post` may be called in any thread, the rest in the
/// scheduler's (with `threads`, in any). Cost: one allocation a channel, and what its buffer grows
/// by; none for a value that is handed over, nor for a drop.
///
/// @tparam T  what is sent; movable without throwing.
template <class T, class Scheduler>
class channel {
  using engine_type = typename Scheduler::engine_type;
  using core = detail::shared_channel<T, engine_type>;

public:
  using value_type = T;

  /// @param capacity  how many values may be sent before the first is received.
  explicit channel(Scheduler& s, std::size_t capacity = 0)
      : scheduler_(&s), core_(new core(s.engine(), capacity)) {}
  channel(const channel& other) noexcept : channel(other.scheduler_, other.core_) {}
  channel(channel&& other) noexcept
      : scheduler_(other.scheduler_), core_(std::exchange(other.core_, nullptr)) {}
  channel& operator=(channel other) noexcept {
    std::swap(scheduler_, other.scheduler_);
    std::swap(core_, other.core_);
    return *this;
  }
  ~channel() {
    if (core_) core_->drop();
  }

  /// An end of the same channel for flows of another scheduler on the same engine.
  template <class Other>
    requires std::same_as<typename Other::engine_type, engine_type>
  [[nodiscard]] channel<T, Other> on(Other& other) const {
    if (&other.engine() != &scheduler_->engine()) {
      detail::throw_error(failure(std::errc::invalid_argument).code(),
                          "rouse: channel: the scheduler is on another engine; use post()");
    }
    return channel<T, Other>(&other, core_);
  }

  // ---- waiting

  /// Sends a value: waits until a receiver has it, or there is room. One that could not be sent
  /// goes with the call (`try_send` leaves it).
  ///
  /// Errors: broken_pipe (the channel is closed), timed_out, operation_canceled, not_enough_memory.
  template <class How = detail::nothing>
    requires(!detail::limit_first<How>)
  ROUSE_ALWAYS_INLINE decltype(auto) send(T value, How&& how = How(),
                                          detail::call_site at = std::source_location::current()) {
    return begin_send(item(std::move(value)), no_limit{at}, std::forward<How>(how));
  }
  template <class... How>
  decltype(auto) send(T value, limit l, How&&... how) {
    return begin_send(item(std::move(value)), std::move(l), std::forward<How>(how)...);
  }

  /// Sends an error in the place of a value: the call that receives it fails with it. An
  /// exception is thrown there whatever the form of that call (by a handler's call, out of
  /// `run()`). An error that is none is invalid_argument.
  template <class How = detail::nothing>
    requires(!detail::limit_first<How>)
  decltype(auto) send_error(std::error_code error, How&& how = How(),
                            detail::call_site at = std::source_location::current()) {
    return begin_send(item(error), no_limit{at}, std::forward<How>(how));
  }
  template <class... How>
  decltype(auto) send_error(std::error_code error, limit l, How&&... how) {
    return begin_send(item(error), std::move(l), std::forward<How>(how)...);
  }
  template <class How = detail::nothing>
    requires(!detail::limit_first<How>)
  decltype(auto) send_error(std::exception_ptr error, How&& how = How(),
                            detail::call_site at = std::source_location::current()) {
    return begin_send(item(std::move(error)), no_limit{at}, std::forward<How>(how));
  }
  template <class... How>
  decltype(auto) send_error(std::exception_ptr error, limit l, How&&... how) {
    return begin_send(item(std::move(error)), std::move(l), std::forward<How>(how)...);
  }

  /// Receives the next value, waiting for one if there is none.
  ///
  /// @returns a `std::optional<T>`, empty only when the channel is closed and all that was buffered
  /// has been received.
  ///
  /// Errors: one that was sent, timed_out, operation_canceled. A limit already past still takes a
  /// value that is there.
  template <class How = detail::nothing>
    requires(!detail::limit_first<How>)
  ROUSE_ALWAYS_INLINE decltype(auto)
  receive(How&& how = How(), detail::call_site at = std::source_location::current()) {
    return begin_receive(no_limit{at}, std::forward<How>(how));
  }
  template <class... How>
  decltype(auto) receive(limit l, How&&... how) {
    return begin_receive(std::move(l), std::forward<How>(how)...);
  }

  // ---- at once

  /// Sends without waiting. False: nobody waits and there is no room, or the channel is closed;
  /// `value` is then as it was.
  [[nodiscard]] bool try_send(T& value) {
    item p(std::move(value));
    bool sent = false;
    with_completions([&](auto& completed) {
      failure why;
      sent = !core_->send(p, why, completed) && !why;
    });
    if (!sent) {
      std::destroy_at(&value);
      std::construct_at(&value, std::move(p.value()));
    }
    return sent;
  }
  [[nodiscard]] bool try_send(T&& value) { return try_send(value); }

  /// Receives without waiting; empty: nothing is there. Throws an error that was sent.
  [[nodiscard]] std::optional<T> try_receive() {
    item p;
    failure why;
    with_completions([&](auto& completed) { (void)core_->receive(p, why, completed); });
    if (why) detail::throw_error(why.code(), "rouse: receive from a channel");
    return p.unwrap();
  }

  /// Sends from any thread, without waiting: the scheduler's loop takes the value into the channel,
  /// beyond the capacity if need be. One that comes after `close` is dropped; of one for which the
  /// loop finds no memory, not_enough_memory comes out of `run()`. The scheduler must live when
  /// this is called; it may go before this has returned.
  void post(T value) {
    auto& home = core_->home();
    const auto kept = home.keep(); // what is posted may end the scheduler before this returns
    if (!home.open()) return;
    scheduler_->post(
        [p = item(std::move(value)), end = *this, &e = scheduler_->engine()]() mutable {
          failure why;
          e.with_completions(
              [&](auto& completed) { why = end.core_->send_beyond_capacity(p, completed); });
          if (why == failure(std::errc::not_enough_memory))
            detail::throw_error(why.code(), "rouse: channel: post");
        });
  }

  /// Nothing more is sent: receivers get what is buffered, then nothing; senders that wait get
  /// broken_pipe.
  void close() noexcept {
    with_completions([&](auto& completed) { core_->close(completed); });
  }

  // ---- how it stands

  /// How many wait: to send (above 0), to receive (below 0).
  [[nodiscard]] std::ptrdiff_t balance() const noexcept {
    std::ptrdiff_t n = 0;
    with_completions([&](auto&) { n = core_->balance(); });
    return n;
  }
  /// How many values are buffered.
  [[nodiscard]] std::size_t size() const noexcept {
    std::size_t n = 0;
    with_completions([&](auto&) { n = core_->buffered(); });
    return n;
  }
  [[nodiscard]] bool closed() const noexcept {
    bool is = false;
    with_completions([&](auto&) { is = core_->closed(); });
    return is;
  }

  // ---- all values, until it is closed: `for (T& value : ch)` where calls return directly

  class iterator {
  public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;

    explicit iterator(channel& c) : from_(&c), value_(c.receive()) {}
    T& operator*() const noexcept { return *value_; }
    iterator& operator++() {
      value_ = from_->receive();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const noexcept { return !value_; }

  private:
    channel* from_;
    mutable std::optional<T> value_;
  };
  [[nodiscard]] auto begin() {
    static_assert(
        requires { requires Scheduler::waker_type::blocking; },
        "rouse: a range-for cannot await: write while (auto v = co_await ch.receive())");
    return iterator(*this);
  }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

private:
  template <class, class>
  friend class channel;
  template <class>
  friend class detail::receive_case;
  template <class>
  friend class detail::send_case;
  using item = detail::item<T>;

  channel(Scheduler* s, core* c) noexcept : scheduler_(s), core_(c) {
    if (core_) core_->hold();
  }

  template <class F>
  void with_completions(F&& f) const noexcept {
    scheduler_->engine().with_completions(std::forward<F>(f));
  }

  template <class Limit, class... How>
  ROUSE_ALWAYS_INLINE decltype(auto) begin_send(item&& p, Limit l, How&&... how) {
    return Scheduler::initiate(scheduler_, detail::channel_send_call<T>{{{*core_, std::move(p)}}},
                               std::move(l), std::forward<How>(how)...);
  }
  template <class Limit, class... How>
  ROUSE_ALWAYS_INLINE decltype(auto) begin_receive(Limit l, How&&... how) {
    return Scheduler::initiate(scheduler_,
                               detail::channel_receive_call<T>{{typename core::receiver(*core_)}},
                               std::move(l), std::forward<How>(how)...);
  }

  Scheduler* scheduler_;
  core* core_;
};

}} // namespace rouse::ROUSE_ABI

// Channels pass values from one flow to another.
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
#include <system_error>
#include <type_traits>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

// The state that the handles of a channel share. The last handle destroys it.
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
    // acq_rel: the thread that destroys it sees what the other threads did before their drop.
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy();
  }

  [[nodiscard]] typename Engine::home_type& home() const noexcept { return home_; }

private:
  ~shared_channel() { home_.drop(); }

  // A foreign thread posts the channel to the thread that uses the engine, which cancels the calls
  // that still wait and destroys the values.
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

/// A queue through which flows pass values to each other, in order.
///
///     rouse::channel<int, rouse::fibers> numbers{sched};
///     sched.spawn([=]() mutable { for (int n : {1, 2, 3}) numbers.send(n); numbers.close(); });
///     while (auto n = numbers.receive()) ...      // or: for (int n : numbers)
///
/// Without a capacity, a send completes when a receiver has its value; with one, when there is room
/// in the buffer. Waiting senders and waiting receivers are served in the order of their calls. The
/// channel never loses a value: if a receive and its limit or cancellation race, the receiver
/// either gets the value, or the value stays for the next receiver.
///
/// A channel object is a handle; copies refer to the same channel. When the last handle is dropped,
/// the calls that still wait complete with operation_canceled and the buffered values are
/// destroyed: at once on the scheduler's thread; by its loop if the handle is dropped on another
/// thread. Calls take a limit and a `how`, like those of a socket.
///
/// Threads: a handle may be copied, moved, assigned and dropped on any thread, also while the
/// scheduler is destroyed and afterwards. `post` may be called on any thread, all other functions
/// on the scheduler's (with `threads`, on any). Cost: one allocation for the channel and one each
/// time its buffer grows; none for a value that goes straight to a receiver, and none for dropping
/// a handle.
///
/// @tparam T  type of the values; its move constructor is noexcept.
template <class T, class Scheduler>
class channel {
  using engine_type = typename Scheduler::engine_type;
  using call_site = detail::call_site;
  using location = detail::location;
  using nothing = detail::nothing;
  using core = detail::shared_channel<T, engine_type>;

public:
  using value_type = T;

  /// A new, open channel.
  /// @param capacity  how many values the buffer holds; 0: every send waits for a receiver.
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

  /// A handle to the same channel for flows of another scheduler on the same engine.
  ///
  /// Errors: invalid_argument, thrown if `other` is on another engine (use `post` there).
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

  /// Sends a value. Completes when a receiver has the value, or when it is in the buffer.
  ///
  /// @param value  owned by the call, which destroys it if it fails (`try_send` does not).
  ///
  /// Errors: broken_pipe (the channel is closed), timed_out, operation_canceled, not_enough_memory
  /// (the buffer cannot grow).
  template <class...>
  ROUSE_ALWAYS_INLINE decltype(auto) send(T value, location at = location::current()) {
    return begin_send(item(std::move(value)), at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) send(T value, First&& first, How&& how = How(),
                      call_site at = location::current()) {
    return begin_send(item(std::move(value)), at, std::forward<First>(first),
                      std::forward<How>(how));
  }

  /// Sends an error in place of a value: the call that receives it fails with this error. An
  /// exception is thrown by the receiving call even if that call takes a std::error_code; if it
  /// takes a handler, the exception leaves `run()`. An error code of a foreign category (neither
  /// std::generic_category nor the system's) is sent as the exception std::system_error.
  ///
  /// Errors: those of `send`; invalid_argument (an empty error code or a null exception_ptr).
  template <class...>
  decltype(auto) send_error(std::error_code error, location at = location::current()) {
    return begin_send(item(error), at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) send_error(std::error_code error, First&& first, How&& how = How(),
                            call_site at = location::current()) {
    return begin_send(item(error), at, std::forward<First>(first), std::forward<How>(how));
  }
  template <class...>
  decltype(auto) send_error(std::exception_ptr error, location at = location::current()) {
    return begin_send(item(std::move(error)), at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) send_error(std::exception_ptr error, First&& first, How&& how = How(),
                            call_site at = location::current()) {
    return begin_send(item(std::move(error)), at, std::forward<First>(first),
                      std::forward<How>(how));
  }

  /// Receives the next value. Completes when there is one, or when the channel is closed.
  ///
  /// @returns a `std::optional<T>`; empty only if the channel is closed and every buffered value
  /// has been received.
  ///
  /// Errors: the error that was sent in place of a value, timed_out, operation_canceled. A call
  /// takes a value that is there even if its limit has already passed.
  template <class...>
  ROUSE_ALWAYS_INLINE decltype(auto) receive(location at = location::current()) {
    return begin_receive(at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) receive(First&& first, How&& how = How(), call_site at = location::current()) {
    return begin_receive(at, std::forward<First>(first), std::forward<How>(how));
  }

  // ---- without waiting

  /// Sends a value without waiting.
  ///
  /// @returns false if no receiver waits and the buffer is full, if the channel is closed, or if
  /// memory is short. `value` is then unchanged.
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

  /// Receives a value without waiting.
  ///
  /// @returns an empty optional if there is no value. Throws an error that was sent in place of
  /// one.
  [[nodiscard]] std::optional<T> try_receive() {
    item p;
    failure why;
    with_completions([&](auto& completed) { (void)core_->receive(p, why, completed); });
    if (why) detail::throw_error(why.code(), "rouse: receive from a channel");
    return p.unwrap();
  }

  /// Sends a value from any thread, without waiting. The scheduler's loop puts it into the channel,
  /// and exceeds the capacity if the buffer is full. A value posted after `close` is dropped.
  ///
  /// Preconditions: the scheduler exists when this is called; it may be destroyed before this
  /// returns. Errors: if the loop finds no memory for the value, `run()` throws not_enough_memory.
  /// Cost: one allocation.
  void post(T value) {
    auto& home = core_->home();
    const auto kept = home.keep(); // the posted function may destroy the scheduler
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

  /// Closes the channel: no more values can be sent. Receivers get the buffered values, then empty
  /// optionals; senders that wait fail with broken_pipe.
  void close() noexcept {
    with_completions([&](auto& completed) { core_->close(completed); });
  }

  // ---- state

  /// Number of senders that wait; if receivers wait, minus their number.
  [[nodiscard]] std::ptrdiff_t balance() const noexcept {
    std::ptrdiff_t n = 0;
    with_completions([&](auto&) { n = core_->balance(); });
    return n;
  }
  /// Number of buffered values.
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

  // ---- a range: `for (T& value : ch)` receives until the channel is closed (fibers, threads)

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

  template <class... Rest>
  ROUSE_ALWAYS_INLINE decltype(auto) begin_send(item&& p, const location& at, Rest&&... rest) {
    return detail::begin_call(scheduler_, detail::channel_send_call<T>{{{*core_, std::move(p)}}},
                              at, std::forward<Rest>(rest)...);
  }
  template <class... Rest>
  ROUSE_ALWAYS_INLINE decltype(auto) begin_receive(const location& at, Rest&&... rest) {
    return detail::begin_call(scheduler_,
                              detail::channel_receive_call<T>{{typename core::receiver(*core_)}},
                              at, std::forward<Rest>(rest)...);
  }

  Scheduler* scheduler_;
  core* core_;
};

}} // namespace rouse::ROUSE_ABI

// The callback waker: a call takes a handler, which the loop calls when the call completes.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/coroutine.hpp>
#include <rouse/core/flow.hpp>
#include <rouse/core/flow_list.hpp>
#include <rouse/detail/guarded.hpp>
#include <rouse/detail/intrusive_list.hpp>
#include <rouse/detail/recycler.hpp>

#include <concepts>
#include <exception>
#include <memory>
#include <system_error>
#include <type_traits>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {

namespace detail {
class handled_call;
}

/// The handle of a sleep with a handler: it can cancel the sleep. Destroying the handle does not.
///
///     auto sleep = sched.sleep_for(1s, handler);
///     sleep.cancel();
///
/// It is empty once the sleep has ended or its scheduler has been destroyed. The handler may
/// destroy, move and use it. Threads: the scheduler's own. Cost: two pointers, no allocation.
class sleep_handle {
public:
  sleep_handle() noexcept = default;
  sleep_handle(detail::handled_call& call, void (*how)(detail::handled_call&)) noexcept
      : cancel_(how) {
    refer_to(&call);
  }
  sleep_handle(sleep_handle&& other) noexcept { take(other); }
  sleep_handle& operator=(sleep_handle&& other) noexcept {
    if (this != &other) detach(), take(other);
    return *this;
  }
  ~sleep_handle() { detach(); }

  /// Cancels the sleep: the loop calls the handler with operation_canceled, or without an error if
  /// the sleep was over first. Does nothing if the sleep has ended.
  inline void cancel() noexcept;
  /// Gives up the handle; the sleep continues.
  inline void detach() noexcept;
  /// Whether the handler has been called, is being called, or never will be.
  [[nodiscard]] bool ended() const noexcept { return !call_; }

private:
  friend class detail::handled_call;
  inline void refer_to(detail::handled_call* call) noexcept;
  void take(sleep_handle& other) noexcept {
    detail::handled_call* const call = other.call_;
    other.detach();
    refer_to(call);
    cancel_ = other.cancel_;
  }

  detail::handled_call* call_ = nullptr;
  void (*cancel_)(detail::handled_call&) = nullptr;
};

namespace detail {

template <class Value, class Handler>
inline constexpr bool handles = std::invocable<Handler&&, std::error_code, Value>;
template <class Handler>
inline constexpr bool handles<done, Handler> = std::invocable<Handler&&, std::error_code>;

// A pending handler of any type, as the waker sees it.
struct waiting_handler : list_node {
  virtual void discard() noexcept = 0;

protected:
  ~waiting_handler() = default;
};

// A pending handler that has a handle; its destructor empties the handle.
class handled_call : public waiting_handler {
protected:
  handled_call() noexcept = default;
  handled_call(const handled_call&) = delete;
  handled_call& operator=(const handled_call&) = delete;
  ~handled_call() {
    if (handle_) handle_->call_ = nullptr;
  }

private:
  friend class rouse::sleep_handle;
  sleep_handle* handle_ = nullptr;
};

template <class Call>
concept gives_handle = requires { requires Call::gives_handle; };

// One block holds the operation and the handler. It is freed before the handler is called, so that
// the handler's next call reuses it from the recycler.
template <class Engine, class Call, class Limit, class Handler>
class callback_call final
    : public pending_call<Engine, Call, Limit, callback_call<Engine, Call, Limit, Handler>>,
      public std::conditional_t<gives_handle<Call>, handled_call, waiting_handler> {
  using base = pending_call<Engine, Call, Limit, callback_call>;
  friend base;

public:
  template <class H>
  callback_call(Engine* engine, Call&& call, Limit l, H&& handler)
      : base(engine, std::move(call), std::move(l)), handler_(std::forward<H>(handler)) {}

  static void* operator new(std::size_t size) { return recycler::allocate(size); }
  static void operator delete(void* p, std::size_t size) noexcept { recycler::release(p, size); }

  void begin() noexcept {
    if (!this->start()) return;
    if (this->engine())
      this->deliver_later();
    else
      deliver(); // without a scheduler, no loop could deliver
  }

  void discard() noexcept override { delete this; }
  static void cancel(handled_call& call) noexcept {
    auto& self = static_cast<callback_call&>(call);
    self.engine()->cancel(self);
  }

private:
  void deliver() noexcept {
    Engine* engine = this->engine();
    guarded([this] { finish(); },
            [=] {
              if (engine) engine->raise(std::current_exception());
            });
  }

  void finish() {
    owner self{this};
    static_cast<waiting_handler*>(this)->unlink();
    const std::error_code ec = this->code();
    auto value = this->value();
    Handler handler = std::move(handler_);
    self.free();
    if constexpr (std::is_same_v<decltype(value), done>)
      std::move(handler)(ec);
    else
      std::move(handler)(ec, std::move(value));
  }

  // std::unique_ptr would instantiate a dozen more classes for each type of call.
  struct owner {
    callback_call* call;
    ~owner() { free(); }
    void free() noexcept {
      if (!call) return;
      ROUSE_ASSUME(call->state == operation_state::idle); // the destructor need not check
      delete std::exchange(call, nullptr);
    }
  };

  Handler handler_;
};

// A spawned function. It runs once, in the loop.
template <class Engine, class F>
class callback_flow final : public engine_flow<Engine> {
public:
  explicit callback_flow(F f) : f_(std::move(f)) {}
  static void* operator new(std::size_t size) { return recycler::allocate(size); }
  static void operator delete(void* p, std::size_t size) noexcept { recycler::release(p, size); }

private:
  void begin() noexcept override {
    const auto call = [this] {
      F f = std::move(f_);
      if (!this->cancelled) f();
    };
    guarded(call, [this] { this->keep_exception(); });
    this->end();
  }
  void free_memory() noexcept override { delete this; }

  F f_;
};

} // namespace detail

inline void sleep_handle::refer_to(detail::handled_call* call) noexcept {
  call_ = call;
  if (call) call->handle_ = this;
}
inline void sleep_handle::cancel() noexcept {
  if (call_) cancel_(*call_);
}
inline void sleep_handle::detach() noexcept {
  if (call_) std::exchange(call_, nullptr)->handle_ = nullptr;
}

/// Completes a call by calling its handler: `void(std::error_code, T)`, or `void(std::error_code)`
/// for a call without a value. The loop calls the handler, never the call that it was passed to.
/// `run()` rethrows what a handler throws.
///
/// Cost of a call: one recycled block that holds the operation and the handler.
class callback_waker : public detail::flow_list {
public:
  template <class Value, class... How>
  static constexpr bool accepts =
      sizeof...(How) == 1 && (detail::handles<Value, std::decay_t<How>> && ...);

  template <class Scheduler, class Call, class Limit, class... How>
  static auto initiate(Scheduler* s, Call&& call, Limit l, How&&... how) {
    constexpr bool handled = accepts<typename Call::value_type, How...>;
    static_assert(handled || detail::misplaced<How...>,
                  "rouse: a call of callbacks ends with its handler, void(std::error_code, "
                  "T), or void(std::error_code) where there is no value");
    if constexpr (handled) {
      using engine = typename Scheduler::engine_type;
      using block = detail::callback_call<engine, Call, Limit, std::decay_t<How>...>;
      auto* b = new block(s ? &s->engine() : nullptr, std::move(call), std::move(l),
                          std::forward<How>(how)...);
      Scheduler* const home = s ? s : detail::running<Scheduler>::here();
      if (home) home->waker().pending_.push_back(*b);
      if constexpr (detail::gives_handle<Call>) {
        sleep_handle handle(*b, &block::cancel);
        b->begin();
        return handle;
      } else {
        b->begin();
      }
    }
  }

  /// @param f  a callable without parameters. The loop calls it once, and destroys it afterwards.
  template <class Scheduler, class F>
  flow& spawn(Scheduler& s, F f) {
    static_assert(std::invocable<F&>, "rouse: spawn takes a callable without parameters");
    static_assert(!detail::gives_awaitable<F>,
                  "rouse: callbacks run a function to its end and cannot wait in a task: spawn it "
                  "on coroutines, fibers or threads");
    auto* started = new detail::callback_flow<typename Scheduler::engine_type, F>(std::move(f));
    return this->start(s, *started);
  }

  /// Destroys the pending handlers without calling them.
  template <class Engine>
  void shut_down(Engine&) noexcept {
    while (!pending_.empty()) pending_.pop_front().discard();
    this->template orphan_all<Engine>();
  }

  static constexpr const char* flow_name = "function";

private:
  detail::list<detail::waiting_handler> pending_;
};

}} // namespace rouse::ROUSE_ABI

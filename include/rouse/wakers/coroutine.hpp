// The coroutine waker: a call returns an awaitable, and its completion resumes the awaiting
// coroutine.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/buffer.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/coroutine.hpp>
#include <rouse/core/flow.hpp>
#include <rouse/core/flow_list.hpp>
#include <rouse/core/task.hpp>
#include <rouse/detail/guarded.hpp>
#include <rouse/detail/intrusive_list.hpp>
#include <rouse/detail/recycler.hpp>

#include <compare>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <system_error>
#include <type_traits>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

template <class T>
consteval void explain_not_awaited() {
  static_assert(always_false<T>,
                "rouse: this is a call that has not been awaited, and not its value: "
                "write auto n = co_await conn.recv(buf)");
}

// The awaitable. It is the operation itself, which therefore lives in the awaiting coroutine's
// frame. `Throws`: it was given no variable for its error.
template <class Engine, class Call, class Limit, bool Throws>
class [[nodiscard("rouse: a call of a coroutine scheduler does nothing until it is awaited: write "
                  "co_await")]] coroutine_call
    : public pending_call<Engine, Call, Limit, coroutine_call<Engine, Call, Limit, Throws>> {
  using base = pending_call<Engine, Call, Limit, coroutine_call>;
  friend base;

public:
  static constexpr bool resumes_chain = true;

  coroutine_call(Engine* engine, Call&& call, Limit l, std::error_code* ec)
      : base(engine, std::move(call), std::move(l)) {
    if constexpr (!Throws) ec_ = ec;
  }

  ~coroutine_call() {
    if (this->in_progress()) clear_waiting();
  }

  bool await_ready() const noexcept { return false; }

  /// The awaiting coroutine may be of any promise type.
  template <class P>
  ROUSE_ALWAYS_INLINE bool await_suspend(std::coroutine_handle<P> h) noexcept {
    handle_ = h;
    chain_ = nullptr;
    flow* f = nullptr;
    if constexpr (std::derived_from<P, chain_link>) {
      chain_ = h.promise().chain;
      f = chain_->spawned_flow;
      if (f) {
        f->waiting = this;
        if (f->cancelled) this->refuse();
      }
    }
    if (!this->start()) return true;
    if (!f) return false;
    if (f->ends_with(this->error)) {
      this->deliver_later(); // the loop destroys the coroutines: this one still runs
      return true;
    }
    f->waiting = nullptr;
    return false;
  }

  typename Call::value_type await_resume() {
    if constexpr (Throws) {
      return this->take(nullptr);
    } else {
      ROUSE_ASSUME(ec_ != nullptr);
      return this->take(ec_);
    }
  }

  // Code that uses the awaitable as its value gets a static_assert with an explanation.
  template <class T>
    requires std::constructible_from<T, typename Call::value_type>
  operator T() const noexcept {
    explain_not_awaited<T>();
    std::abort();
  }
  template <class T>
    requires std::is_arithmetic_v<T>
  friend bool operator==(const coroutine_call&, T) noexcept {
    explain_not_awaited<T>();
    return false;
  }
  template <class T>
    requires std::is_arithmetic_v<T>
  friend std::strong_ordering operator<=>(const coroutine_call&, T) noexcept {
    explain_not_awaited<T>();
    return std::strong_ordering::equal;
  }
  template <class T>
    requires std::is_arithmetic_v<T>
  friend T& operator+=(T& sum, const coroutine_call&) noexcept {
    explain_not_awaited<T>();
    return sum;
  }

private:
  void clear_waiting() noexcept {
    if (chain_ && chain_->spawned_flow) chain_->spawned_flow->waiting = nullptr;
  }

  void deliver() noexcept {
    coroutine_chain* const chain = chain_;
    flow* const f = chain ? chain->spawned_flow : nullptr;
    if (f) {
      f->waiting = nullptr;
      if (f->ends_with(this->error)) return f->end_suspended();
    }
    Engine* engine = this->engine();
    const std::coroutine_handle<> h = handle_;
    const current_flow resumed(f);
    const auto resume = [=] {
      if (chain)
        chain->resume(h);
      else
        h.resume();
    };
    guarded(resume, [=] { engine->raise(std::current_exception()); });
  }

  struct no_variable {};
  ROUSE_NO_UNIQUE_ADDRESS std::conditional_t<Throws, no_variable, std::error_code*> ec_;
  // Both set while the call is awaited: the awaiting coroutine, and its chain if it has one.
  union {
    std::coroutine_handle<> handle_;
  };
  coroutine_chain* chain_;
};

// A flow of coroutines: their chain.
template <class Engine>
class chain_flow : public engine_flow<Engine> {
public:
  void end_suspended() noexcept override {
    destroy_coroutines();
    this->end();
  }
  // For a flow that still waits or has not begun; its pending call is cancelled.
  void end_now() noexcept {
    this->cancel_begin();
    end_suspended();
  }

protected:
  chain_flow() noexcept { chain_.spawned_flow = this; }
  void run(chain_link& outermost) noexcept {
    chain_.push(outermost);
    chain_.resume(outermost.self);
  }

private:
  void destroy_coroutines() noexcept override {
    const current_flow me(this);
    const auto result = [this] {
      if (chain_.leaf) chain_.leaf->rethrow();
    };
    guarded(result, [this] { this->keep_exception(); });
    while (chain_.leaf) chain_.destroy_through(*chain_.leaf);
  }

  coroutine_chain chain_;
};

// A spawned flow, which holds the task or the callable that gives one.
template <class Engine, class F>
class coroutine_flow final : public chain_flow<Engine> {
public:
  explicit coroutine_flow(F f) : f_(std::move(f)) {}
  static void* operator new(std::size_t size) { return recycler::allocate(size); }
  static void operator delete(void* p, std::size_t size) noexcept { recycler::release(p, size); }

private:
  void begin() noexcept override {
    if (this->killed) return this->end();
    const current_flow me(this);
    const auto nothing = [this]() -> chain_link* {
      this->keep_exception();
      return nullptr;
    };
    if (chain_link* const outermost = guarded([this] { return &coroutine(); }, nothing))
      this->run(*outermost);
    else
      this->end();
  }
  chain_link& coroutine() {
    if constexpr (is_task<F>)
      return std::move(f_).release();
    else
      return f_().release();
  }
  void free_memory() noexcept override { delete this; }

  F f_;
};

// The task of a flow that was spawned with another awaitable, or with a callable that gives one.
template <class F>
task<> await_spawned(F f) {
  static_assert(gives_awaitable<F> || awaitable<F>,
                "rouse: coroutines spawn a task<>, or a callable without parameters that gives "
                "one");
  if constexpr (gives_awaitable<F>)
    co_await f();
  else if constexpr (awaitable<F>)
    co_await std::move(f);
}

} // namespace detail

/// Resumes the awaiting coroutine on the thread that runs the engine.
///
/// Cost of a wake-up: one indirect call and one resumption; no allocation, no queue.
class coroutine_waker : public detail::flow_list {
public:
  /// A call may be followed by nothing (errors are thrown) or by a std::error_code.
  template <class Value, class... How>
  static constexpr bool accepts = detail::gives_back<How...>;

  /// Returns an awaitable of the call's value. It is the operation, so it must stay where it is
  /// until the await is over, as it does in `co_await conn.recv(buf)`.
  template <class Scheduler, class Call, class Limit, class... How>
  static auto initiate(Scheduler* s, Call&& call, Limit l, How&&... how) {
    using engine = typename Scheduler::engine_type;
    constexpr bool throws = sizeof...(How) == 0;
    return detail::coroutine_call<engine, Call, Limit, throws>(
        s ? &s->engine() : nullptr, std::move(call), std::move(l),
        detail::error_of(std::forward<How>(how)...));
  }

  /// @param f  a `task`, or a callable that returns one. It lives as long as the flow.
  template <class Scheduler, class F>
  flow& spawn(Scheduler& s, F f) {
    if constexpr (detail::is_task<F> || detail::gives_task<F>)
      return this->start(
          s, *new detail::coroutine_flow<typename Scheduler::engine_type, F>(std::move(f)));
    else
      return spawn(s, detail::await_spawned(std::move(f)));
  }

  template <class Engine>
  void shut_down(Engine&) noexcept {
    this->template orphan_all<Engine>();
  }

  /// Ends a flow that waits or has not begun by destroying its coroutines.
  template <class Engine>
  void end_now(Engine&, flow& f) noexcept {
    static_cast<detail::chain_flow<Engine>&>(f).end_now();
  }

  static constexpr const char* flow_name = "coroutine";
};

}} // namespace rouse::ROUSE_ABI

// The coroutine waker: a call returns an awaitable, and its completion resumes the awaiting
// coroutine.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/buffer.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/coroutine.hpp>
#include <rouse/core/flow.hpp>
#include <rouse/core/flow_list.hpp>
#include <rouse/detail/guarded.hpp>
#include <rouse/detail/intrusive_list.hpp>
#include <rouse/detail/recycler.hpp>

#include <compare>
#include <concepts>
#include <coroutine>
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
// frame.
template <class Engine, class Call, class Limit>
class [[nodiscard("rouse: a call of a coroutine scheduler does nothing until it is awaited: write "
                  "co_await")]] coroutine_call
    : public pending_call<Engine, Call, Limit, coroutine_call<Engine, Call, Limit>> {
  using base = pending_call<Engine, Call, Limit, coroutine_call>;
  friend base;

public:
  static constexpr bool resumes_chain = true;

  coroutine_call(Engine* engine, Call&& call, Limit l, std::error_code* ec)
      : base(engine, std::move(call), std::move(l)), ec_(ec) {}

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

  typename Call::value_type await_resume() { return this->take(ec_); }

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

  std::error_code* ec_;
  // Both set while the call is awaited: the awaiting coroutine, and its chain if it has one.
  union {
    std::coroutine_handle<> handle_;
  };
  coroutine_chain* chain_;
};

// The outermost coroutine of a spawned flow. Its frame holds the flow and the callable.
template <class Engine>
struct spawned {
  struct promise_type final : chain_link, engine_flow<Engine> {
    coroutine_chain own_chain;

    static void* operator new(std::size_t size) { return recycler::allocate(size); }
    static void operator delete(void* p, std::size_t size) noexcept { recycler::release(p, size); }

    promise_type() noexcept {
      self = std::coroutine_handle<promise_type>::from_promise(*this);
      own_chain.spawned_flow = this;
      own_chain.push(*this);
    }
    spawned get_return_object() noexcept { return {this}; }
    template <class A>
    decltype(auto) await_transform(A&& a) {
      return in_chain(std::forward<A>(a));
    }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    struct final_awaiter {
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<promise_type> h) const noexcept {
        h.promise().own_chain.pop();
        h.promise().end();
      }
      void await_resume() const noexcept {}
    };
    final_awaiter final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() noexcept { this->keep_exception(); }

    // For a killed flow after its call has completed: destroys the coroutines, ends the flow.
    void end_suspended() noexcept override {
      destroy_coroutines();
      this->end();
    }
    // For a flow that still waits or has not begun; its pending call is cancelled.
    void end_now() noexcept {
      this->cancel_begin();
      end_suspended();
    }

  private:
    void destroy_coroutines() noexcept override {
      const current_flow me(this);
      while (own_chain.leaf && own_chain.leaf != this) own_chain.destroy_through(*own_chain.leaf);
    }
    void begin() noexcept override {
      if (this->killed) return this->end();
      const current_flow me(this);
      own_chain.resume(self);
    }
    void free_memory() noexcept override {
      std::coroutine_handle<promise_type>::from_promise(*this).destroy();
    }
  };
  promise_type* promise;
};

template <class Engine, class F>
spawned<Engine> run_spawned(F f) {
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
    return detail::coroutine_call<engine, Call, Limit>(s ? &s->engine() : nullptr, std::move(call),
                                                       std::move(l),
                                                       detail::error_of(std::forward<How>(how)...));
  }

  /// @param f  a `task`, or a callable that returns one. It lives as long as the flow.
  template <class Scheduler, class F>
  flow& spawn(Scheduler& s, F f) {
    auto& promise = *detail::run_spawned<typename Scheduler::engine_type>(std::move(f)).promise;
    return this->start(s, promise);
  }

  template <class Engine>
  void shut_down(Engine&) noexcept {
    this->template orphan_all<Engine>();
  }

  /// Ends a flow that waits or has not begun by destroying its coroutines.
  template <class Engine>
  void end_now(Engine&, flow& f) noexcept {
    using promise = typename detail::spawned<Engine>::promise_type;
    static_cast<promise&>(f).end_now();
  }

  static constexpr const char* flow_name = "coroutine";
};

}} // namespace rouse::ROUSE_ABI

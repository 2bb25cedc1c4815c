// task<T>: a coroutine that runs when it is awaited, or spawned.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/coroutine.hpp>
#include <rouse/detail/recycler.hpp>

#include <concepts>
#include <coroutine>
#include <cstdlib>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {

template <class T = void>
class task;

namespace detail {

// Says in words what can be awaited instead of an `A`.
template <class A>
consteval void explain_await() {
  using value = std::remove_cvref_t<A>;
  constexpr bool time = requires { typename value::period; };
  constexpr bool function = !time && requires(value& f) { f(); };
  static_assert(!time, "rouse: co_await of a duration would not sleep: write "
                       "co_await sched.sleep_for(300ms)");
  static_assert(!function, "rouse: co_await of a function would not call it: write co_await f()");
  static_assert(time || function,
                "rouse: co_await takes an awaitable, such as a task or a call of coroutines, or in "
                "place what a call of fibers or threads returns; this is neither: use the value "
                "without co_await, and spawn or post what has to wait for something else");
}

// What a call returned directly (on fibers and threads): awaiting it costs nothing.
template <class T>
struct ready_value {
  T&& value;
  bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  T await_resume() { return std::forward<T>(value); }
};

template <class>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<task<T>> = true;

template <class F>
concept gives_task = requires(F& f) { requires is_task<std::remove_cvref_t<decltype(f())>>; };

// Awaits in a chain. What may resume it from anywhere is awaited outside of the chain's loop; a
// call, which `resumes_chain`, is not.
template <class A>
struct chain_awaiter {
  A awaiter;
  decltype(auto) await_ready() { return awaiter.await_ready(); }
  template <class P>
  auto await_suspend(std::coroutine_handle<P> h) {
    if constexpr (requires { awaiter.resumes_chain; })
      return awaiter.await_suspend(h); // from inside the loop
    else
      return suspend_outside(h);
  }
  decltype(auto) await_resume() { return awaiter.await_resume(); }

private:
  template <class P>
  auto suspend_outside(std::coroutine_handle<P> h) {
    coroutine_chain& chain = *h.promise().chain;
    auto* const loop = chain.exit_loop();
    if constexpr (std::is_same_v<decltype(awaiter.await_suspend(h)), bool>) {
      const bool waits = awaiter.await_suspend(h);
      if (!waits) chain.reenter_loop(loop);
      return waits;
    } else {
      return awaiter.await_suspend(h);
    }
  }
};

template <class A>
decltype(auto) awaiter_of(A&& a) {
  if constexpr (requires { std::forward<A>(a).operator co_await(); })
    return std::forward<A>(a).operator co_await();
  else
    return operator co_await(std::forward<A>(a));
}

struct task_promise_base : chain_link {
  std::exception_ptr thrown;

  static void* operator new(std::size_t size) { return recycler::allocate(size); }
  static void operator delete(void* p, std::size_t size) noexcept { recycler::release(p, size); }

  std::suspend_always initial_suspend() const noexcept { return {}; }
  struct final_awaiter {
    bool await_ready() const noexcept { return false; }
    template <class P>
    void await_suspend(std::coroutine_handle<P> h) const noexcept {
      h.promise().chain->pop();
    }
    void await_resume() const noexcept {}
  };
  final_awaiter final_suspend() const noexcept { return {}; }

  void unhandled_exception() noexcept { thrown = std::current_exception(); }
  void rethrow() {
#if ROUSE_EXCEPTIONS
    if (thrown) std::rethrow_exception(std::exchange(thrown, nullptr));
#endif
  }

  template <class A>
  decltype(auto) await_transform(A&& a) {
    if constexpr (requires { a.await_ready(); })
      return chain_awaiter<std::remove_reference_t<A>&>{a}; // where it stands: a call cannot move
    else if constexpr (is_task<std::remove_cvref_t<A>>)
      return in_chain(std::forward<A>(a));
    else if constexpr (awaitable<A>)
      return chain_awaiter<decltype(awaiter_of(std::forward<A>(a)))>{
          awaiter_of(std::forward<A>(a))};
    else if constexpr (!std::is_reference_v<A> && returned_by_call<A>)
      return ready_value<A>{std::forward<A>(a)};
    else
      return explain_await<A>(), std::suspend_never();
  }
};

template <class T>
struct task_promise : task_promise_base {
  std::optional<T> value;
  task<T> get_return_object() noexcept;
  template <class U = T>
    requires std::constructible_from<T, U>
  void return_value(U&& u) {
    value.emplace(std::forward<U>(u));
  }
  T result() {
    rethrow();
    return std::move(*value);
  }
};

template <class T>
struct task_promise<T&> : task_promise_base {
  T* value = nullptr;
  task<T&> get_return_object() noexcept;
  void return_value(T& t) noexcept { value = &t; }
  T& result() {
    rethrow();
    return *value;
  }
};

template <>
struct task_promise<void> : task_promise_base {
  task<void> get_return_object() noexcept;
  void return_void() const noexcept {}
  void result() { rethrow(); }
};

template <class P>
concept chained_promise = std::derived_from<P, chain_link>;

// Awaits a task from a coroutine of a chain, which it joins.
template <class T>
class chained_task {
public:
  explicit chained_task(std::coroutine_handle<task_promise<T>> h) noexcept : child_(h) {}
  chained_task(const chained_task&) = delete;
  chained_task& operator=(const chained_task&) = delete;
  ~chained_task() {
    if (!child_) return;
    if (promise().chain && !child_.done())
      promise().chain->destroy_through(promise());
    else
      child_.destroy();
  }

  bool await_ready() const noexcept { return false; }

  template <chained_promise P>
  void await_suspend(std::coroutine_handle<P> h) noexcept {
    coroutine_chain& chain = *h.promise().chain;
    link(chain, h);
    chain.transfer(child_);
  }

  T await_resume() { return promise().result(); }

protected:
  [[nodiscard]] task_promise<T>& promise() const noexcept {
    return std::coroutine_handle<task_promise<T>>::from_address(child_.address()).promise();
  }
  void link(coroutine_chain& chain, std::coroutine_handle<> awaiting) noexcept {
    chain.push(promise());
    promise().self = child_;
    promise().owning_handle = &child_;
    promise().continuation = awaiting;
  }

  std::coroutine_handle<> child_; // null once somebody else has destroyed the task
};

// The same from any coroutine: one that is of no chain starts one.
template <class T>
class task_awaiter : public chained_task<T> {
public:
  using chained_task<T>::chained_task;
  using chained_task<T>::await_suspend;

  // The chain's first stretch runs here. If it ends in it, the awaiting coroutine just goes on: no
  // stack grows.
  template <class P>
  bool await_suspend(std::coroutine_handle<P> h) {
    this->link(own_, h);
    own_.from_outside = true;
    own_.resume(this->child_);
    return !own_.one_side_done.exchange(true, std::memory_order_acq_rel);
  }

private:
  coroutine_chain own_;
};

template <class T>
T run_here(task<T> t);

} // namespace detail

/// A coroutine that gives a T. It starts when it is awaited or spawned, and is destroyed with the
/// task.
///
/// Any coroutine may await it. Inside it, what a call returns directly (a socket of `fibers` or
/// `threads`) is awaited for free, so that a protocol written once with `co_await` serves every
/// scheduler. Anything else is refused at compile time (see `returned_by_call`).
///
/// Exceptions that leave it are thrown at the `co_await`. Destroying one that waits cancels what it
/// waits for (O5). Cost: a frame, recycled; an await is a return to the chain's loop and a
/// resumption. Depth costs no stack.
template <class T>
class [[nodiscard("rouse: a task does nothing until it is awaited or spawned")]] task {
public:
  using promise_type = detail::task_promise<T>;

  task() noexcept = default;
  task(task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  task& operator=(task&& other) noexcept {
    if (this != &other) {
      if (handle_) handle_.destroy();
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  ~task() {
    if (handle_) handle_.destroy(); // never started: a started one belongs to its awaiter
  }

  /// Once only: of one that was awaited or moved from it throws invalid_argument.
  [[nodiscard]] detail::task_awaiter<T> operator co_await() && {
    check();
    return detail::task_awaiter<T>(std::exchange(handle_, nullptr));
  }
  /// The same, by a coroutine of a chain.
  [[nodiscard]] detail::chained_task<T> in_chain() && {
    check();
    return detail::chained_task<T>(std::exchange(handle_, nullptr));
  }
  template <class Task = task>
  [[nodiscard]] detail::task_awaiter<T> operator co_await() const& noexcept {
    static_assert(!std::same_as<Task, task>,
                  "rouse: a task is awaited once, and gone then: write co_await std::move(t)");
    return detail::task_awaiter<T>({});
  }

private:
  friend promise_type;
  template <class U>
  friend U detail::run_here(task<U>);
  explicit task(std::coroutine_handle<promise_type> h) noexcept : handle_(h) {}
  void check() const {
    if (!handle_) {
      detail::throw_error(failure(std::errc::invalid_argument).code(),
                          "rouse: this task is empty: it was awaited before, or moved from");
    }
  }

  std::coroutine_handle<promise_type> handle_;
};

namespace detail {

template <class T>
task<T> task_promise<T>::get_return_object() noexcept {
  return task<T>(std::coroutine_handle<task_promise>::from_promise(*this));
}
template <class T>
task<T&> task_promise<T&>::get_return_object() noexcept {
  return task<T&>(std::coroutine_handle<task_promise>::from_promise(*this));
}
inline task<void> task_promise<void>::get_return_object() noexcept {
  return task<void>(std::coroutine_handle<task_promise>::from_promise(*this));
}

// Runs a task on the caller's stack, where every call returns directly.
template <class T>
T run_here(task<T> t) {
  t.check();
  auto& promise = t.handle_.promise();
  coroutine_chain chain;
  chain.push(promise);
  promise.self = t.handle_;
  chain.resume(t.handle_);
  if (!t.handle_.done()) {
    t = {}; // before the chain, which what it awaits refers to
    throw_error(failure(std::errc::operation_not_permitted).code(),
                "rouse: a task on fibers or threads may await calls of its scheduler, and tasks, "
                "but nothing that suspends it");
  }
  return promise.result();
}

} // namespace detail
}} // namespace rouse::ROUSE_ABI

// task<T>: a coroutine that starts when it is awaited or spawned.
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

// Explains by a static_assert what can be awaited instead of an `A`.
template <class A>
consteval void explain_await() {
  using value = std::remove_cvref_t<A>;
  constexpr bool time = requires { typename value::period; };
  constexpr bool function = !time && requires(value& f) { f(); };
  static_assert(!time, "rouse: co_await of a duration would not sleep: write "
                       "co_await sched.sleep_for(300ms)");
  static_assert(!function, "rouse: co_await of a function would not call it: write co_await f()");
  static_assert(time || function,
                "rouse: co_await takes an awaitable (a task, a call of coroutines), or directly "
                "the result of a call of fibers or threads; this is neither: use the value "
                "without co_await, or spawn or post the code that waits for something else");
}

// Makes a value that a fiber's or thread's call returned directly awaitable, at no cost.
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

// Awaits `awaiter` from a coroutine of a chain. A foreign awaiter may resume the coroutine
// anywhere, so the coroutine leaves the chain's loop first. A call of rouse `resumes_chain`: there
// that is not needed.
template <class A>
struct chain_awaiter {
  A awaiter;
  decltype(auto) await_ready() { return awaiter.await_ready(); }
  template <class P>
  auto await_suspend(std::coroutine_handle<P> h) {
    if constexpr (requires { awaiter.resumes_chain; })
      return awaiter.await_suspend(h);
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
  template <class A>
  decltype(auto) await_transform(A&& a) {
    if constexpr (requires { a.await_ready(); })
      return chain_awaiter<std::remove_reference_t<A>&>{a}; // by reference: a call cannot move
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

// Awaits a task from a coroutine of a chain. The task joins the chain.
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
    link(chain);
    chain.transfer(child_);
  }

  T await_resume() { return promise().result(); }

protected:
  [[nodiscard]] task_promise<T>& promise() const noexcept {
    return std::coroutine_handle<task_promise<T>>::from_address(child_.address()).promise();
  }
  void link(coroutine_chain& chain) noexcept {
    chain.push(promise());
    promise().self = child_;
    promise().owning_handle = &child_;
  }

  std::coroutine_handle<> child_; // null once the chain has destroyed the task
};

// Awaits a task from any coroutine. One that belongs to no chain starts one.
template <class T>
class task_awaiter : public chained_task<T> {
public:
  using chained_task<T>::chained_task;
  using chained_task<T>::await_suspend;

  // The chain runs here until it first waits. If it ends before that, this returns false and the
  // awaiting coroutine continues, so that a loop of such awaits does not grow the stack.
  template <class P>
  bool await_suspend(std::coroutine_handle<P> h) {
    this->link(own_);
    awaiting_.handle = h;
    own_.outside = &awaiting_;
    own_.resume(this->child_);
    return !awaiting_.second_side_done();
  }

private:
  coroutine_chain own_;
  outside_awaiter awaiting_;
};

template <class T>
T run_here(task<T> t);

} // namespace detail

/// A coroutine that returns a T. It starts when it is awaited or spawned.
///
/// Any coroutine may await it. Inside a task, `co_await` on a value that a fiber's or thread's call
/// returned directly costs nothing, so a protocol written once with `co_await` serves every
/// scheduler. Other values that are not awaitable are refused at compile time (see
/// `returned_by_call`).
///
/// An exception that leaves the task is rethrown at the `co_await`. Destroying the task destroys
/// the coroutine; if it waits, its pending call is cancelled (O5). Cost: a recycled frame; an await
/// returns to the chain's loop and resumes once. Depth costs no stack.
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
    if (handle_) handle_.destroy(); // never started: the awaiter owns a started one
  }

  /// Awaits the task. Throws invalid_argument if it was awaited before or moved from.
  [[nodiscard]] detail::task_awaiter<T> operator co_await() && {
    check();
    return detail::task_awaiter<T>(std::exchange(handle_, nullptr));
  }
  /// Likewise, from a coroutine of a chain.
  [[nodiscard]] detail::chained_task<T> in_chain() && {
    check();
    return detail::chained_task<T>(std::exchange(handle_, nullptr));
  }
  /// Gives up the coroutine, which the caller has to start and to destroy.
  [[nodiscard]] detail::chain_link& release() && {
    check();
    const auto h = std::exchange(handle_, nullptr);
    h.promise().self = h;
    return h.promise();
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

// Runs a task on the stack of a fiber or thread, where every call returns directly.
template <class T>
T run_here(task<T> t) {
  t.check();
  auto& promise = t.handle_.promise();
  coroutine_chain chain;
  chain.push(promise);
  promise.self = t.handle_;
  chain.resume(t.handle_);
  if (!t.handle_.done()) {
    t = {}; // before `chain`: the awaiter refers to it
    throw_error(failure(std::errc::operation_not_permitted).code(),
                "rouse: a task on fibers or threads may await calls of its scheduler, and tasks, "
                "but nothing that suspends it");
  }
  return promise.result();
}

} // namespace detail
}} // namespace rouse::ROUSE_ABI

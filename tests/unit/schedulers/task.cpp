#include <support/testing.hpp>

#include <coroutine>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

using rouse::task;

namespace {

// A foreign coroutine, which starts at once and awaits a task. It is destroyed with its handle.
struct outside {
  struct promise_type {
    outside get_return_object() {
      return outside(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
  explicit outside(std::coroutine_handle<promise_type> h) : handle(h) {}
  outside(const outside&) = delete;
  ~outside() { handle.destroy(); }
  bool done() const { return handle.done(); }
  std::coroutine_handle<promise_type> handle;
};

// An awaitable that does not know tasks.
struct event {
  std::coroutine_handle<> waiter;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) noexcept { waiter = h; }
  void await_resume() const noexcept {}
};

// The result of a task that never waits.
template <class T>
T result_of(task<T> t) {
  if constexpr (std::is_void_v<T>) {
    std::exception_ptr thrown;
    outside o = [](task<T> what, std::exception_ptr& e) -> outside {
      try {
        co_await std::move(what);
      } catch (...) {
        e = std::current_exception();
      }
    }(std::move(t), thrown);
    REQUIRE(o.done());
    if (thrown) std::rethrow_exception(thrown);
  } else {
    std::remove_reference_t<T>* place = nullptr;
    std::optional<std::remove_reference_t<T>> value;
    result_of<void>([](task<T> what, auto*& p, auto& v) -> task<> {
      if constexpr (std::is_reference_v<T>)
        p = &co_await std::move(what);
      else
        v.emplace(co_await std::move(what));
    }(std::move(t), place, value));
    if constexpr (std::is_reference_v<T>)
      return *place;
    else
      return std::move(*value);
  }
}

task<int> number(int n) { co_return n; }
task<> sets(bool& flag) {
  flag = true;
  co_return;
}
task<> fails() {
  throw std::logic_error("inside");
  co_return;
}

template <class S>
task<int> yields(S& sched, int times) {
  for (int i = 0; i != times; ++i) co_await sched.yield();
  co_return times;
}

// Logs its destruction.
struct mark {
  std::string& order;
  char letter;
  ~mark() { order += letter; }
};

} // namespace

TEST_CASE("task: does not run before it is awaited", "[unit][task]") {
  bool ran = false;
  auto t = sets(ran);
  CHECK(!ran);
  result_of(std::move(t));
  CHECK(ran);
}

TEST_CASE("task: returns its value", "[unit][task]") { CHECK(result_of(number(42)) == 42); }

TEST_CASE("task: returns a move-only value", "[unit][task]") {
  auto t = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(7); }();
  CHECK(*result_of(std::move(t)) == 7);
}

TEST_CASE("task: returns a value that cannot be default-constructed", "[unit][task]") {
  struct named {
    explicit named(std::string s) : name(std::move(s)) {}
    std::string name;
  };
  auto t = []() -> task<named> { co_return std::string("n"); }();
  CHECK(result_of(std::move(t)).name == "n");
}

TEST_CASE("task: returns a reference to the same object", "[unit][task]") {
  int there = 1;
  auto t = [](int& i) -> task<int&> { co_return i; }(there);
  CHECK(&result_of(std::move(t)) == &there);
}

TEST_CASE("task: its exception is thrown where it is awaited", "[unit][task]") {
  CHECK_THROWS_WITH(result_of(fails()), "inside");
}

TEST_CASE("task: an exception passes through each task that does not catch it", "[unit][task]") {
  auto t = []() -> task<int> {
    co_await []() -> task<> { co_await fails(); }();
    co_return 1;
  }();
  CHECK_THROWS_WITH(result_of(std::move(t)), "inside");
}

TEST_CASE("task: the awaiting task can catch an exception and continue", "[unit][task]") {
  auto t = []() -> task<int> {
    try {
      co_await fails();
    } catch (const std::logic_error&) {
    }
    co_return co_await number(2);
  }();
  CHECK(result_of(std::move(t)) == 2);
}

TEST_CASE("task: nested tasks end in order", "[unit][task]") {
  struct tree {
    static task<int> sum(int depth) {
      if (depth == 0) co_return 1;
      const int left = co_await sum(depth - 1);
      co_return left + co_await sum(depth - 1);
    }
  };
  CHECK(result_of(tree::sum(10)) == 1024);
}

TEST_CASE("task: a task that is never awaited is destroyed with its parameters", "[unit][task]") {
  auto token = std::make_shared<int>();
  {
    const auto t = [](std::shared_ptr<int>) -> task<> { co_return; }(token);
    CHECK(token.use_count() == 2);
  }
  CHECK(token.use_count() == 1);
}

TEST_CASE("task: a moved-from task is empty and may be assigned again", "[unit][task]") {
  bool first = false, second = false;
  task<> a = sets(first), b = std::move(a);
  a = sets(second);
  result_of(std::move(a));
  CHECK(!first);
  CHECK(second);
}

TEST_CASE("task: an assignment destroys the former task", "[unit][task]") {
  auto token = std::make_shared<int>();
  auto t = [](std::shared_ptr<int>) -> task<> { co_return; }(token);
  t = task<>();
  CHECK(token.use_count() == 1);
}

TEST_CASE("task: can be moved, not copied", "[unit][task]") {
  STATIC_REQUIRE(std::is_nothrow_move_constructible_v<task<>>);
  STATIC_REQUIRE(!std::is_copy_constructible_v<task<>>);
}

TEST_CASE("task: destroying a waiting task destroys its variables, the innermost task's first",
          "[unit][task]") {
  std::string order;
  event never;
  {
    outside o = [](std::string& s, event& e) -> outside {
      const mark last{s, 'c'};
      co_await [](std::string& s2, event& e2) -> task<> {
        const mark middle{s2, 'b'};
        co_await [](std::string& s3, event& e3) -> task<> {
          const mark innermost{s3, 'a'};
          co_await e3;
        }(s2, e2);
      }(s, e);
    }(order, never);
    CHECK(!o.done());
    CHECK(order.empty());
  }
  CHECK(order == "abc");
}

TEST_CASE("task: is destroyed as soon as the await is over", "[unit][task]") {
  std::string order;
  result_of([](std::string& s) -> task<> {
    co_await [](std::string& s2) -> task<> {
      const mark inner{s2, 'a'};
      co_return;
    }(s);
    s += 'b';
  }(order));
  CHECK(order == "ab");
}

TEST_CASE("task: continues when any awaitable resumes it", "[unit][task]") {
  event e;
  int got = 0;
  outside o = [](event& what, int& n) -> outside {
    n = co_await [](event& w) -> task<int> {
      co_await w;
      co_return co_await number(3);
    }(what);
  }(e, got);
  CHECK(!o.done());
  e.waiter.resume();
  CHECK(o.done());
  CHECK(got == 3);
}

TEST_CASE("task: continues when the result of an operator co_await resumes it", "[unit][task]") {
  struct pointer_to_event {
    event* e;
    struct awaiter {
      event* e;
      awaiter(event* what) : e(what) {}
      awaiter(const awaiter&) = delete;
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> h) noexcept { e->waiter = h; }
      int await_resume() const noexcept { return 4; }
    };
    awaiter operator co_await() const noexcept { return {e}; }
  };
  event e;
  int got = 0;
  outside o = [](pointer_to_event what, int& n) -> outside {
    n = co_await [](pointer_to_event w) -> task<int> { co_return co_await w; }(what);
  }({&e}, got);
  e.waiter.resume();
  CHECK(o.done());
  CHECK(got == 4);
}

TEST_CASE("task: a value that a call may return can be awaited", "[unit][task]") {
  auto t = []() -> task<std::string_view> { co_return co_await std::string_view("here"); }();
  CHECK(result_of(std::move(t)) == "here");
}

namespace {
struct reply {
  int value;
};
} // namespace

template <>
inline constexpr bool rouse::returned_by_call<reply> = true;

TEST_CASE("task: a value of the user's type can be awaited if returned_by_call is specialized",
          "[unit][task]") {
  auto t = []() -> task<int> { co_return (co_await reply{7}).value; }();
  CHECK(result_of(std::move(t)) == 7);
}

TEST_CASE("run_here: runs a task on the caller's stack and returns its value or throws",
          "[unit][task]") {
  CHECK(rouse::detail::run_here(number(5)) == 5);
  CHECK_THROWS_WITH(rouse::detail::run_here(fails()), "inside");
}

TEST_CASE("run_here: a task that suspends is destroyed, and an error says so", "[unit][task]") {
  std::string order;
  event never;
  auto t = [](std::string& s, event& e) -> task<> {
    const mark outer{s, 'b'};
    co_await [](std::string& s2, event& e2) -> task<> {
      const mark inner{s2, 'a'};
      co_await e2;
    }(s, e);
  }(order, never);
  CHECK_THROWS_AS(rouse::detail::run_here(std::move(t)), std::system_error);
  CHECK(order == "ab");
}

TEMPLATE_LIST_TEST_CASE("task: several tasks may be suspended at once and end in any order",
                        "[unit][task]", testing::every_flowing) {
  TestType sched;
  std::atomic<int> right{0};
  const auto body = [&](int rounds) -> task<> {
    for (int i = 0; i != rounds; ++i) {
      if (co_await yields(sched, i) == i) ++right;
      co_await sched.yield();
    }
  };
  for (const int rounds : {1, 5, 2, 7, 3, 1, 4, 1}) {
    sched.spawn([&body, rounds] { return body(rounds); });
  }
  sched.run();
  sched.spawn([&body] { return body(2); }); // on a stack that was used before
  sched.run();
  CHECK(right == 1 + 5 + 2 + 7 + 3 + 1 + 4 + 1 + 2);
}

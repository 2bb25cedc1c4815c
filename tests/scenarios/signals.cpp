// Waiting for signals.
#include <support/testing.hpp>

#include <coroutine>
#include <csignal>
#include <memory>
#include <vector>

using namespace testing;

namespace {

// A second signal, which some rouse::signals waits for.
#if ROUSE_WINDOWS
constexpr int other_signal = SIGBREAK;
void raise_other() { CHECK(rouse::os::signal_table::handle(CTRL_BREAK_EVENT)); }
#else
constexpr int other_signal = SIGUSR2;
void raise_other() { ::raise(SIGUSR2); }
#endif

template <class S>
int next(S& sched, rouse::signals<S>& from) {
  const auto got = await<int>(sched, CALL(from.wait(patience, how...)));
  CHECK(!got.ec);
  return got.value;
}

template <class S>
bool empty(S& sched, rouse::signals<S>& s) {
  return await<int>(sched, CALL(s.wait(1ms, how...))).ec == std::errc::timed_out;
}

// A coroutine that is destroyed from outside while it waits.
struct held {
  struct promise_type {
    held get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
  std::coroutine_handle<promise_type> handle;
};

held wait_for_one(rouse::signals<rouse::coroutines>& s) { (void)co_await s.wait(); }

} // namespace

TEMPLATE_LIST_TEST_CASE("signals: a wait gets a signal that arrives during it or before it",
                        "[signals]", every_scheduler) {
  TestType sched;
  rouse::signals caught{sched, {SIGINT, SIGTERM}};
  auto waiting = start<int>(sched, CALL(caught.wait(how...)));
  until_pending(sched, 1);
  ctrl_c();
  CHECK(waiting.wait().value == SIGINT);
  ctrl_c();
  const auto before = await<int>(sched, CALL(caught.wait(5s, how...)));
  CHECK(!before.ec);
  CHECK(before.value == SIGINT);
  CHECK(await<int>(sched, CALL(caught.wait(1ms, how...))).ec == std::errc::timed_out);
}

TEMPLATE_LIST_TEST_CASE("signals: every object gets each of its signals, until it is destroyed",
                        "[signals]", every_scheduler) {
  TestType sched;
  rouse::signals first{sched, {SIGINT}}, other{sched, {SIGTERM}};
  {
    rouse::signals second{sched, {SIGINT}};
    ctrl_c();
    CHECK(await<int>(sched, CALL(second.wait(5s, how...))).value == SIGINT);
  }
  CHECK(await<int>(sched, CALL(first.wait(5s, how...))).value == SIGINT);
  ctrl_c();
  CHECK(await<int>(sched, CALL(first.wait(5s, how...))).value == SIGINT);
  CHECK(await<int>(sched, CALL(other.wait(0s, how...))).ec == std::errc::timed_out);
  auto cancelled = start<int>(sched, CALL(first.wait(how...)));
  until_pending(sched, 1);
  first.cancel();
  CHECK(cancelled.wait().ec == std::errc::operation_canceled);
}

TEST_CASE("signals: numbers that are no signal or cannot be caught are refused", "[signals]") {
  rouse::fibers sched;
  const auto refused = [&](std::initializer_list<int> which) {
    try {
      rouse::signals s(sched, which);
    } catch (const std::system_error& e) {
      return e.code();
    }
    return std::error_code();
  };
  for (const int number : {0, -1, 65}) {
    INFO(number);
    CHECK(refused({number}) == std::errc::invalid_argument);
  }
#if !ROUSE_WINDOWS
  struct sigaction before = {}, after = {};
  ::sigaction(SIGINT, nullptr, &before); // Catch2's
  CHECK(refused({SIGINT, SIGKILL}) == std::errc::invalid_argument);
  ::sigaction(SIGINT, nullptr, &after);
  CHECK(after.sa_handler == before.sa_handler); // the valid one is restored
#endif
}

TEMPLATE_LIST_TEST_CASE("signals: each signal of a flood is reported, and no other kind is lost",
                        "[signals]", every_scheduler) {
  TestType sched;
  rouse::signals caught{sched, {SIGINT, other_signal}};
  for (int i = 0; i != 300; ++i) ctrl_c();
  raise_other();
  int first_kind = 0, second_kind = 0;
  for (int i = 0; i != 301; ++i) {
    const int n = next(sched, caught);
    first_kind += n == SIGINT;
    second_kind += n == other_signal;
    if (i == 1) CHECK(second_kind == 1); // the kinds alternate
  }
  CHECK(first_kind == 300);
  CHECK(second_kind == 1);
  CHECK(empty(sched, caught));
}

TEMPLATE_LIST_TEST_CASE("signals: signals are reported in the order of their arrival", "[signals]",
                        every_scheduler) {
  TestType sched;
  rouse::signals caught{sched, {SIGINT, other_signal}};
  for (int i = 0; i != 3; ++i) {
    raise_other();
    ctrl_c();
    CHECK(next(sched, caught) == other_signal);
    CHECK(next(sched, caught) == SIGINT);
  }
}

TEMPLATE_LIST_TEST_CASE("signals: two waits of one object get one signal each", "[signals]",
                        every_scheduler) {
  TestType sched;
  rouse::signals caught{sched, {SIGINT, other_signal}};
  auto first = start<int>(sched, CALL(caught.wait(how...)));
  auto second = start<int>(sched, CALL(caught.wait(how...)));
  until_pending(sched, 2);
  ctrl_c();
  ctrl_c();
  CHECK(first.wait().value == SIGINT);
  CHECK(second.wait().value == SIGINT);
  CHECK(empty(sched, caught));
}

TEMPLATE_LIST_TEST_CASE("signals: each of a hundred objects gets the signal", "[signals]",
                        every_scheduler) {
  TestType sched;
  std::vector<std::unique_ptr<rouse::signals<TestType>>> objects;
  for (int i = 0; i != 100; ++i) {
    objects.push_back(
        std::make_unique<rouse::signals<TestType>>(sched, std::initializer_list<int>{SIGINT}));
  }
  ctrl_c();
  for (auto& s : objects) CHECK(next(sched, *s) == SIGINT);
}

TEST_CASE("signals: if the waiting coroutine is destroyed, its signal is kept for the next wait",
          "[signals]") {
  rouse::coroutines sched;
  rouse::signals caught{sched, {SIGINT}};
  const held waiting = wait_for_one(caught);
  until_pending(sched, 1);
  ctrl_c(); // the kernel may deliver it to that wait
  waiting.handle.destroy();
  CHECK(next(sched, caught) == SIGINT);
  CHECK(empty(sched, caught));
}

TEST_CASE("signals: an object may be destroyed before a wait that has its signal completes",
          "[signals]") {
  rouse::callbacks sched;
  int completed = 0;
  {
    rouse::signals caught{sched, {SIGINT}};
    caught.wait([&](std::error_code, int) { ++completed; });
    until_pending(sched, 1);
    ctrl_c();
  }
  sched.run();
  CHECK(completed == 1);
}

#if ROUSE_WINDOWS
TEST_CASE("signals: the handler of a closed console does not return while an object waits for it",
          "[signals]") {
  rouse::fibers sched;
  const auto returned = std::make_shared<std::atomic<bool>>(false);
  rouse::signals caught{sched, {SIGTERM}};
  std::thread([returned] {
    (void)rouse::os::signal_table::handle(CTRL_CLOSE_EVENT);
    returned->store(true);
  }).detach(); // it returns long after the object's end
  CHECK(next(sched, caught) == SIGTERM);
  CHECK(await<int>(sched, CALL(caught.wait(200ms, how...))).ec == std::errc::timed_out);
  CHECK(!returned->load());
}

TEST_CASE("signals: a console event without an object is left to the next handler", "[signals]") {
  rouse::fibers sched;
  rouse::signals caught{sched, {SIGINT}};
  CHECK(!rouse::os::signal_table::handle(CTRL_CLOSE_EVENT));
  CHECK(!rouse::os::signal_table::handle(CTRL_BREAK_EVENT));
  CHECK(empty(sched, caught));
}
#endif

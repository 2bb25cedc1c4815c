// Signals, waited for like anything else.
#include <support/testing.hpp>

#include <csignal>

using namespace testing;

TEMPLATE_LIST_TEST_CASE("signals: one that comes while it is waited for, and one that came before",
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

TEMPLATE_LIST_TEST_CASE("signals: everybody who wants one gets it, until he is gone", "[signals]",
                        every_scheduler) {
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

TEST_CASE("signals: what is none, or cannot be caught, is refused", "[signals]") {
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
  CHECK(after.sa_handler == before.sa_handler); // the one that could be caught is given back
#endif
}

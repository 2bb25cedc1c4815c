#include <support/testing.hpp>

using namespace testing;

TEST_CASE("thread_waker: a flow that is spawned while its scheduler is destroyed is ended too",
          "[unit][thread]") {
  std::error_code first, second;
  {
    rouse::threads sched;
    sched.spawn([&] {
      sched.sleep_until(rouse::deadline{}, first);
      sched.spawn([&] { sched.sleep_until(rouse::deadline{}, second); });
    });
    until_pending(sched, 1);
  }
  CHECK(first == std::errc::operation_canceled);
  CHECK(second == std::errc::operation_canceled);
}

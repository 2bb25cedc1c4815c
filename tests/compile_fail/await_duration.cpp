// expect: rouse: co_await of a duration would not sleep: write co_await sched.sleep_for(300ms)
#include <rouse/rouse.hpp>

#include <chrono>

rouse::task<> pause(rouse::coroutines& sched) {
#ifdef BROKEN
  (void)sched, co_await std::chrono::milliseconds(300);
#else
  co_await sched.sleep_for(std::chrono::milliseconds(300));
#endif
}

// expect: rouse: callbacks run a function to its end and cannot wait in a task
#include <rouse/rouse.hpp>

void go(rouse::callbacks& sched) {
#ifdef BROKEN
  sched.spawn([]() -> rouse::task<> { co_return; });
#else
  sched.spawn([] {});
#endif
}

// expect: rouse: coroutines spawn a task<>, or a callable without parameters that gives one
#include <rouse/rouse.hpp>

void go(rouse::coroutines& sched) {
#ifdef BROKEN
  sched.spawn([] {});
#else
  sched.spawn([]() -> rouse::task<> { co_return; });
#endif
}

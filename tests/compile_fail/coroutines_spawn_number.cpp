// expect: rouse: coroutines spawn a task<>, or a callable without parameters that gives one
#include <rouse/rouse.hpp>

void go(rouse::coroutines& sched) {
#ifdef BROKEN
  sched.spawn([] { return 1; });
#else
  sched.spawn([]() -> rouse::task<int> { co_return 1; });
#endif
}

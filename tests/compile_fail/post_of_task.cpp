// expect: rouse: post would drop the task that this callable returns: spawn it
#include <rouse/rouse.hpp>

rouse::task<> work();

void go(rouse::coroutines& sched) {
#ifdef BROKEN
  sched.post(work);
#else
  sched.spawn(work);
#endif
}

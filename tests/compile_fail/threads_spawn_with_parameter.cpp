// expect: rouse: spawn takes a callable without parameters
#include <rouse/rouse.hpp>

void go(rouse::threads& sched) {
#ifdef BROKEN
  sched.spawn([](int) {});
#else
  sched.spawn([] {});
#endif
}

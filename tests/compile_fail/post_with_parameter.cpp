// expect: rouse: post takes a callable without parameters
#include <rouse/rouse.hpp>

void go(rouse::fibers& sched) {
#ifdef BROKEN
  sched.post([](int) {});
#else
  sched.post([] {});
#endif
}

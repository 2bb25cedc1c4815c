// expect: rouse: a driver names its operation
#include <rouse/rouse.hpp>

#ifdef BROKEN
struct my_driver {};
#else
using my_driver = rouse::native_driver<false>;
#endif

void run(rouse::basic_scheduler<rouse::basic_engine<my_driver>, rouse::fiber_waker>& sched) {
  sched.run();
}

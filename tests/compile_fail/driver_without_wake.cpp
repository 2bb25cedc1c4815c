// expect: rouse: a driver has "void wake()"
#include <rouse/rouse.hpp>

struct my_driver : rouse::native_driver<false> {
#ifdef BROKEN
  void wake() = delete;
#endif
};

void run(rouse::basic_scheduler<rouse::basic_engine<my_driver>, rouse::fiber_waker>& sched) {
  sched.run();
}

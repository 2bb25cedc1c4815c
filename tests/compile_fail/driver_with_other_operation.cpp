// expect: rouse: a driver's operation derives from rouse::operation
#include <rouse/rouse.hpp>

struct my_driver : rouse::native_driver<false> {
#ifdef BROKEN
  struct operation {};
#endif
};

void run(rouse::basic_scheduler<rouse::basic_engine<my_driver>, rouse::fiber_waker>& sched) {
  sched.run();
}

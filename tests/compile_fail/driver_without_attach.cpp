// expect: rouse: a driver has "failure attach(socket_state&)"
#include <rouse/rouse.hpp>

struct my_driver : rouse::native_driver<false> {
#ifdef BROKEN
  void attach(rouse::socket_state&);
#endif
};

void run(rouse::basic_scheduler<rouse::basic_engine<my_driver>, rouse::fiber_waker>& sched) {
  sched.run();
}

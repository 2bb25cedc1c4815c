// expect: rouse: a driver has "failure open(detail::buffer_pool&)"
#include <rouse/rouse.hpp>

struct my_driver : rouse::native_driver<false> {
#ifdef BROKEN
  bool open(rouse::detail::buffer_pool&);
#endif
};

void run(rouse::basic_scheduler<rouse::basic_engine<my_driver>, rouse::fiber_waker>& sched) {
  sched.run();
}

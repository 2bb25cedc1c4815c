// expect: rouse: a driver has "void wait(clock::time_point until, Lock&, completions&)"
#include <rouse/rouse.hpp>

struct my_driver : rouse::native_driver<false> {
#ifdef BROKEN
  template <class Lock>
  void wait(rouse::clock::time_point, Lock&, rouse::completions&) = delete;
#endif
};

void run(rouse::basic_scheduler<rouse::basic_engine<my_driver>, rouse::fiber_waker>& sched) {
  sched.run();
}

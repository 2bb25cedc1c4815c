// expect: rouse: a waker says how a call may be completed
#include <rouse/rouse.hpp>

struct not_a_waker {};

#ifdef BROKEN
using waker = not_a_waker;
#else
using waker = rouse::fiber_waker;
#endif

void run(rouse::basic_scheduler<rouse::native_engine, waker>& sched) { sched.run(); }

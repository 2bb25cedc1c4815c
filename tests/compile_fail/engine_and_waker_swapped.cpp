// expect: rouse: the first argument of basic_scheduler is an engine
#include <rouse/rouse.hpp>

#ifdef BROKEN
using scheduler = rouse::basic_scheduler<rouse::fiber_waker, rouse::native_engine>;
#else
using scheduler = rouse::basic_scheduler<rouse::native_engine, rouse::fiber_waker>;
#endif

void run(scheduler& sched) { sched.run(); }

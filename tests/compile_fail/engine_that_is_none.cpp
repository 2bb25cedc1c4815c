// expect: rouse: the first argument of basic_scheduler is an engine
#include <rouse/rouse.hpp>

struct not_an_engine {};

#ifdef BROKEN
using engine = not_an_engine;
#else
using engine = rouse::native_engine;
#endif

void run(rouse::basic_scheduler<engine, rouse::fiber_waker>& sched) { sched.run(); }

// expect: rouse: an engine names its core
#include <rouse/rouse.hpp>

struct not_an_engine {};

#ifdef BROKEN
using engine = not_an_engine;
#else
using engine = rouse::native_engine;
#endif

void run(rouse::basic_scheduler<engine, rouse::fiber_waker>& sched) { sched.run(); }

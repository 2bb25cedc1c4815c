// expect: rouse: thread_waker needs an engine that any thread may use, such as shared_native_engine
#include <rouse/rouse.hpp>

#ifdef BROKEN
using engine = rouse::native_engine;
#else
using engine = rouse::shared_native_engine;
#endif

void run() {
  rouse::basic_scheduler<engine, rouse::thread_waker> sched;
  sched.run();
}

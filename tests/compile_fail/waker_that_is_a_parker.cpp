// expect: a parker P becomes one as parking_waker<P>
#include <rouse/rouse.hpp>

struct my_parker {
  void park();
  void unpark() noexcept;
};

#ifdef BROKEN
using waker = my_parker;
#else
using waker = rouse::parking_waker<my_parker>;
#endif

void run(rouse::basic_scheduler<rouse::shared_native_engine, waker>& sched) { sched.run(); }

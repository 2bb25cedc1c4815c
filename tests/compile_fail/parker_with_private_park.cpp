// expect: rouse: a parker needs "void park()"
#include <rouse/rouse.hpp>

#ifdef BROKEN
class my_parker {
#else
struct my_parker {
#endif
  void park();
  void unpark() noexcept;
};

using scheduler =
    rouse::basic_scheduler<rouse::shared_native_engine, rouse::parking_waker<my_parker>>;

void run(scheduler& sched) { sched.run(); }

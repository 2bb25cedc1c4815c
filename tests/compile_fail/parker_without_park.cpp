// expect: rouse: a parker needs "void park()"
#include <rouse/rouse.hpp>

struct my_parker {
#ifndef BROKEN
  void park();
#endif
  void unpark() noexcept;
};

using scheduler =
    rouse::basic_scheduler<rouse::shared_native_engine, rouse::parking_waker<my_parker>>;

void run(scheduler& sched) { sched.run(); }

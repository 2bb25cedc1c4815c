// expect: rouse: a parker needs "void unpark() noexcept"
#include <rouse/rouse.hpp>

struct my_parker {
  void park();
#ifdef BROKEN
  void unpark();
#else
  void unpark() noexcept;
#endif
};

using scheduler =
    rouse::basic_scheduler<rouse::shared_native_engine, rouse::parking_waker<my_parker>>;

void run(scheduler& sched) { sched.run(); }

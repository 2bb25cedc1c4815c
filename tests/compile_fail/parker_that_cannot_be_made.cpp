// expect: rouse: a parker is made for each call, from nothing or from the scheduler
#include <rouse/rouse.hpp>

class my_parker {
public:
#ifdef BROKEN
  explicit my_parker(int);
#else
  my_parker();
#endif
  void park();
  void unpark() noexcept;
};

using scheduler =
    rouse::basic_scheduler<rouse::shared_native_engine, rouse::parking_waker<my_parker>>;

void pause(scheduler& sched) { sched.yield(); }

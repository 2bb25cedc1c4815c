// expect: rouse: this waker has no flows of its own; start them with whatever its parker parks
#include <rouse/rouse.hpp>

#include <thread>

struct my_parker {
  void park();
  void unpark() noexcept;
};

using scheduler =
    rouse::basic_scheduler<rouse::shared_native_engine, rouse::parking_waker<my_parker>>;

void go(scheduler& sched) {
#ifdef BROKEN
  sched.spawn([&] { sched.yield(); });
#else
  std::jthread flow([&] { sched.yield(); });
#endif
}

// expect: rouse: an engine needs "static std::unique_ptr<core> make(failure& why)"
#include <rouse/rouse.hpp>

#include <memory>

struct engine {
  using core = rouse::native_engine::core;
#ifndef BROKEN
  static std::unique_ptr<core> make(rouse::failure& why);
#endif
};

void run(rouse::basic_scheduler<engine, rouse::fiber_waker>& sched) { sched.run(); }

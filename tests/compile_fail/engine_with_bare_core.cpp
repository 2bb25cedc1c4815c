// expect: rouse: the core of this engine lacks what engine_core asks for
#include <rouse/rouse.hpp>

#include <memory>

struct engine {
#ifdef BROKEN
  struct core {
    class operation : public rouse::operation {};
  };
#else
  using core = rouse::native_engine::core;
#endif
  static std::unique_ptr<core> make(rouse::failure& why);
};

void run(rouse::basic_scheduler<engine, rouse::fiber_waker>& sched) { sched.run(); }

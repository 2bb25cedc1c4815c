// expect: rouse: a socket is made with its scheduler
#include <rouse/rouse.hpp>

void open(rouse::fibers& sched) {
#ifdef BROKEN
  rouse::socket s{sched.engine()};
#else
  rouse::socket s{sched};
#endif
}

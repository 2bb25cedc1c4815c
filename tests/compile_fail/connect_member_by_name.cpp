// expect: a name is looked up by rouse::connect(sched, "host", "http")
#include <rouse/rouse.hpp>

void reach(rouse::fibers& sched) {
#ifdef BROKEN
  rouse::socket conn{sched};
  conn.connect("host", "http");
#else
  rouse::socket conn = rouse::connect(sched, "host", "http");
#endif
}

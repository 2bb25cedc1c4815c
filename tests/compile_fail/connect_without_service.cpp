// expect: rouse: a host is followed by its service, a number or a name
#include <rouse/rouse.hpp>

#include <chrono>

using namespace std::chrono_literals;

void reach(rouse::fibers& sched) {
#ifdef BROKEN
  (void)rouse::connect(sched, "example.org", 5s);
#else
  (void)rouse::connect(sched, "example.org", "https", 5s);
#endif
}

// expect: rouse: a host is followed by its service, a number or a name
#include <rouse/rouse.hpp>

#include <chrono>

using namespace std::chrono_literals;

void look_up(rouse::fibers& sched) {
#ifdef BROKEN
  (void)rouse::resolve(sched, "example.org", 5s);
#else
  (void)rouse::resolve(sched, "example.org", "https", 5s);
#endif
}

// expect: rouse: a call of callbacks ends with its handler
#include <rouse/rouse.hpp>

#include <chrono>
#include <system_error>

using namespace std::chrono_literals;

void pause(rouse::callbacks& sched) {
#ifdef BROKEN
  sched.sleep_for(1s);
#else
  sched.sleep_for(1s, [](std::error_code) {});
#endif
}

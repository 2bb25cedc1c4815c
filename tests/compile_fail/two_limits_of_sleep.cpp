// expect: rouse: a call takes one limit, before an error_code or a handler: write {5s, token}
#include <rouse/rouse.hpp>

#include <chrono>
#include <stop_token>

using namespace std::chrono_literals;

void pause(rouse::fibers& sched, std::stop_token token) {
#ifdef BROKEN
  sched.sleep_for(1s, 5s, token);
#else
  sched.sleep_for(1s, {5s, token});
  sched.sleep_for({1s, token});
#endif
}

// expect: rouse: spawn keeps what it is given, which cannot be copied: write spawn(std::move(t))
#include <rouse/rouse.hpp>

#include <utility>

void go(rouse::coroutines& sched, rouse::task<> t) {
#ifdef BROKEN
  sched.spawn(t);
#else
  sched.spawn(std::move(t));
#endif
}

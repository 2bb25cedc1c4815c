// expect: rouse: co_await of a function would not call it: write co_await f()
#include <rouse/rouse.hpp>

rouse::task<> twice(rouse::task<> (*f)()) {
#ifdef BROKEN
  co_await f;
#else
  co_await f();
#endif
}

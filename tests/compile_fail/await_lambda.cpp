// expect: rouse: co_await of a function would not call it: write co_await f()
#include <rouse/rouse.hpp>

rouse::task<> inner() {
#ifdef BROKEN
  co_await [] {};
#else
  co_await []() -> rouse::task<> { co_return; }();
#endif
}

// expect: rouse: a task does nothing until it is awaited or spawned
#include <rouse/rouse.hpp>

rouse::task<> inner();

rouse::task<> outer() {
#ifdef BROKEN
  inner();
  co_return;
#else
  co_await inner();
#endif
}

// expect: rouse: a task is awaited once, and gone then: write co_await std::move(t)
#include <rouse/rouse.hpp>

#include <utility>

rouse::task<> inner();

rouse::task<> outer() {
#ifdef BROKEN
  const rouse::task<> t = inner();
#else
  rouse::task<> t = inner();
#endif
  co_await std::move(t);
}

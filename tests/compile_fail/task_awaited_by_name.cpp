// expect: rouse: a task is awaited once, and gone then: write co_await std::move(t)
#include <rouse/rouse.hpp>

#include <utility>

rouse::task<int> inner();

rouse::task<int> outer() {
  rouse::task<int> t = inner();
#ifdef BROKEN
  co_return co_await t;
#else
  co_return co_await std::move(t);
#endif
}

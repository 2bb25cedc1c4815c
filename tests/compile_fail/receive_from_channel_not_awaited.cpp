// expect: rouse: this is a call that has not been awaited, and not its value
#include <rouse/rouse.hpp>

rouse::task<> take(rouse::channel<int, rouse::coroutines>& numbers) {
#ifdef BROKEN
  while (auto n = numbers.receive()) (void)*n;
  co_return;
#else
  while (auto n = co_await numbers.receive()) (void)*n;
#endif
}

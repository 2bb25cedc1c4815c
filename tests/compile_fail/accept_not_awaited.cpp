// expect: rouse: this is a call that has not been awaited, and not its value
#include <rouse/rouse.hpp>

rouse::task<> serve(rouse::socket<rouse::coroutines>& listener) {
#ifdef BROKEN
  rouse::socket<rouse::coroutines> conn = listener.accept();
  co_return;
#else
  rouse::socket<rouse::coroutines> conn = co_await listener.accept();
#endif
}

// expect: rouse: a call of a coroutine scheduler does nothing until it is awaited: write co_await
#include <rouse/rouse.hpp>

rouse::task<> read(rouse::socket<rouse::coroutines>& conn) {
  char buf[8];
#ifdef BROKEN
  conn.recv(buf);
  co_return;
#else
  co_await conn.recv(buf);
#endif
}

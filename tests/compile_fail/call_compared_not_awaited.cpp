// expect: rouse: this is a call that has not been awaited, and not its value
#include <rouse/rouse.hpp>

rouse::task<> read(rouse::socket<rouse::coroutines>& conn, char (&buf)[8]) {
#ifdef BROKEN
  auto n = conn.recv(buf);
  if (n == 0) co_return;
#else
  auto n = co_await conn.recv(buf);
  if (n == 0) co_return;
#endif
}

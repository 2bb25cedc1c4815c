// expect: rouse: this is a call that has not been awaited, and not its value
#include <rouse/rouse.hpp>

rouse::task<> read(rouse::socket<rouse::coroutines>& conn, char (&buf)[8]) {
#ifdef BROKEN
  while (auto n = conn.recv(buf)) (void)n;
#else
  while (auto n = co_await conn.recv(buf)) (void)n;
#endif
}

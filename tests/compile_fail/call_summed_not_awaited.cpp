// expect: rouse: this is a call that has not been awaited, and not its value
#include <rouse/rouse.hpp>

#include <cstddef>

rouse::task<std::size_t> read(rouse::socket<rouse::coroutines>& conn, char (&buf)[8]) {
#ifdef BROKEN
  std::size_t sum = 0;
  sum += conn.recv(buf);
  co_return sum;
#else
  std::size_t sum = 0;
  sum += co_await conn.recv(buf);
  co_return sum;
#endif
}

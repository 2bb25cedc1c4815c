// expect: rouse: this buffer is a temporary
#include <rouse/rouse.hpp>

#include <string>

rouse::task<> write(rouse::socket<rouse::coroutines>& conn, int n) {
#ifdef BROKEN
  co_await conn.send(std::to_string(n));
#else
  const std::string text = std::to_string(n);
  co_await conn.send(text);
#endif
}

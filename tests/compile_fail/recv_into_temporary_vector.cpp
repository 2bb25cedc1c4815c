// expect: rouse: this buffer is a temporary
#include <rouse/rouse.hpp>

#include <vector>

rouse::task<> read(rouse::socket<rouse::coroutines>& conn) {
#ifdef BROKEN
  co_await conn.recv(std::vector<char>(8));
#else
  std::vector<char> buf(8);
  co_await conn.recv(buf);
#endif
}

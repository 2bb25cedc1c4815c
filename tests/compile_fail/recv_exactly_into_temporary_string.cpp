// expect: rouse: this buffer is a temporary
#include <rouse/rouse.hpp>

#include <string>

rouse::task<> read(rouse::socket<rouse::coroutines>& conn) {
#ifdef BROKEN
  co_await conn.recv_exactly(std::string(8, ' '));
#else
  std::string buf(8, ' ');
  co_await conn.recv_exactly(buf);
#endif
}

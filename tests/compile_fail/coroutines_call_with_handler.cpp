// expect: rouse: a call of this scheduler returns its value
#include <rouse/rouse.hpp>

#include <cstddef>
#include <system_error>

rouse::task<std::size_t> read(rouse::socket<rouse::coroutines>& conn) {
  char buf[8];
#ifdef BROKEN
  co_return co_await conn.recv(buf, [](std::error_code, std::size_t) {});
#else
  std::error_code ec;
  co_return co_await conn.recv(buf, ec);
#endif
}

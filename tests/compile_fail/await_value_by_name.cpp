// expect: rouse: co_await takes an awaitable
#include <rouse/rouse.hpp>

#include <cstddef>

rouse::task<std::size_t> read(rouse::socket<rouse::fibers>& conn, char (&buf)[8]) {
#ifdef BROKEN
  std::size_t n = conn.recv(buf);
  co_return co_await n;
#else
  std::size_t n = co_await conn.recv(buf);
  co_return n;
#endif
}

// expect: rouse: this buffer is a temporary
#include <rouse/rouse.hpp>

#include <utility>
#include <vector>

rouse::task<> write(rouse::socket<rouse::coroutines>& conn, std::vector<char> bytes) {
#ifdef BROKEN
  co_await conn.send_all(std::move(bytes));
#else
  co_await conn.send_all(bytes);
#endif
}

// expect: rouse: a bare number is no limit: write 5s for a limit, {data, size} for a buffer
#include <rouse/rouse.hpp>

#include <chrono>
#include <cstddef>
#include <system_error>

using namespace std::chrono_literals;

void read(rouse::socket<rouse::callbacks>& conn) {
  static char buf[8];
  auto handler = [](std::error_code, std::size_t) {};
#ifdef BROKEN
  conn.recv(buf, 5, handler);
#else
  conn.recv(buf, 5s, handler);
#endif
}

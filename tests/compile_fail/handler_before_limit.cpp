// expect: rouse: a call takes one limit, before an error_code or a handler
#include <rouse/rouse.hpp>

#include <chrono>
#include <cstddef>
#include <system_error>

using namespace std::chrono_literals;

void read(rouse::socket<rouse::callbacks>& conn) {
  static char buf[8];
  auto handler = [](std::error_code, std::size_t) {};
#ifdef BROKEN
  conn.recv(buf, handler, 5s);
#else
  conn.recv(buf, 5s, handler);
#endif
}

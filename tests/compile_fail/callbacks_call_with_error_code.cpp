// expect: rouse: a call of callbacks ends with its handler
#include <rouse/rouse.hpp>

#include <cstddef>
#include <system_error>

void read(rouse::socket<rouse::callbacks>& conn) {
  static char buf[8];
#ifdef BROKEN
  std::error_code ec;
  conn.recv(buf, ec);
#else
  conn.recv(buf, [](std::error_code, std::size_t) {});
#endif
}

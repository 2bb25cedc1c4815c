// expect: rouse: a call of this scheduler returns its value
#include <rouse/rouse.hpp>

#include <cstddef>
#include <system_error>

void read(rouse::socket<rouse::fibers>& conn) {
  char buf[8];
#ifdef BROKEN
  conn.recv(buf, [](std::error_code, std::size_t) {});
#else
  std::error_code ec;
  conn.recv(buf, ec);
#endif
}

// expect: rouse: one thing may follow the arguments of a call and its limit
#include <rouse/rouse.hpp>

#include <cstddef>
#include <system_error>

void read(rouse::socket<rouse::callbacks>& conn, std::error_code& ec) {
  static char buf[8];
  auto handler = [](std::error_code, std::size_t) {};
#ifdef BROKEN
  conn.recv(buf, handler, ec);
#else
  conn.recv(buf, handler);
#endif
  (void)ec;
}

// expect: rouse: one thing may follow the arguments of a call and its limit
#include <rouse/rouse.hpp>

#include <system_error>

void read(rouse::socket<rouse::fibers>& conn, std::error_code& ec) {
  char buf[8];
#ifdef BROKEN
  conn.recv(buf, ec, ec);
#else
  conn.recv(buf, ec);
#endif
}

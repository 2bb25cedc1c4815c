// expect: rouse: one thing may follow the arguments of a call and its limit
#include <rouse/rouse.hpp>

#include <chrono>
#include <system_error>

using namespace std::chrono_literals;

void read(rouse::socket<rouse::fibers>& conn, std::error_code& ec) {
  char buf[8];
#ifdef BROKEN
  conn.recv(buf, 5s, ec, ec);
#else
  conn.recv(buf, 5s, ec);
#endif
}

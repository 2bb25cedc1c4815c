// expect: rouse: a call takes one limit, before an error_code or a handler: write {5s, token}
#include <rouse/rouse.hpp>

#include <chrono>
#include <stop_token>

using namespace std::chrono_literals;

void read(rouse::socket<rouse::fibers>& conn, std::stop_token token) {
  char buf[8];
#ifdef BROKEN
  conn.recv(buf, 5s, token);
#else
  conn.recv(buf, {5s, token});
#endif
}

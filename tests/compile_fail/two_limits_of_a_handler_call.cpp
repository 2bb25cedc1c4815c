// expect: rouse: a call takes one limit, before an error_code or a handler: write {5s, token}
#include <rouse/rouse.hpp>

#include <chrono>
#include <cstddef>
#include <stop_token>
#include <system_error>

using namespace std::chrono_literals;

void read(rouse::socket<rouse::callbacks>& conn, std::stop_token token) {
  static char buf[8];
  auto handler = [](std::error_code, std::size_t) {};
#ifdef BROKEN
  conn.recv(buf, 5s, token, handler);
#else
  conn.recv(buf, {5s, token}, handler);
#endif
}

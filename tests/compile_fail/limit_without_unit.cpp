// expect: rouse: a bare number is no limit: write 5s for a limit, {data, size} for a buffer
#include <rouse/rouse.hpp>

#include <chrono>

using namespace std::chrono_literals;

void read(rouse::socket<rouse::fibers>& conn) {
  char buf[8];
#ifdef BROKEN
  conn.recv(buf, 5);
#else
  conn.recv(buf, 5s);
#endif
}

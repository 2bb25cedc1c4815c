// expect: rouse: a bare number follows: write {data, size} for a buffer, 5s for a limit
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

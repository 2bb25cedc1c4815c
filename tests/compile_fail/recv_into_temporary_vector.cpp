// expect: rouse: this buffer is a temporary
#include <rouse/rouse.hpp>

#include <vector>

void read(rouse::socket<rouse::fibers>& conn) {
#ifdef BROKEN
  conn.recv(std::vector<char>(8));
#else
  std::vector<char> buf(8);
  conn.recv(buf);
#endif
}

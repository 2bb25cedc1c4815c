// expect: rouse: this buffer is a temporary
#include <rouse/rouse.hpp>

#include <string>

void read(rouse::socket<rouse::fibers>& conn) {
#ifdef BROKEN
  conn.recv_exactly(std::string(8, ' '));
#else
  std::string buf(8, ' ');
  conn.recv_exactly(buf);
#endif
}

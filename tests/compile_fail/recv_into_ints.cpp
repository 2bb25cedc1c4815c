// expect: rouse: a buffer is a contiguous range of char, unsigned char or std::byte
#include <rouse/rouse.hpp>

#include <vector>

void read(rouse::socket<rouse::fibers>& conn) {
#ifdef BROKEN
  std::vector<int> buf(8);
#else
  std::vector<unsigned char> buf(8);
#endif
  conn.recv(buf);
}

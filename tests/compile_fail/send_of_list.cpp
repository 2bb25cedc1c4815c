// expect: rouse: a buffer is a contiguous range of char, unsigned char or std::byte
#include <rouse/rouse.hpp>

#include <list>
#include <vector>

void write(rouse::socket<rouse::fibers>& conn) {
#ifdef BROKEN
  const std::list<char> bytes(8);
#else
  const std::vector<char> bytes(8);
#endif
  conn.send(bytes);
}

// expect: rouse: this buffer is a temporary
#include <rouse/rouse.hpp>

#include <utility>
#include <vector>

void write(rouse::socket<rouse::fibers>& conn, std::vector<char> bytes) {
#ifdef BROKEN
  conn.send_all(std::move(bytes));
#else
  conn.send_all(bytes);
#endif
}

// expect: rouse: this buffer is a temporary
#include <rouse/rouse.hpp>

#include <string>

void write(rouse::socket<rouse::fibers>& conn, int n) {
#ifdef BROKEN
  conn.send(std::to_string(n));
#else
  const std::string text = std::to_string(n);
  conn.send(text);
#endif
}

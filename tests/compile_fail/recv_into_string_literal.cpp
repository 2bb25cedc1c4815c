// expect: rouse: recv writes into its buffer, which is const
#include <rouse/rouse.hpp>

void read(rouse::socket<rouse::fibers>& conn) {
#ifdef BROKEN
  conn.recv("eight...");
#else
  char buf[8];
  conn.recv(buf);
#endif
}

// expect: rouse: an address and its port are one argument
#include <rouse/rouse.hpp>

void reach(rouse::socket<rouse::fibers>& conn) {
#ifdef BROKEN
  conn.connect("127.0.0.1", 3000);
#else
  conn.connect({"127.0.0.1", 3000});
#endif
}

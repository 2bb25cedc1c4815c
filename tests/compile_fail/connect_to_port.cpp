// expect: rouse: a port alone is no endpoint: write {"127.0.0.1", 3000}
#include <rouse/rouse.hpp>

void reach(rouse::socket<rouse::fibers>& conn) {
#ifdef BROKEN
  conn.connect(3000);
#else
  conn.connect({"127.0.0.1", 3000});
#endif
}

// expect: rouse: a port alone is no endpoint: write {"127.0.0.1", 3000}
#include <rouse/rouse.hpp>

void serve(rouse::socket<rouse::fibers>& conn) {
#ifdef BROKEN
  conn.bind(3000);
#else
  conn.bind({"0.0.0.0", 3000});
#endif
}

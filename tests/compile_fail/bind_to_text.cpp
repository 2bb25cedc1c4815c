// expect: rouse: text is no endpoint yet: write rouse::endpoint::parse("127.0.0.1:3000")
#include <rouse/rouse.hpp>

void serve(rouse::socket<rouse::fibers>& conn) {
#ifdef BROKEN
  conn.bind("127.0.0.1:3000");
#else
  conn.bind(rouse::endpoint::parse("127.0.0.1:3000"));
#endif
}

// expect: rouse: text is no endpoint yet: write rouse::endpoint::parse("127.0.0.1:3000")
#include <rouse/rouse.hpp>

void reach(rouse::socket<rouse::fibers>& conn) {
#ifdef BROKEN
  conn.connect("127.0.0.1:3000");
#else
  conn.connect(rouse::endpoint::parse("127.0.0.1:3000"));
#endif
}

// expect: rouse: text is no endpoint yet: write rouse::endpoint::parse("127.0.0.1:3000")
#include <rouse/rouse.hpp>

void hear(rouse::socket<rouse::fibers>& conn) {
#ifdef BROKEN
  conn.join_group("239.1.2.3");
#else
  conn.join_group(rouse::endpoint::parse("239.1.2.3"));
#endif
}

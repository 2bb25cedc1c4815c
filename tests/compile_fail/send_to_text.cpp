// expect: rouse: text is no endpoint yet: write rouse::endpoint::parse("127.0.0.1:3000")
#include <rouse/rouse.hpp>

void answer(rouse::socket<rouse::fibers>& conn) {
#ifdef BROKEN
  conn.send_to("ping", "127.0.0.1:3000");
#else
  conn.send_to("ping", rouse::endpoint::parse("127.0.0.1:3000"));
#endif
}

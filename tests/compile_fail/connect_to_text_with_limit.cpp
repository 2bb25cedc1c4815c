// expect: rouse: text is no endpoint yet: write rouse::endpoint::parse("127.0.0.1:3000")
#include <rouse/rouse.hpp>

#include <chrono>

void reach(rouse::socket<rouse::fibers>& conn) {
#ifdef BROKEN
  conn.connect("127.0.0.1:3000", std::chrono::seconds(5));
#else
  conn.connect({"127.0.0.1", 3000}, std::chrono::seconds(5));
#endif
}

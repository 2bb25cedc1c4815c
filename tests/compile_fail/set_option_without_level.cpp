// expect: rouse: a raw option has a level before its name
#include <rouse/rouse.hpp>

void tune(rouse::socket<rouse::fibers>& conn) {
#ifdef BROKEN
  conn.set_option(TCP_NODELAY, 1);
#else
  conn.set_option(IPPROTO_TCP, TCP_NODELAY, 1);
#endif
}

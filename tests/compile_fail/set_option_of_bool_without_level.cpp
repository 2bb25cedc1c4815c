// expect: rouse: a raw option has a level before its name
#include <rouse/rouse.hpp>

void tune(rouse::socket<rouse::fibers>& conn) {
#ifdef BROKEN
  conn.set_option(TCP_NODELAY, true);
#else
  conn.set_option(rouse::tcp_no_delay{true});
#endif
}

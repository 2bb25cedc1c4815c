// expect: rouse: a raw option has a level before its name
#include <rouse/rouse.hpp>

int look(rouse::socket<rouse::fibers>& conn) {
#ifdef BROKEN
  return conn.get_option<int>(TCP_NODELAY);
#else
  return conn.get_option<int>(IPPROTO_TCP, TCP_NODELAY);
#endif
}

// expect: rouse: an option is of a type such as tcp_no_delay
#include <rouse/rouse.hpp>

bool tuned(rouse::socket<rouse::fibers>& conn) {
#ifdef BROKEN
  return conn.get_option<bool>();
#else
  return conn.get_option<rouse::tcp_no_delay>().value();
#endif
}

// expect: rouse: an option is of a type such as tcp_no_delay
#include <rouse/rouse.hpp>

void tune(rouse::socket<rouse::fibers>& conn) {
#ifdef BROKEN
  conn.set_option(true);
#else
  conn.set_option(rouse::tcp_no_delay{true});
#endif
}

// expect: rouse: the value of a raw option is what the kernel copies
#include <rouse/rouse.hpp>

void tune(rouse::socket<rouse::fibers>& conn) {
  int on = 1;
#ifdef BROKEN
  conn.set_option(SOL_SOCKET, SO_KEEPALIVE, &on);
#else
  conn.set_option(SOL_SOCKET, SO_KEEPALIVE, on);
#endif
}

// expect: rouse: an address and its port are one argument
#include <rouse/rouse.hpp>

void serve(rouse::socket<rouse::fibers>& listener) {
#ifdef BROKEN
  listener.bind("127.0.0.1", 3000);
#else
  listener.bind({"127.0.0.1", 3000});
#endif
}

// expect: rouse: the handler of serve takes a socket of its scheduler
#include <rouse/rouse.hpp>

#include <utility>

void begin(rouse::fibers& sched, rouse::socket<rouse::fibers> listener) {
#ifdef BROKEN
  rouse::serve(sched, std::move(listener), [](int) {});
#else
  rouse::serve(sched, std::move(listener), [](rouse::socket<rouse::fibers>) {});
#endif
}

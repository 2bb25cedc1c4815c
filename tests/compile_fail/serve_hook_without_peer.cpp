// expect: rouse: the error hook of serve takes the exception and the peer
#include <rouse/rouse.hpp>

#include <exception>
#include <utility>

void begin(rouse::fibers& sched, rouse::socket<rouse::fibers> listener) {
  const auto handler = [](rouse::socket<rouse::fibers>) {};
#ifdef BROKEN
  rouse::serve(sched, std::move(listener), handler, {}, [](std::exception_ptr) {});
#else
  rouse::serve(sched, std::move(listener), handler, {},
               [](std::exception_ptr, const rouse::endpoint&) {});
#endif
}

// rouse before <windows.h>.
#include <rouse/rouse.hpp>
#if defined(_WIN32)
#include <windows.h>
#endif
#include "shared.hpp"

namespace odr {

sizes first() {
  return {size_of<rouse::socket<rouse::coroutines>>,
          size_of<rouse::socket<rouse::fibers>>,
          size_of<rouse::socket<rouse::threads>>,
          size_of<rouse::socket<rouse::callbacks>>,
          size_of<rouse::fibers>,
          &rouse::os_category()};
}

rouse::socket<rouse::fibers> open_listener(rouse::fibers& sched) {
  rouse::socket listener{sched};
  listener.bind({"127.0.0.1", 0});
  listener.listen();
  return listener;
}

} // namespace odr

int main() {
  rouse::fibers sched;
  auto listener = odr::open_listener(sched);
  const bool good =
      odr::first() == odr::second() && odr::round_trip(sched, listener) && odr::all_wakers();
  return good ? 0 : 1;
}

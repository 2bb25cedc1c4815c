// expect: rouse: serve needs flows that wait, which callbacks do not have
#include <rouse/rouse.hpp>

#include <utility>

#ifdef BROKEN
using scheduler = rouse::callbacks;
#else
using scheduler = rouse::threads;
#endif

void begin(scheduler& sched, rouse::socket<scheduler> listener) {
  rouse::serve(sched, std::move(listener), [](rouse::socket<scheduler>) {});
}

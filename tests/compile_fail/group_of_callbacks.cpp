// expect: rouse: a group needs flows that wait, which callbacks do not have
#include <rouse/rouse.hpp>

#ifdef BROKEN
using scheduler = rouse::callbacks;
#else
using scheduler = rouse::fibers;
#endif

void begin(scheduler& sched) { rouse::flow_group<scheduler> group{sched}; }

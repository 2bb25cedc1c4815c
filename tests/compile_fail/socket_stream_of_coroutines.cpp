// expect: rouse: a socket_stream waits inside operator>> and operator<<, which coroutines and
// callbacks cannot
#include <rouse/iostream.hpp>
#ifdef BROKEN
using scheduler = rouse::coroutines;
#else
using scheduler = rouse::fibers;
#endif
void talk() {
  scheduler sched;
  rouse::socket_stream io{rouse::socket{sched}};
}

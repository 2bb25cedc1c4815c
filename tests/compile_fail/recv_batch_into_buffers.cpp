// expect: rouse: a batch is an array, a vector or a span of rouse::incoming to receive
#include <rouse/rouse.hpp>

#include <array>

void read(rouse::socket<rouse::fibers>& s, std::array<char, 64>& room) {
#ifdef BROKEN
  std::array slots{rouse::mutable_buffer{room}};
#else
  std::array slots{rouse::incoming{room}};
#endif
  s.recv_batch(slots);
}

// expect: rouse: recv_batch writes into its slots, which are const
#include <rouse/rouse.hpp>

#include <array>

void read(rouse::socket<rouse::fibers>& s, std::array<char, 64>& room) {
#ifdef BROKEN
  const std::array slots{rouse::incoming{room}};
#else
  std::array slots{rouse::incoming{room}};
#endif
  s.recv_batch(slots);
}

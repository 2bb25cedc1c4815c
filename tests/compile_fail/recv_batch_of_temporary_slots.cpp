// expect: rouse: this batch is a temporary
#include <rouse/rouse.hpp>

#include <array>
#include <vector>

void read(rouse::socket<rouse::fibers>& s, std::array<char, 64>& room) {
#ifdef BROKEN
  s.recv_batch(std::vector{rouse::incoming{room}});
#else
  std::vector slots{rouse::incoming{room}};
  s.recv_batch(slots);
#endif
}

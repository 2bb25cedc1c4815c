// expect: rouse: this buffer is a temporary
#include <rouse/rouse.hpp>

#include <array>
#include <vector>

void read(rouse::socket<rouse::fibers>& s) {
#ifdef BROKEN
  std::array slots{rouse::incoming{std::vector<char>(64)}};
#else
  std::vector<char> room(64);
  std::array slots{rouse::incoming{room}};
#endif
  s.recv_batch(slots);
}

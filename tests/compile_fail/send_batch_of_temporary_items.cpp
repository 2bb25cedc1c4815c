// expect: rouse: this batch is a temporary
#include <rouse/rouse.hpp>

#include <array>

void write(rouse::socket<rouse::fibers>& s, const rouse::endpoint& to) {
#ifdef BROKEN
  s.send_batch(std::array{rouse::outgoing{"text", to}});
#else
  const std::array items{rouse::outgoing{"text", to}};
  s.send_batch(items);
#endif
}

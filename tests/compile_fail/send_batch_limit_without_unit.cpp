// expect: rouse: a bare number is no limit
#include <rouse/rouse.hpp>

#include <array>
#include <chrono>

using namespace std::chrono_literals;

void write(rouse::socket<rouse::fibers>& s, const rouse::endpoint& to) {
  const std::array items{rouse::outgoing{"text", to}};
#ifdef BROKEN
  s.send_batch(items, 5);
#else
  s.send_batch(items, 5s);
#endif
}

// expect: rouse: this list of buffers is a temporary
#include <rouse/rouse.hpp>

#include <string>
#include <vector>

void write(rouse::socket<rouse::fibers>& s, const std::string& head, const rouse::endpoint& to) {
#ifdef BROKEN
  s.send_to(std::vector{rouse::const_buffer(head), rouse::const_buffer("body")}, to);
#else
  const std::vector parts{rouse::const_buffer(head), rouse::const_buffer("body")};
  s.send_to(parts, to);
#endif
}

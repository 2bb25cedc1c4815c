// expect: rouse: this list of buffers is a temporary
#include <rouse/rouse.hpp>

#include <string>
#include <vector>

rouse::task<> write(rouse::socket<rouse::coroutines>& s, const std::string& head,
                    const rouse::endpoint& to) {
#ifdef BROKEN
  co_await s.send_to(std::vector{rouse::const_buffer(head), rouse::const_buffer("body")}, to);
#else
  const std::vector parts{rouse::const_buffer(head), rouse::const_buffer("body")};
  co_await s.send_to(parts, to);
#endif
}

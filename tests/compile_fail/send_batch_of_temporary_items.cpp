// expect: rouse: this batch is a temporary
#include <rouse/rouse.hpp>

#include <array>

rouse::task<> write(rouse::socket<rouse::coroutines>& s, const rouse::endpoint& to) {
#ifdef BROKEN
  co_await s.send_batch(std::array{rouse::outgoing{"text", to}});
#else
  const std::array items{rouse::outgoing{"text", to}};
  co_await s.send_batch(items);
#endif
}

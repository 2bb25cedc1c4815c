// expect: rouse: a bare number is no limit: write 5s for a limit, {data, size} for a buffer
#include <rouse/rouse.hpp>

#include <chrono>

using namespace std::chrono_literals;

void reach(rouse::socket<rouse::fibers>& conn, const rouse::endpoint& peer) {
#ifdef BROKEN
  conn.connect(peer, 0.5);
#else
  conn.connect(peer, 500ms);
#endif
}

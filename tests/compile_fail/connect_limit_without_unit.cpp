// expect: rouse: a bare number follows: write {data, size} for a buffer, 5s for a limit
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

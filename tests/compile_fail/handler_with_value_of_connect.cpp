// expect: rouse: a call of callbacks ends with its handler
#include <rouse/rouse.hpp>

#include <cstddef>
#include <system_error>

void reach(rouse::socket<rouse::callbacks>& conn, const rouse::endpoint& peer) {
#ifdef BROKEN
  conn.connect(peer, [](std::error_code, std::size_t) {});
#else
  conn.connect(peer, [](std::error_code) {});
#endif
}

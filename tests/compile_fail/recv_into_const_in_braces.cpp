// expect: rouse: recv writes into its buffer, which is const: give it one that is not
#include <rouse/rouse.hpp>

#include <array>

void read(rouse::socket<rouse::fibers>& conn) {
  std::array<char, 4> head;
#ifdef BROKEN
  const std::array<char, 4> body{};
#else
  std::array<char, 4> body;
#endif
  conn.recv_exactly({head, body});
}

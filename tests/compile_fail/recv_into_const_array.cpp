// expect: rouse: recv writes into its buffer, which is const
#include <rouse/rouse.hpp>

#include <array>
#include <cstddef>

std::size_t read(rouse::socket<rouse::fibers>& conn) {
#ifdef BROKEN
  const std::array<char, 8> buf{};
#else
  std::array<char, 8> buf{};
#endif
  return conn.recv(buf);
}

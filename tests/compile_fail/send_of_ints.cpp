// expect: rouse: a buffer is a contiguous range of char, unsigned char or std::byte
#include <rouse/rouse.hpp>

#include <span>
#include <vector>

void write(rouse::socket<rouse::fibers>& conn, const std::vector<int>& numbers) {
#ifdef BROKEN
  conn.send(numbers);
#else
  conn.send(std::as_bytes(std::span(numbers)));
#endif
}

// expect: rouse: a buffer is a contiguous range of char, unsigned char or std::byte
#include <rouse/rouse.hpp>

#include <cstdint>

void write(rouse::socket<rouse::fibers>& conn, const std::uint32_t& number) {
#ifdef BROKEN
  conn.send(number);
#else
  conn.send({&number, sizeof number});
#endif
}

// expect: rouse: a buffer is a contiguous range of char, unsigned char or std::byte
#include <rouse/rouse.hpp>

#include <string_view>

void write(rouse::socket<rouse::fibers>& conn, const char* text) {
#ifdef BROKEN
  conn.send(text);
#else
  conn.send(std::string_view(text));
#endif
}

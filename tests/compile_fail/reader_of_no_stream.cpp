// expect: rouse: a byte_stream has "recv(mutable_buffer, rest...)"
#include <rouse/rouse.hpp>

struct my_stream : rouse::socket<rouse::fibers> {
#ifdef BROKEN
  void recv(rouse::mutable_buffer);
#endif
};

void read(my_stream& s) { rouse::reader in{s}; }

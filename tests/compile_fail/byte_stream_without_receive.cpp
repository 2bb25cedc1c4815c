// expect: rouse: a byte_stream has "receive(rest...)"
#include <rouse/rouse.hpp>

struct my_stream : rouse::socket<rouse::fibers> {
#ifdef BROKEN
  rouse::loan receive();
#endif
};

static_assert((rouse::explain_byte_stream<my_stream>(), rouse::byte_stream<my_stream>));

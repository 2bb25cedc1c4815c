// expect: rouse: a byte_stream has "recv_exactly(mutable_buffer, rest...)"
#include <rouse/rouse.hpp>

struct my_stream : rouse::socket<rouse::fibers> {
#ifdef BROKEN
  void recv_exactly(rouse::mutable_buffer);
#endif
};

static_assert((rouse::explain_byte_stream<my_stream>(), rouse::byte_stream<my_stream>));

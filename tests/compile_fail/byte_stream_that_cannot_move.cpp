// expect: rouse: a byte_stream can be moved
#include <rouse/rouse.hpp>

struct my_stream : rouse::socket<rouse::fibers> {
#ifdef BROKEN
  my_stream(my_stream&&) = delete;
#endif
};

static_assert((rouse::explain_byte_stream<my_stream>(), rouse::byte_stream<my_stream>));

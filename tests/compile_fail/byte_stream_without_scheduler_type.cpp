// expect: rouse: a byte_stream names its scheduler
#include <rouse/rouse.hpp>

struct my_stream : rouse::socket<rouse::fibers> {
#ifdef BROKEN
  using scheduler_type = void;
#endif
};

static_assert((rouse::explain_byte_stream<my_stream>(), rouse::byte_stream<my_stream>));

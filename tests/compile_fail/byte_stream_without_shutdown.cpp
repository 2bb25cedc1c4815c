// expect: rouse: a byte_stream has "void shutdown(shutdown_how, std::error_code&)"
#include <rouse/rouse.hpp>

struct my_stream : rouse::socket<rouse::fibers> {
#ifdef BROKEN
  void shutdown();
#endif
};

static_assert((rouse::explain_byte_stream<my_stream>(), rouse::byte_stream<my_stream>));

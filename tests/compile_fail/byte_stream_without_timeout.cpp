// expect: rouse: a byte_stream has "void timeout(clock::duration)" and "clock::duration timeout() const"
#include <rouse/rouse.hpp>

struct my_stream : rouse::socket<rouse::fibers> {
#ifdef BROKEN
  void timeout();
#endif
};

static_assert((rouse::explain_byte_stream<my_stream>(), rouse::byte_stream<my_stream>));

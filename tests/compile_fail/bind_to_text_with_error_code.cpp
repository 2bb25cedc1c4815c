// expect: rouse: text is no endpoint yet: write rouse::endpoint::parse("127.0.0.1:3000")
#include <rouse/rouse.hpp>

#include <system_error>

void serve(rouse::socket<rouse::fibers>& conn, std::error_code& ec) {
#ifdef BROKEN
  conn.bind("127.0.0.1:3000", ec);
#else
  conn.bind(rouse::endpoint::parse("127.0.0.1:3000"), ec);
#endif
}

// expect: rouse: a call takes one limit, before an error_code or a handler
#include <rouse/rouse.hpp>

#include <chrono>
#include <system_error>

using namespace std::chrono_literals;

void wait(rouse::flow_handle<rouse::threads>& f) {
  std::error_code ec;
#ifdef BROKEN
  f.join(ec, 5s);
#else
  f.join(5s, ec);
#endif
}

// expect: rouse: a call takes one limit, before an error_code or a handler: write {5s, token}
#include <rouse/rouse.hpp>

#include <chrono>
#include <stop_token>

using namespace std::chrono_literals;

void finish(rouse::flow_handle<rouse::fibers>& f, std::stop_token token) {
#ifdef BROKEN
  f.join(5s, token);
#else
  f.join({5s, token});
#endif
}

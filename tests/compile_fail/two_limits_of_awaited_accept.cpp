// expect: rouse: a call takes one limit, before an error_code or a handler: write {5s, token}
#include <rouse/rouse.hpp>

#include <chrono>
#include <stop_token>

using namespace std::chrono_literals;

rouse::task<> serve(rouse::socket<rouse::coroutines>& listener, std::stop_token token) {
#ifdef BROKEN
  auto conn = co_await listener.accept(token, 5s);
#else
  auto conn = co_await listener.accept({5s, token});
#endif
}

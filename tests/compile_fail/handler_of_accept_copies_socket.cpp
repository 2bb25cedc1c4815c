// expect: rouse: a call of callbacks ends with its handler
#include <rouse/rouse.hpp>

#include <system_error>

using socket_type = rouse::socket<rouse::callbacks>;

void serve(socket_type& listener) {
#ifdef BROKEN
  listener.accept([](std::error_code, socket_type&) {});
#else
  listener.accept([](std::error_code, socket_type) {});
#endif
}

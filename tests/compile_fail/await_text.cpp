// expect: rouse: co_await takes an awaitable
#include <rouse/rouse.hpp>

#include <string>

rouse::task<std::string> text() {
#ifdef BROKEN
  co_return co_await std::string("here");
#else
  co_return std::string("here");
#endif
}

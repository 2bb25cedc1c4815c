// expect: rouse: text is no endpoint yet: write rouse::endpoint::parse("127.0.0.1:3000")
#include <rouse/rouse.hpp>

rouse::endpoint here() {
#ifdef BROKEN
  return rouse::endpoint{"127.0.0.1:3000"};
#else
  return rouse::endpoint::parse("127.0.0.1:3000");
#endif
}

// expect: rouse: a port alone is no endpoint: write {"127.0.0.1", 3000}
#include <rouse/rouse.hpp>

rouse::endpoint here() {
#ifdef BROKEN
  return rouse::endpoint(3000);
#else
  return rouse::endpoint("0.0.0.0", 3000);
#endif
}

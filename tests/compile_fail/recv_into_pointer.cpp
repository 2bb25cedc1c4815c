// expect: rouse: a bare number is no limit: write 5s for a limit, {data, size} for a buffer
#include <rouse/rouse.hpp>

#include <cstddef>

void read(rouse::socket<rouse::fibers>& conn, char* data, std::size_t size) {
#ifdef BROKEN
  conn.recv(data, size);
#else
  conn.recv({data, size});
#endif
}

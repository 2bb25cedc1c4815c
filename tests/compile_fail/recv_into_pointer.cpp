// expect: rouse: a bare number follows: write {data, size} for a buffer, 5s for a limit
#include <rouse/rouse.hpp>

#include <cstddef>

void read(rouse::socket<rouse::fibers>& conn, char* data, std::size_t size) {
#ifdef BROKEN
  conn.recv(data, size);
#else
  conn.recv({data, size});
#endif
}

// expect: rouse: this list of buffers is a temporary
#include <rouse/rouse.hpp>

#include <string>
#include <vector>

rouse::task<> write(rouse::socket<rouse::coroutines>& conn, const std::string& head,
                    const std::string& body) {
#ifdef BROKEN
  co_await conn.send_all(std::vector{rouse::const_buffer(head), rouse::const_buffer(body)});
#else
  const std::vector parts{rouse::const_buffer(head), rouse::const_buffer(body)};
  co_await conn.send_all(parts);
#endif
}

// expect: rouse: this buffer is a temporary: it would be destroyed before the kernel has finished with its bytes
#include <rouse/rouse.hpp>

#include <string>

rouse::task<> write(rouse::socket<rouse::coroutines>& conn, const std::string& head,
                    const std::string& body) {
#ifdef BROKEN
  co_await conn.send_all({head, body + "\r\n"});
#else
  co_await conn.send_all({head, body, "\r\n"});
#endif
}

// The smallest echo, with coroutines.
#include <rouse/rouse.hpp>

static rouse::task<> echo(rouse::socket<rouse::coroutines> conn) {
  char buf[4096];
  std::error_code ec;
  while (const std::size_t n = co_await conn.recv(buf, ec)) {
    co_await conn.send_all({buf, n}, ec);
    if (ec) break;
  }
}

int main() {
  rouse::coroutines sched;
  rouse::socket listener{sched};
  listener.bind({"127.0.0.1", 3000});
  listener.listen();
  sched.spawn([&]() -> rouse::task<> {
    for (;;) sched.spawn(echo(co_await listener.accept()));
  });
  sched.run();
}

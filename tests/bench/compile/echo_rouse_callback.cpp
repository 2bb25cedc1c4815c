// The smallest echo, with callbacks.
#include <rouse/rouse.hpp>

#ifndef SCHEDULER
#define SCHEDULER rouse::callbacks
#endif
using scheduler = SCHEDULER;

struct session {
  rouse::socket<scheduler> conn;
  char buf[4096];

  void read() {
    conn.recv(buf, [this](std::error_code ec, std::size_t n) { ec || n == 0 ? delete this : write(n); });
  }
  void write(std::size_t n) {
    conn.send_all({buf, n}, [this](std::error_code ec, std::size_t) { ec ? delete this : read(); });
  }
};

static void accept(rouse::socket<scheduler>& listener) {
  listener.accept([&](std::error_code ec, rouse::socket<scheduler> conn) {
    if (!ec) (new session{std::move(conn), {}})->read();
    accept(listener);
  });
}

int main() {
  scheduler sched;
  rouse::socket listener{sched};
  listener.bind({"127.0.0.1", 3000});
  listener.listen();
  accept(listener);
  sched.run();
}

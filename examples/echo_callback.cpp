// An echo service in callbacks: a waiting call takes a handler. Compare the other three.
#include <rouse/rouse.hpp>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <system_error>
#include <utility>

using scheduler = rouse::callbacks;

struct connection {
  rouse::socket<scheduler> conn;
  std::array<char, 4096> buf;
};

void echo(std::shared_ptr<connection> self) { // the waiting handler keeps it alive
  self->conn.recv(self->buf, [self](std::error_code failed, std::size_t n) {
    if (failed || n == 0) return; // ends this connection only
    self->conn.send_all({self->buf.data(), n}, [self](std::error_code broken, std::size_t) {
      if (!broken) echo(self);
    });
  });
}

void serve(scheduler& sched, rouse::socket<scheduler>& listener) {
  listener.accept([&](std::error_code ec, rouse::socket<scheduler> conn) {
    if (ec) throw std::system_error(ec, "accept");
    echo(std::make_shared<connection>(std::move(conn)));
    serve(sched, listener);
  });
}

int main(int argc, char** argv) {
  const auto port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 0);
  scheduler sched;
  rouse::socket listener{sched};
  listener.bind({"127.0.0.1", port});
  listener.listen();
  std::cout << "listening on 127.0.0.1:" << listener.local_endpoint().port()
            << ", engine: " << sched.engine_report() << std::endl;
  serve(sched, listener);
  sched.run();
}

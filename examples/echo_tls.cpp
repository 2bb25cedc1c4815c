// An echo server for plain and for TLS connections, from one template: `echo_tls CHAIN KEY [PORT]`.
// CHAIN and KEY are the files of a certificate (PEM).
//
// With `fibers` for `coroutines`, nothing else changes.
#include <rouse/tls.hpp>

#include <array>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <utility>

using scheduler = rouse::coroutines;
using namespace std::chrono_literals;

struct echo {
  template <rouse::byte_stream Stream>
  rouse::task<> operator()(Stream conn) const {
    std::array<char, 4096> buf;
    while (auto n = co_await conn.recv(buf)) co_await conn.send_all({buf.data(), n});
    conn.close();
  }
};

rouse::socket<scheduler> listener_at(scheduler& sched, std::uint16_t port) {
  rouse::socket listener{sched};
  listener.bind({"127.0.0.1", port});
  listener.listen();
  return listener;
}

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: echo_tls CHAIN KEY [PORT]\n";
    return 2;
  }
  const rouse::tls::server_context site{argv[1], argv[2]};
  scheduler sched;
  auto plain_listener =
      listener_at(sched, static_cast<std::uint16_t>(argc > 3 ? std::atoi(argv[3]) : 0));
  auto tls_listener = listener_at(sched, 0);
  std::cout << "TLS on 127.0.0.1:" << tls_listener.local_endpoint().port() << '\n'
            << "listening on 127.0.0.1:" << plain_listener.local_endpoint().port()
            << ", engine: " << sched.engine_report() << std::endl;
  // A peer that leaves in the middle ends its connection only.
  const auto ignore = [](std::exception_ptr, const rouse::endpoint&) {};
  auto plain = rouse::serve(sched, std::move(plain_listener), echo(), {}, ignore);
  auto encrypted =
      rouse::serve(sched, std::move(tls_listener), site, echo(), {.handshake = 5s}, ignore);
  rouse::signals interrupted{sched, {SIGINT, SIGTERM}};
  sched.spawn([&]() -> rouse::task<> {
    co_await interrupted.wait();
    plain.stop();
    encrypted.stop();
  });
  sched.run();
}

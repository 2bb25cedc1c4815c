// An echo service that prints what happens: one fiber per connection, one that accepts, and one
// that waits for Ctrl-C.
#include <rouse/rouse.hpp>

#include <array>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <system_error>
#include <utility>

using rouse::fibers;

void serve(rouse::socket<fibers> client) {
  const rouse::endpoint peer = client.remote_endpoint();
  std::cout << peer << " connected" << std::endl;
  std::array<char, 4096> buf;
  try {
    while (auto n = client.recv(buf)) {
      std::cout << peer << " sent " << n << " bytes" << std::endl;
      client.send_all({buf.data(), n});
    }
    std::cout << peer << " left" << std::endl;
  } catch (const std::system_error& e) {
    std::cout << peer << " left: " << e.code().message() << std::endl;
  }
}

int main(int argc, char** argv) {
  const auto port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 3000);
  fibers sched;
  rouse::socket listener{sched};
  listener.bind({"127.0.0.1", port});
  listener.listen();
  std::cout << "listening on 127.0.0.1:" << listener.local_endpoint().port()
            << ", engine: " << sched.engine_report() << std::endl;
  rouse::tasklet accepting = sched.spawn([&] {
    for (;;) sched.spawn([client = listener.accept()]() mutable { serve(std::move(client)); });
  });
  rouse::signals interrupted{sched, {SIGINT, SIGTERM}};
  sched.spawn([&] {
    interrupted.wait();
    std::cout << "interrupted" << std::endl;
    accepting.kill(); // no further clients are accepted
    sched.stop();
  });
  sched.run();
} // unwinds the remaining fibers, which closes their sockets

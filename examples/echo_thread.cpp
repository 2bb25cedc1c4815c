// An echo service in fibers or threads, which differ in one word. A waiting call simply returns.
#include <rouse/rouse.hpp>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <system_error>
#include <utility>

using scheduler = rouse::threads;

void echo(rouse::socket<scheduler> conn) {
  std::array<char, 4096> buf;
  try {
    while (auto n = conn.recv(buf)) conn.send_all({buf.data(), n});
  } catch (const std::system_error&) {
  } // ends this connection only
}

void serve(scheduler& sched, rouse::socket<scheduler>& listener) {
  for (;;) sched.spawn([conn = listener.accept()]() mutable { echo(std::move(conn)); });
}

int main(int argc, char** argv) {
  const auto port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 0);
  scheduler sched;
  rouse::socket listener{sched};
  listener.bind({"127.0.0.1", port});
  listener.listen();
  std::cout << "listening on 127.0.0.1:" << listener.local_endpoint().port()
            << ", engine: " << sched.engine_report() << std::endl;
  sched.spawn([&] { serve(sched, listener); });
  sched.run();
}

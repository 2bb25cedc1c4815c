// An echo service on every core: each has a thread, a scheduler and a listener, and they share
// nothing. Idle connections hold no buffer.
#include <rouse/rouse.hpp>

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <system_error>

using scheduler = rouse::coroutines;

rouse::task<> echo(rouse::socket<scheduler> conn) {
  try {
    while (auto bytes = co_await conn.receive()) co_await conn.send_all(bytes);
  } catch (const std::system_error&) {
  } // ends this connection only
}

int main(int argc, char** argv) {
  const auto port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 0);
  const auto cores = static_cast<unsigned>(argc > 2 ? std::atoi(argv[2]) : 0); // 0: all
  rouse::per_core<scheduler> server{{"127.0.0.1", port}, cores};
  std::cout << "listening on 127.0.0.1:" << server.local_endpoint().port()
            << ", engine: " << scheduler{}.engine_report() << std::endl;
  server.run(echo);
}

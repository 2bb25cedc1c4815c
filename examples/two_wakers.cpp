// Two wakers on one engine: coroutines echo, and a callback reports once a second. All of it runs
// in one loop on one thread.
#include <rouse/rouse.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <system_error>

using namespace std::chrono_literals;

struct statistics {
  std::size_t connections = 0, bytes = 0;
};

rouse::task<> echo(rouse::socket<rouse::coroutines> conn, statistics& stats) {
  std::array<char, 4096> buf;
  ++stats.connections;
  try {
    while (auto n = co_await conn.recv(buf)) stats.bytes += co_await conn.send_all({buf.data(), n});
  } catch (const std::system_error&) {
  } // ends this connection only
  --stats.connections;
}

rouse::task<> serve(rouse::coroutines& sched, rouse::socket<rouse::coroutines>& listener,
                    statistics& stats) {
  for (;;) sched.spawn(echo(co_await listener.accept(), stats));
}

void report(rouse::callbacks& timers, const statistics& stats) {
  timers.sleep_for(1s, [&](std::error_code ec) {
    if (ec) return;
    std::clog << stats.connections << " connections, " << stats.bytes << " bytes echoed\n";
    report(timers, stats);
  });
}

int main(int argc, char** argv) {
  const auto port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 0);
  statistics stats;
  rouse::coroutines sched;
  rouse::callbacks timers{sched.engine()}; // on the same engine
  rouse::socket listener{sched};
  listener.bind({"127.0.0.1", port});
  listener.listen();
  std::cout << "listening on 127.0.0.1:" << listener.local_endpoint().port()
            << ", engine: " << sched.engine_report() << std::endl;
  sched.spawn(serve(sched, listener, stats));
  report(timers, stats);
  sched.run(); // runs both: they share the loop
}

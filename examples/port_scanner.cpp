// Finds the open TCP ports of a host: `port_scanner HOST FIRST LAST [LIMIT in milliseconds]`.
//
// 200 coroutines try the ports: each takes the next port until none is left.
#include <rouse/rouse.hpp>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <set>
#include <string>
#include <system_error>

using namespace std::chrono_literals;
using scheduler = rouse::coroutines;

constexpr int at_once = 200;

struct scan {
  int next, last; // ports
  std::chrono::milliseconds limit; // per port: a firewall may drop packets silently
  rouse::endpoint host;
  std::set<int> open;
};

rouse::task<> try_ports(scheduler& sched, scan& s) {
  while (s.next <= s.last) {
    rouse::endpoint port = s.host;
    port.port(static_cast<std::uint16_t>(s.next++));
    rouse::socket probe{sched, port.family()};
    std::error_code ec;
    co_await probe.connect(port, s.limit, ec);
    // On this machine, the system may choose the tested port as the local one: then it is not open.
    if (!ec && probe.local_endpoint() != port) s.open.insert(port.port());
  }
}

rouse::task<> begin(scheduler& sched, std::string name, scan& s) {
  s.host = (co_await rouse::resolve(sched, name, 0, 10s)).front();
  std::clog << "scanning " << s.host.address() << ", engine: " << sched.engine_report()
            << std::endl;
  for (int i = 0; i != at_once; ++i) sched.spawn(try_ports(sched, s));
}

int main(int argc, char** argv) {
  const int first = argc > 3 ? std::atoi(argv[2]) : 0, last = argc > 3 ? std::atoi(argv[3]) : 0;
  const int limit = argc > 4 ? std::atoi(argv[4]) : 1000;
  if (first < 1 || last > 65535 || first > last || limit < 1) {
    std::cerr << "usage: port_scanner HOST FIRST LAST [LIMIT in milliseconds]\n";
    return 2;
  }
  try {
    scan s{first, last, std::chrono::milliseconds(limit), {}, {}};
    scheduler sched;
    sched.spawn(begin(sched, argv[1], s));
    sched.run(); // until the last coroutine has ended
    for (const int port : s.open) std::cout << port << '\n';
  } catch (const std::exception& e) {
    std::cerr << "port_scanner: " << e.what() << '\n';
    return 1;
  }
}

// A SOCKS5 proxy (RFC 1928; CONNECT, no authentication): `socks5 [PORT]`.
//
// Each client has two fibers, one per direction: when one side has finished sending, the other side
// learns of it and may continue. Ctrl-C ends the proxy.
#include <rouse/rouse.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using rouse::fibers;
using socket_type = rouse::socket<fibers>;
using bytes = std::vector<unsigned char>;

enum address_type : unsigned char { ipv4 = 1, domain_name = 3, ipv6 = 4 };
enum reply : unsigned char {
  succeeded = 0,
  general_failure = 1,
  network_unreachable = 3,
  host_unreachable = 4,
  connection_refused = 5,
  command_not_supported = 7,
  address_type_not_supported = 8
};

reply reply_for(std::error_code ec) {
  if (!ec) return succeeded;
  if (ec == std::errc::connection_refused) return connection_refused;
  if (ec == std::errc::host_unreachable || ec == std::errc::timed_out) return host_unreachable;
  if (ec.category() == rouse::resolve_category()) return host_unreachable;
  const bool no_way = ec == std::errc::network_unreachable ||
                      ec == std::errc::address_not_available ||
                      ec == std::errc::address_family_not_supported;
  return no_way ? network_unreachable : general_failure;
}

// Receives exactly `n` bytes. Bytes after them stay in the socket for the next call.
bytes take(socket_type& from, std::size_t n, rouse::deadline until) {
  bytes taken(n);
  if (n != 0 && from.recv_exactly(taken, until) != n)
    throw std::runtime_error("the client left before its request");
  return taken;
}

// Whether the client accepts version 5 without authentication.
bool greet(socket_type& client, rouse::deadline until) {
  const bytes hello = take(client, 2, until); // version, number of methods
  const bytes methods = take(client, hello[1], until);
  const bool alike = hello[0] == 5 && std::ranges::count(methods, 0) != 0; // 0: no authentication
  const bytes chosen{5, static_cast<unsigned char>(alike ? 0 : 255)};
  client.send_all(chosen, until);
  return alike;
}

// Connects to the destination that the client requests.
reply connect(fibers& sched, socket_type& client, socket_type& target, rouse::deadline until) {
  const bytes asked = take(client, 4, until); // version, command, 0, type of address
  std::string host;
  if (asked[3] == domain_name) {
    const bytes name = take(client, take(client, 1, until)[0], until);
    host.assign(name.begin(), name.end());
  } else if (asked[3] == ipv4) {
    const bytes a = take(client, 4, until);
    host = rouse::endpoint::ipv4({a[0], a[1], a[2], a[3]}, 0).address();
  } else if (asked[3] == ipv6) {
    std::array<unsigned char, 16> a;
    std::ranges::copy(take(client, a.size(), until), a.begin());
    host = rouse::endpoint::ipv6(a, 0).address();
  } else {
    return address_type_not_supported;
  }
  const bytes port = take(client, 2, until);
  if (asked[1] != 1) return command_not_supported;

  std::error_code ec;
  target = rouse::connect(sched, host, port[0] << 8 | port[1], until, ec);
  return reply_for(ec);
}

void answer(socket_type& client, reply r, const rouse::endpoint& bound, rouse::deadline until) {
  bytes b{5, r, 0, bound.family() == AF_INET6 ? ipv6 : ipv4};
  b.insert(b.end(), bound.bytes().begin(), bound.bytes().end());
  b.push_back(static_cast<unsigned char>(bound.port() >> 8));
  b.push_back(static_cast<unsigned char>(bound.port()));
  client.send_all(b, until);
}

// One direction of a tunnel. Passes the end of the stream on to the other side.
void pump(socket_type& from, socket_type& to) {
  while (auto some = from.receive()) to.send_all(some);
  to.shutdown(rouse::shutdown_send);
}

void serve_client(fibers& sched, socket_type client) {
  socket_type target;
  const rouse::deadline until = 30s;
  if (!greet(client, until)) return;
  const reply r = connect(sched, client, target, until);
  answer(client, r, r ? rouse::endpoint("0.0.0.0", 0) : target.local_endpoint(), until);
  if (r != succeeded) return;
  for (socket_type* s : {&client, &target}) {
    s->set_option(rouse::tcp_no_delay{true}); // sends small pieces at once
    s->set_option(rouse::keep_alive{true}); // a tunnel may be silent, but not dead
  }
  rouse::flow_group both{sched}; // if one direction fails, both end
  both.spawn([&] { pump(client, target); });
  both.spawn([&] { pump(target, client); });
  both.join();
}

void report(std::exception_ptr thrown, const rouse::endpoint& peer) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::exception& e) {
    std::clog << peer << ": " << e.what() << '\n';
  }
}

int main(int argc, char** argv) {
  const auto port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 1080);
  fibers sched;
  rouse::socket listener{sched};
  listener.bind({"127.0.0.1", port});
  listener.listen();
  std::cout << "listening on 127.0.0.1:" << listener.local_endpoint().port()
            << ", engine: " << sched.engine_report() << std::endl;
  auto service = rouse::serve(
      sched, std::move(listener), [&](socket_type conn) { serve_client(sched, std::move(conn)); },
      {.connections = 1000}, report);
  rouse::signals interrupted{sched, {SIGINT, SIGTERM}};
  sched.spawn([&] {
    interrupted.wait();
    service.stop(); // cancels all tunnels
    service.join();
  });
  sched.run();
}

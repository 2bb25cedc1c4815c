// The Time Protocol over UDP (RFC 868): each datagram, even an empty one, is answered with the
// time, as 32 bits of seconds since 1900.
#include <rouse/rouse.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <system_error>

using scheduler = rouse::fibers; // or rouse::threads: nothing else changes

static std::array<unsigned char, 4> now() {
  using namespace std::chrono;
  constexpr std::int64_t from_1900_to_1970 = 2'208'988'800;
  const auto since_1970 = duration_cast<seconds>(system_clock::now().time_since_epoch()).count();
  const auto t = static_cast<std::uint32_t>(since_1970 + from_1900_to_1970);
  return {static_cast<unsigned char>(t >> 24), static_cast<unsigned char>(t >> 16),
          static_cast<unsigned char>(t >> 8), static_cast<unsigned char>(t)};
}

int main(int argc, char** argv) {
  const auto port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 0);
  scheduler sched;
  rouse::socket s{sched, AF_INET, SOCK_DGRAM};
  s.bind({"127.0.0.1", port});
  std::cout << "listening on 127.0.0.1:" << s.local_endpoint().port()
            << ", engine: " << sched.engine_report() << std::endl;
  sched.spawn([&] {
    std::array<char, 1> anything;
    for (;;) {
      std::error_code ec; // a truncated request does not matter here
      const auto [n, from] = s.recv_from(anything, ec);
      if (ec && ec != std::errc::message_size) continue;
      const auto answer = now();
      s.send_to(answer, from, ec); // a failure concerns this client only
    }
  });
  sched.run();
}

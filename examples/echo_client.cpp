// Measures an echo service and checks every byte that comes back:
//
//   echo_client PORT [connections=64] [rounds=200] [bytes=64]
//
// One coroutine per connection: it sends a message, waits for the whole reply, and sends the next.
#include <rouse/rouse.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <string>
#include <system_error>
#include <vector>

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;
using scheduler = rouse::coroutines;

constexpr auto patience = 30s; // a slower reply is a failure

struct statistics {
  std::vector<double> latencies; // microseconds
  std::size_t errors = 0;

  void failed(const char* what, const std::string& why) {
    if (++errors <= 5) std::cerr << "echo_client: " << what << ": " << why << '\n';
  }
  [[nodiscard]] double percentile(double p) const { // of sorted latencies
    if (latencies.empty()) return 0;
    const auto last = latencies.size() - 1;
    const double rank = p * static_cast<double>(latencies.size());
    return latencies[std::min(last, static_cast<std::size_t>(rank))];
  }
};

// Bytes that differ between messages and within each message.
void fill(std::string& message, std::uint64_t seed) {
  std::uint64_t x = (seed + 1) * 0x9e3779b97f4a7c15u;
  for (char& c : message) {
    x = x * 6364136223846793005u + 1442695040888963407u;
    c = static_cast<char>(x >> 56);
  }
}

rouse::task<> connect(rouse::socket<scheduler>& conn, rouse::endpoint server, statistics& stats) {
  std::error_code ec;
  co_await conn.connect(server, patience, ec);
  if (ec)
    stats.failed("connect", ec.message());
  else
    conn.set_option(rouse::tcp_no_delay{true});
}

rouse::task<> say(rouse::socket<scheduler>& conn, const std::string& message, std::error_code& ec) {
  co_await conn.send_all(message, patience, ec);
}

// Sends and receives at the same time, because a long message returns before all of it is sent.
rouse::task<bool> exchange(scheduler& sched, rouse::socket<scheduler>& conn,
                           const std::string& message, std::string& answer, statistics& stats) {
  std::error_code sent, received;
  auto saying = sched.spawn(say(conn, message, sent));
  const auto n = co_await conn.recv_exactly(answer, patience, received);
  if (received || n != answer.size()) conn.cancel();
  co_await saying.join();
  if (received)
    stats.failed("recv", received.message());
  else if (n != answer.size())
    stats.failed("recv", "the stream ended early");
  else if (sent)
    stats.failed("send", sent.message());
  else if (answer != message)
    stats.failed("echo", "other bytes came back");
  else
    co_return true;
  co_return false;
}

rouse::task<> talk(scheduler& sched, rouse::socket<scheduler>& conn, std::uint64_t seed,
                   std::size_t rounds, std::size_t bytes, statistics& stats) {
  std::string message(bytes, '\0'), answer(bytes, '\0');
  for (std::size_t round = 0; round != rounds; ++round) {
    fill(message, seed * rounds + round);
    const auto begin = clock_type::now();
    if (!co_await exchange(sched, conn, message, answer, stats)) co_return;
    const std::chrono::duration<double, std::micro> latency = clock_type::now() - begin;
    stats.latencies.push_back(latency.count());
  }
  std::error_code ec;
  conn.shutdown(rouse::shutdown_send, ec);
  if (const auto n = co_await conn.recv(answer, patience, ec); ec || n != 0) {
    stats.failed("end", ec ? ec.message() : "bytes came after the last message");
  }
}

int main(int argc, char** argv) {
  const auto argument = [&](int i, std::size_t otherwise) -> std::size_t {
    return argc > i ? std::strtoul(argv[i], nullptr, 10) : otherwise;
  };
  const std::size_t connections = argument(2, 64), rounds = argument(3, 200),
                    bytes = argument(4, 64);
  if (argc < 2 || bytes == 0) {
    std::cerr << "usage: echo_client PORT [connections=64] [rounds=200] [bytes=64]\n";
    return 2;
  }

  scheduler sched;
  statistics stats;
  stats.latencies.reserve(connections * rounds);
  const rouse::endpoint server{"127.0.0.1", static_cast<std::uint16_t>(argument(1, 0))};
  std::vector<rouse::socket<scheduler>> conns;
  for (std::size_t i = 0; i != connections; ++i) conns.emplace_back(sched);
  for (auto& conn : conns) sched.spawn(connect(conn, server, stats));
  sched.run();

  const auto begin = clock_type::now();
  if (stats.errors == 0) {
    for (std::size_t i = 0; i != connections; ++i) {
      sched.spawn(talk(sched, conns[i], i, rounds, bytes, stats));
    }
    sched.run();
  }
  const double seconds = std::chrono::duration<double>(clock_type::now() - begin).count();

  const std::size_t requests = stats.latencies.size();
  std::sort(stats.latencies.begin(), stats.latencies.end());
  std::cout << std::fixed << std::setprecision(0) << "connections=" << connections
            << " requests=" << requests
            << " requests_per_second=" << static_cast<double>(requests) / seconds
            << " p50_us=" << stats.percentile(0.5) << " p99_us=" << stats.percentile(0.99)
            << " p99.9_us=" << stats.percentile(0.999) << " max_us=" << stats.percentile(1)
            << " errors=" << stats.errors << std::endl;
  return stats.errors == 0 && requests == connections * rounds ? 0 : 1;
}

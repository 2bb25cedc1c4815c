// Many connections at once, with random cancels, limits, resets and half-closes: `chaos CONNECTIONS
// SECONDS`. What is received must be what was sent, byte for byte; at the end no descriptor and no
// memory is left over.
#include <rouse/rouse.hpp>

#include <dirent.h>
#include <malloc.h>
#include <sys/resource.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <span>
#include <system_error>
#include <thread>

namespace {

using namespace std::chrono_literals;
using scheduler = rouse::coroutines;
using socket_type = rouse::socket<scheduler>;
using rouse::task;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

std::minstd_rand dice{20};
unsigned one_in(unsigned n) { return dice() % n == 0; }

struct totals {
  std::uint64_t connections = 0, resets = 0, closes = 0, bytes = 0, limits = 0, cancels = 0;
} total;

// One direction of a connection. Its byte number k has a value of its own, nearly.
struct direction {
  std::uint64_t seed = dice();
  std::uint64_t sent = 0, received = 0;
  [[nodiscard]] char byte(std::uint64_t k) const {
    return static_cast<char>((seed + k) * 0x9E3779B97F4A7C15u >> 56);
  }
};

struct connection {
  std::array<socket_type, 2> ends;
  std::array<direction, 2> ways; // by the sending end
  bool whole = true; // not reset or closed in the middle
  int flows = 0;
};

rouse::limit some_limit() {
  switch (dice() % 4) {
  case 0:
    return std::chrono::microseconds(dice() % 3000);
  case 1:
    return 0s;
  default:
    return 60s;
  }
}

// Whether the connection can go on after this.
bool passing(std::error_code ec) {
  if (ec == std::errc::timed_out) return ++total.limits, true;
  if (ec == std::errc::operation_canceled) return ++total.cancels, true;
  return !ec;
}

class chaos {
public:
  chaos(std::size_t connections, std::chrono::seconds time)
      : most_(connections), until_(std::chrono::steady_clock::now() + time) {}

  void run() {
    sched_.spawn(dial());
    sched_.run();
    require(live_ == 0, "every connection has ended");
    require(sched_.engine().active() == 0, "nothing is pending");
  }

private:
  [[nodiscard]] bool over() const { return std::chrono::steady_clock::now() > until_; }

  task<> dial() {
    socket_type listener{sched_};
    listener.bind({"127.0.0.1", 0});
    listener.listen();
    while (!over()) {
      if (live_ == most_) {
        co_await sched_.sleep_for(1ms);
        continue;
      }
      auto c = std::make_shared<connection>();
      c->ends[0] = socket_type{sched_};
      std::error_code ec;
      co_await c->ends[0].connect(listener.local_endpoint(), ec);
      if (ec == std::errc::address_not_available) { // no port is free: those just closed rest
        co_await sched_.sleep_for(10ms);
        continue;
      }
      require(!ec, "connected");
      c->ends[1] = co_await listener.accept();
      ++live_;
      ++total.connections;
      for (std::size_t end : {0u, 1u}) {
        c->flows += 2;
        sched_.spawn(write(c, end));
        sched_.spawn(read(c, end));
      }
      ++c->flows;
      sched_.spawn(disturb(c));
    }
  }

  task<> write(std::shared_ptr<connection> c, std::size_t end) {
    direction& way = c->ways[end];
    socket_type& s = c->ends[end];
    std::array<char, 1000> bytes;
    std::error_code ec;
    do {
      const std::size_t size = 1 + dice() % bytes.size();
      for (std::size_t i = 0; i != size; ++i) bytes[i] = way.byte(way.sent + i);
      way.sent += co_await s.send_all(std::span(bytes).first(size), some_limit(), ec);
      if (one_in(8)) co_await sched_.sleep_for(std::chrono::milliseconds(dice() % 20), ec);
    } while (passing(ec) && !over() && !one_in(40));
    s.shutdown(rouse::shutdown_send, ec);
    leave(*c);
  }

  task<> read(std::shared_ptr<connection> c, std::size_t end) {
    direction& way = c->ways[1 - end];
    socket_type& s = c->ends[end];
    std::array<char, 1500> room;
    std::error_code ec;
    std::size_t n = 0;
    do {
      n = co_await s.recv(std::span(room).first(1 + dice() % room.size()), some_limit(), ec);
      for (std::size_t i = 0; i != n; ++i)
        require(room[i] == way.byte(way.received + i), "each byte comes once, and in order");
      way.received += n;
    } while (passing(ec) && (n != 0 || ec));
    if (ec) require(!c->whole, "only a reset or a close ends a connection before its end");
    leave(*c);
  }

  // Cancels now and then; some connections are reset or closed.
  task<> disturb(std::shared_ptr<connection> c) {
    for (unsigned times = dice() % 8; times != 0; --times) {
      std::error_code ec;
      co_await sched_.sleep_for(std::chrono::milliseconds(dice() % 30), ec);
      c->ends[dice() % 2].cancel();
    }
    if (one_in(6)) {
      socket_type& s = c->ends[dice() % 2];
      std::error_code ec;
      c->whole = false;
      if (one_in(2)) s.set_option(rouse::linger(true, 0s), ec), ++total.resets;
      ++total.closes;
      s.close();
    }
    leave(*c);
  }

  void leave(connection& c) {
    if (--c.flows != 0) return;
    --live_;
    for (const direction& way : c.ways) {
      total.bytes += way.received;
      require(way.received <= way.sent, "no byte comes from nowhere");
      require(!c.whole || way.received == way.sent, "no byte is lost");
    }
  }

  const std::size_t most_;
  const std::chrono::steady_clock::time_point until_;
  scheduler sched_;
  std::size_t live_ = 0;
};

std::size_t open_descriptors() {
  std::size_t n = 0;
  DIR* const folder = ::opendir("/proc/self/fd");
  while (::readdir(folder)) ++n;
  ::closedir(folder);
  return n;
}

// In a thread of its own, whose caches go with it.
void in_thread(std::size_t connections, std::chrono::seconds time) {
  std::thread([=] { chaos(connections, time).run(); }).join();
}

} // namespace

int main(int count, char** arguments) {
  const auto number = [&](int i, long otherwise) {
    return count > i ? std::strtol(arguments[i], nullptr, 10) : otherwise;
  };
  const auto connections = static_cast<std::size_t>(number(1, 1000));
  const rlimit enough{connections * 2 + 100, connections * 2 + 100};
  require(::setrlimit(RLIMIT_NOFILE, &enough) == 0, "the process may have that many descriptors");

  in_thread(10, 0s); // what the system and the library allocate once
  const std::size_t descriptors = open_descriptors(), memory = ::mallinfo2().uordblks;
  in_thread(connections, std::chrono::seconds(number(2, 5)));
  require(open_descriptors() == descriptors, "no descriptor is left");
  const std::size_t left = ::mallinfo2().uordblks;
  std::printf(
      "%llu connections, %llu bytes, %llu closed (%llu reset), %llu limits, %llu cancels; "
      "%zu bytes of memory before, %zu after\n",
      static_cast<unsigned long long>(total.connections),
      static_cast<unsigned long long>(total.bytes), static_cast<unsigned long long>(total.closes),
      static_cast<unsigned long long>(total.resets), static_cast<unsigned long long>(total.limits),
      static_cast<unsigned long long>(total.cancels), memory, left);
  require(left <= memory + 4096, "no memory is left");
}

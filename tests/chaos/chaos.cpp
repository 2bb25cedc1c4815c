// Many connections at once, with random cancels, limits, resets and half-closes: `chaos CONNECTIONS
// SECONDS`. The received bytes must be the sent bytes, and at the end no descriptor and no memory
// is left. The two sides are threads with descriptor tables of their own, so that there may be as
// many connections as a process may have descriptors.
#include <rouse/rouse.hpp>

#include <dirent.h>
#include <malloc.h>
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <random>
#include <span>
#include <system_error>
#include <thread>
#include <utility>

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

thread_local std::minstd_rand dice;
unsigned one_in(unsigned n) { return dice() % n == 0; }

struct totals {
  std::atomic<unsigned long long> connections, resets, closes, bytes, limits, cancels;
} total;

// One direction of a connection. Its bytes follow from their index.
struct direction {
  std::uint64_t seed = dice();
  std::uint64_t sent = 0; // counted by the sender
  std::uint64_t received = 0; // counted by the receiver
  [[nodiscard]] char byte(std::uint64_t k) const {
    return static_cast<char>((seed + k) * 0x9E3779B97F4A7C15u >> 56);
  }
};

// The state that both sides share.
struct connection {
  std::array<direction, 2> ways; // index: the sending side
  std::atomic<bool> whole{true}; // neither reset nor closed early
  std::atomic<int> ends{2};
};
using arrival = std::shared_ptr<connection>;

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

// Whether the connection can continue after this error.
bool passing(std::error_code ec) {
  if (ec == std::errc::timed_out) return ++total.limits, true;
  if (ec == std::errc::operation_canceled) return ++total.cancels, true;
  return !ec;
}

class queue {
public:
  void push(arrival c) {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(c));
  }
  arrival pop() {
    const std::lock_guard lock(mutex_);
    require(!waiting_.empty(), "an accepted connection was dialled before");
    arrival c = std::move(waiting_.front());
    waiting_.pop_front();
    return c;
  }

private:
  std::mutex mutex_;
  std::deque<arrival> waiting_;
};

struct trial {
  std::size_t most; // connections at once
  std::chrono::steady_clock::time_point until;
  std::atomic<std::size_t> live{0};
  std::size_t peak = 0; // of `live`, on the dialling side
  queue dialled{}; // and not yet answered
  std::atomic<bool> dialling{true};
  [[nodiscard]] bool over() const { return std::chrono::steady_clock::now() > until; }
};

// One side: it has one end of each connection.
class side {
public:
  side(trial& t, std::size_t number) : trial_(t), number_(number) {}

  [[nodiscard]] scheduler& sched() { return sched_; }
  void run() {
    sched_.run();
    require(sched_.engine().active() == 0, "no operation is pending");
  }

  task<> dial(rouse::endpoint peer) {
    while (!trial_.over()) {
      if (trial_.live == trial_.most) {
        co_await sched_.sleep_for(1ms);
        continue;
      }
      socket_type s{sched_};
      auto c = std::make_shared<connection>();
      trial_.dialled.push(c);
      std::error_code ec;
      co_await s.connect(peer, ec);
      if (ec == std::errc::address_not_available) { // no free port: recently closed ones linger
        (void)trial_.dialled.pop();
        co_await sched_.sleep_for(10ms);
        continue;
      }
      require(!ec || !c->whole, "connect fails only after a reset");
      trial_.peak = std::max(trial_.peak, ++trial_.live);
      ++total.connections;
      begin(std::move(c), std::move(s));
    }
    trial_.dialling = false;
  }

  // Connections arrive in the order in which the other side dials. (The other side cannot wake this
  // one: its descriptors are unknown here.)
  task<> answer(socket_type listener) {
    bool last = false;
    std::error_code ec;
    do {
      last = !trial_.dialling;
      socket_type s = co_await listener.accept(10ms, ec);
      if (!ec) begin(trial_.dialled.pop(), std::move(s));
    } while (!ec || !last);
  }

private:
  struct end {
    arrival c;
    socket_type s;
    int flows = 3;
  };

  void begin(arrival c, socket_type s) {
    auto e = std::make_shared<end>(std::move(c), std::move(s));
    sched_.spawn(write(e));
    sched_.spawn(read(e));
    sched_.spawn(disturb(e));
  }

  // A longer time if there are more connections.
  [[nodiscard]] std::chrono::milliseconds a_while() const {
    return std::chrono::milliseconds(dice() % (20 + trial_.most));
  }

  task<> write(std::shared_ptr<end> e) {
    direction& way = e->c->ways[number_];
    std::array<char, 1000> bytes;
    std::error_code ec;
    do {
      const std::size_t size = 1 + dice() % bytes.size();
      for (std::size_t i = 0; i != size; ++i) bytes[i] = way.byte(way.sent + i);
      way.sent += co_await e->s.send_all(std::span(bytes).first(size), some_limit(), ec);
      if (one_in(8)) co_await sched_.sleep_for(a_while(), ec);
    } while (passing(ec) && !trial_.over() && !one_in(40));
    e->s.shutdown(rouse::shutdown_send, ec);
    leave(*e);
  }

  task<> read(std::shared_ptr<end> e) {
    direction& way = e->c->ways[1 - number_];
    std::array<char, 1500> room;
    std::error_code ec;
    std::size_t n = 0;
    do {
      n = co_await e->s.recv(std::span(room).first(1 + dice() % room.size()), some_limit(), ec);
      for (std::size_t i = 0; i != n; ++i)
        require(room[i] == way.byte(way.received + i), "each byte arrives once and in order");
      way.received += n;
    } while (passing(ec) && (n != 0 || ec));
    if (ec) require(!e->c->whole, "only a reset or a close ends a connection early");
    leave(*e);
  }

  // Cancels now and then; resets or closes some connections.
  task<> disturb(std::shared_ptr<end> e) {
    for (unsigned times = dice() % 4; times != 0; --times) {
      std::error_code ec;
      co_await sched_.sleep_for(a_while(), ec);
      e->s.cancel();
    }
    if (one_in(12)) {
      std::error_code ec;
      e->c->whole = false;
      if (one_in(2)) e->s.set_option(rouse::linger(true, 0s), ec), ++total.resets;
      ++total.closes;
      e->s.close();
    }
    leave(*e);
  }

  void leave(end& e) {
    if (--e.flows != 0 || --e.c->ends != 0) return;
    --trial_.live;
    for (const direction& way : e.c->ways) {
      total.bytes += way.received;
      require(way.received <= way.sent, "no more bytes arrive than were sent");
      require(!e.c->whole || way.received == way.sent, "no byte is lost");
    }
  }

  trial& trial_;
  const std::size_t number_; // 0 dials, 1 answers
  scheduler sched_;
};

// Of the thread's own table.
std::size_t open_descriptors() {
  std::size_t n = 0;
  DIR* const folder = ::opendir("/proc/thread-self/fd");
  while (::readdir(folder)) ++n;
  ::closedir(folder);
  return n;
}

template <class F>
std::thread with_descriptors_of_its_own(F f) {
  return std::thread([f = std::move(f)]() mutable {
    require(::unshare(CLONE_FILES) == 0, "unshare() succeeds");
    {
      const scheduler first;
    } // an emulated kernel keeps a descriptor from its first use on
    const std::size_t before = open_descriptors();
    f();
    require(open_descriptors() == before, "no descriptor is left");
  });
}

// Runs on threads of its own, so that their caches are freed. @returns the peak number of
// connections.
std::size_t run(std::size_t connections, std::chrono::seconds time) {
  trial all{connections, std::chrono::steady_clock::now() + time};
  std::promise<rouse::endpoint> listens;
  std::thread answering = with_descriptors_of_its_own([&] {
    side s(all, 1);
    socket_type listener{s.sched()};
    listener.bind({"127.0.0.1", 0});
    listener.listen();
    listens.set_value(listener.local_endpoint());
    s.sched().spawn(s.answer(std::move(listener)));
    s.run();
  });
  std::thread dialing = with_descriptors_of_its_own([&] {
    side s(all, 0);
    s.sched().spawn(s.dial(listens.get_future().get()));
    s.run();
  });
  dialing.join();
  answering.join();
  require(all.live == 0, "every connection has ended");
  return all.peak;
}

} // namespace

int main(int count, char** arguments) {
  const auto number = [&](int i, long otherwise) {
    return count > i ? std::strtol(arguments[i], nullptr, 10) : otherwise;
  };
  const auto connections = static_cast<std::size_t>(number(1, 1000));
  const rlimit enough{connections + 100, connections + 100};
  require(::setrlimit(RLIMIT_NOFILE, &enough) == 0, "setrlimit() succeeds");

  run(10, 0s); // the system's and the library's one-time allocations
  const std::size_t memory = ::mallinfo2().uordblks;
  const std::size_t peak = run(connections, std::chrono::seconds(number(2, 5)));
  const std::size_t left = ::mallinfo2().uordblks;
  std::printf("%llu connections, %zu at once, %llu bytes, %llu closed (%llu reset), %llu limits, "
              "%llu cancels; "
              "%zu bytes of memory before, %zu after\n",
              total.connections.load(), peak, total.bytes.load(), total.closes.load(),
              total.resets.load(), total.limits.load(), total.cancels.load(), memory, left);
  require(left <= memory + 4096, "no memory is left");
}

// No call allocates after a warm-up, with any waker, and an idle connection needs little memory.
// (Not under ThreadSanitizer: its own operator new cannot be replaced.)
#include <support/testing.hpp>

#if !ROUSE_TSAN
#include <support/counted_allocations.hpp>

#if ROUSE_LINUX
#include <algorithm>
#include <sys/socket.h>
#include <unistd.h>
#endif

using namespace testing;

namespace {

constexpr int warm_up = 50, measured = 500;

// Each kind of call once: written once for all schedulers with flows.
template <class S>
rouse::task<> one_of_each(connected_pair<S>& pair, std::stop_token token) {
  std::array<char, 16> buf;
  std::error_code ec;
  (void)co_await pair.client.send_all("ping");
  (void)co_await pair.server.recv_exactly(std::span(buf).first(4), 1h);
  (void)co_await pair.server.send("pong", {1h, token});
  (void)co_await pair.client.recv(buf, token);
  (void)co_await pair.client.send("lent");
  (void)co_await pair.server.receive();
  (void)co_await pair.client.recv(buf, 0s, ec);
  CHECK(ec == std::errc::timed_out);
  co_await pair.sched.yield();
  co_await pair.sched.sleep_for(0s);
  // With threads, the block of a posted function moves to the thread that runs it.
  if constexpr (!is_threads<S>) pair.sched.post([] {});
  rouse::socket<S> fresh{pair.sched};
  co_await fresh.connect(pair.listener.local_endpoint());
  rouse::socket<S> accepted = co_await pair.listener.accept();
}

template <class S>
rouse::task<> count(connected_pair<S>& pair, std::size_t& counted) {
  std::stop_source source;
  for (int i = 0; i != warm_up; ++i) co_await one_of_each(pair, source.get_token());
  const std::size_t before = allocations;
  for (int i = 0; i != measured; ++i) co_await one_of_each(pair, source.get_token());
  counted = allocations - before;
}

// The same as a chain of handlers.
struct handlers {
  connected_pair<rouse::callbacks>& pair;
  std::array<char, 16> buf{};
  rouse::socket<rouse::callbacks> fresh{pair.sched}, accepted{pair.sched};
  int rounds = 0;
  std::size_t before = 0, counted = 0;

  void ping() {
    if (rounds == warm_up) before = allocations;
    if (rounds++ == warm_up + measured) {
      counted = allocations - before;
      return;
    }
    pair.client.send_all("ping", [this](std::error_code, std::size_t) { pong(); });
  }
  void pong() {
    pair.server.recv(buf, 1h, [this](std::error_code, std::size_t n) {
      pair.server.send_all(std::span(buf).first(n), [this](std::error_code, std::size_t) {
        pair.client.recv_exactly(std::span(buf).first(4),
                                 [this](std::error_code, std::size_t) { receive(); });
      });
    });
  }
  void receive() {
    pair.client.send("lent", [this](std::error_code, std::size_t) {
      pair.server.receive([this](std::error_code, rouse::loan) { time_out(); });
    });
  }
  void time_out() {
    pair.client.recv(buf, 0s, [this](std::error_code ec, std::size_t) {
      CHECK(ec == std::errc::timed_out);
      pair.sched.yield([this](std::error_code) {
        pair.sched.sleep_for(0s, [this](std::error_code) { connect(); });
      });
    });
  }
  void connect() {
    fresh = rouse::socket<rouse::callbacks>{pair.sched};
    fresh.connect(pair.listener.local_endpoint(), [this](std::error_code ec) {
      CHECK(!ec);
      pair.listener.accept([this](std::error_code, rouse::socket<rouse::callbacks> s) {
        accepted = std::move(s);
        pair.sched.post([this] { ping(); });
      });
    });
  }
};

#if ROUSE_LINUX
// Many sockets that all have messages at once: those that their receives wait for, and others that
// the next receives find.
struct bursts {
  static constexpr std::size_t sockets = 400;
  rouse::clock::replacement time{rouse::clock::now()};
  rouse::coroutines sched;
  std::vector<int> peers;
  std::vector<std::string> got;
  std::string sent;

  bursts() : got(sockets) {
    for (std::string& g : got) {
      int ends[2];
      REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
      peers.push_back(ends[1]);
      g.reserve(5000);
      sched.spawn(read(rouse::socket<rouse::coroutines>::adopt(sched, ends[0]), g));
    }
    sent.reserve(5000);
    sched.poll();
  }
  ~bursts() {
    for (const int fd : peers) ::close(fd);
    sched.run();
  }
  static rouse::task<> read(rouse::socket<rouse::coroutines> s, std::string& got) {
    while (const auto bytes = co_await s.receive()) got += bytes.text();
  }
  // Returns the number of allocations.
  std::size_t run(int count) {
    const std::size_t before = allocations;
    for (int i = 0; i != count; ++i) {
      for (const char* const text : {"one,", "two,", "three;"}) {
        for (const int fd : peers) (void)::send(fd, text, std::strlen(text), MSG_NOSIGNAL);
        sent += text;
      }
      while (std::any_of(got.begin(), got.end(), [&](auto& g) { return g.size() < sent.size(); }))
        sched.run_once();
    }
    return allocations - before;
  }
  // Once a second the engine gives back what it did not need.
  void pass_seconds(int count) {
    for (int i = 0; i != count; ++i) {
      time.advance_to(rouse::clock::now() + 1s);
      sched.poll();
    }
  }
};

// The memory of an idle connection, which waits in recv. The buffer is the program's and static.
// @param begin  starts the recv on a socket.
template <class S, class Begin>
std::size_t bytes_of_idle_connection(S& sched, Begin begin) {
  constexpr std::size_t connections = 100;
  rouse::callbacks others;
  std::vector<rouse::socket<rouse::callbacks>> peers;
  std::size_t total = 0;
  for (std::size_t i = 0; i <= connections; ++i) {
    auto [peer, end] = rouse::socket_pair(others);
    const auto handle = end.release();
    peers.push_back(std::move(peer));
    const std::size_t elsewhere = allocated_bytes;
    begin(rouse::socket<S>::adopt(sched, handle));
    sched.poll();
    sched.poll();
    if (i != 0) total += allocated_bytes - elsewhere; // not what the first call of a loop needs
  }
  return total / connections;
}

std::array<char, 64> shared_buffer;

rouse::task<> echo(rouse::socket<rouse::coroutines> conn) {
  while (const std::size_t n = co_await conn.recv(shared_buffer))
    co_await conn.send_all({shared_buffer.data(), n});
}
#endif

} // namespace

#if ROUSE_LINUX
TEST_CASE("receive: io_uring has more buffers while many sockets have bytes at once",
          "[stress][allocations][receive]") {
  bursts b;
  if (b.sched.engine_report().rfind("io_uring (single", 0) != 0) {
    WARN("skipped: another engine keeps no more buffers");
    return;
  }
  CHECK(b.run(5) != 0);
  CHECK(b.run(20) == 0);
  b.pass_seconds(1); // the burst was within that second
  CHECK(b.run(1) == 0);
  b.pass_seconds(2);
  CHECK(b.run(5) != 0);
  CHECK(b.run(20) == 0);
  for (const std::string& g : b.got) CHECK(g == b.sent);
}
#endif

TEMPLATE_LIST_TEST_CASE("no call allocates after a warm-up", "[stress][allocations]",
                        every_flowing) {
  connected_pair<TestType> pair;
  pair.client.set_option(rouse::tcp_no_delay{true});
  std::size_t counted = 1;
  pair.sched.spawn(count(pair, counted));
  pair.sched.run();
  CHECK(counted == 0);
}

TEST_CASE("no call allocates after a warm-up: handlers", "[stress][allocations]") {
  connected_pair<rouse::callbacks> pair;
  pair.client.set_option(rouse::tcp_no_delay{true});
  handlers h{pair};
  h.ping();
  pair.sched.run();
  CHECK(h.rounds == warm_up + measured + 1);
  CHECK(h.counted == 0);
}

#if ROUSE_LINUX && defined(__LP64__)
TEST_CASE("an idle connection needs at most 300 bytes: handlers", "[stress][allocations][P05]") {
  if (ROUSE_KQUEUE) {
    WARN("skipped: the emulation of kqueue allocates in the same process");
    return;
  }
  rouse::callbacks sched;
  std::vector<rouse::socket<rouse::callbacks>> open;
  open.reserve(200);
  const std::size_t bytes = bytes_of_idle_connection(sched, [&](auto conn) {
    open.push_back(std::move(conn));
    open.back().recv(shared_buffer, [&open](std::error_code, std::size_t) { open.clear(); });
  });
  CHECK(bytes <= 300);
}

TEST_CASE("an idle connection needs at most 760 bytes: coroutines", "[stress][allocations][P05]") {
  if (ROUSE_KQUEUE) {
    WARN("skipped: the emulation of kqueue allocates in the same process");
    return;
  }
  rouse::coroutines sched;
  const std::size_t bytes =
      bytes_of_idle_connection(sched, [&](auto conn) { sched.spawn(echo(std::move(conn))); });
  CHECK(bytes <= 760);
}
#endif
#endif

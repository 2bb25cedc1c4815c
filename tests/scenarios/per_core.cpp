// per_core: a scheduler on each core; and accept_native, which it uses.
#include <support/testing.hpp>

#include <algorithm>
#include <mutex>
#include <set>

using namespace testing;

namespace {

// Counts connections and records the threads that serve them.
struct served {
  std::mutex mutex;
  std::set<std::thread::id> threads;
  std::atomic<int> connections{0};

  void note() {
    const std::lock_guard lock(mutex);
    threads.insert(std::this_thread::get_id());
    ++connections;
  }
};

template <class S>
rouse::task<> echo(rouse::socket<S> conn, served& seen) {
  seen.note();
  std::array<char, 64> buf;
  std::error_code ec;
  while (const std::size_t n = co_await conn.recv(buf, ec))
    (void)co_await conn.send_all({buf.data(), n}, ec);
}

// A connection of callbacks that echoes one message.
struct session {
  rouse::socket<rouse::callbacks> conn;
  std::array<char, 64> buf{};
  void begin(std::shared_ptr<session> self) {
    conn.recv(buf, [self](std::error_code, std::size_t n) {
      if (n == 0) return;
      self->conn.send_all({self->buf.data(), n}, [self](std::error_code ec, std::size_t) {
        if (!ec) self->begin(self);
      });
    });
  }
};

template <class S>
void run(rouse::per_core<S>& server, served& seen) {
  if constexpr (calls_back<S>) {
    server.run([&seen](rouse::socket<S> conn) {
      seen.note();
      auto s = std::make_shared<session>(std::move(conn));
      s->begin(s);
    });
  } else if constexpr (awaits<S>) {
    server.run([&seen](rouse::socket<S> conn) { return echo(std::move(conn), seen); });
  } else {
    server.run([&seen](rouse::socket<S> conn) {
      seen.note();
      std::array<char, 64> buf;
      std::error_code ec;
      while (const std::size_t n = conn.recv(buf, ec)) (void)conn.send_all({buf.data(), n}, ec);
    });
  }
}

// Connects and checks that its message is echoed.
bool ask_on(rouse::fibers& sched, const rouse::endpoint& where) {
  rouse::socket s{sched};
  s.connect(where, patience);
  s.send_all("hello");
  std::array<char, 5> buf;
  return s.recv_exactly(buf, patience) == 5 && std::string_view(buf.data(), 5) == "hello";
}
bool ask(const rouse::endpoint& where) {
  rouse::fibers sched;
  return ask_on(sched, where);
}

} // namespace

TEMPLATE_LIST_TEST_CASE("per_core: every core gets connections, and stop ends them all",
                        "[accept][per_core]", every_scheduler) {
  rouse::per_core<TestType> server{{"127.0.0.1", 0}, 2};
  CHECK(server.cores() == 2);
  const auto where = server.local_endpoint();
  served seen;
  std::thread serving([&] { run(server, seen); });
  // The system chooses the core of a connection; in the end each core has had one.
  const auto both = [&] {
    const std::lock_guard lock(seen.mutex);
    return is_threads<TestType> ? seen.connections >= 2 : seen.threads.size() == 2;
  };
  int asked = 0;
  bool right = true;
  while (right && !both() && asked != 1000) {
    right = ask(where);
    ++asked;
  }
  CHECK(right);
  CHECK(both());
  CHECK(seen.connections == asked);
  server.stop();
  serving.join();
  CHECK_THROWS_AS(ask(where), std::system_error); // there is no listener any more
}

TEMPLATE_LIST_TEST_CASE("per_core: stop works before run and with a waiting connection",
                        "[accept][per_core]", every_scheduler) {
  served seen;
  {
    rouse::per_core<TestType> server{{"127.0.0.1", 0}, 2};
    server.stop();
    run(server, seen);
    CHECK(seen.connections == 0);
    CHECK_THROWS_AS(ask(server.local_endpoint()), std::system_error);
  }
  rouse::per_core<TestType> server{{"127.0.0.1", 0}, 2};
  const auto where = server.local_endpoint();
  std::thread serving([&] { run(server, seen); });
  rouse::fibers sched;
  rouse::socket idle{sched};
  idle.connect(where, patience);
  CHECK(ask(where));
  server.stop();
  serving.join();
  std::array<char, 1> buf;
  std::error_code ec;
  CHECK(idle.recv(buf, patience, ec) == 0); // closed by the server, with or without a reset
  CHECK(ec != std::errc::timed_out);
}

TEMPLATE_LIST_TEST_CASE("per_core: a stop with a deadline that never comes is a stop",
                        "[accept][per_core]", every_scheduler) {
  served seen;
  rouse::per_core<TestType> server{{"127.0.0.1", 0}, 2};
  SECTION("before run") {
    server.stop(std::chrono::hours::max());
    run(server, seen);
  }
  SECTION("while it runs") {
    std::thread serving([&] { run(server, seen); }); // an exception of accept would end the program
    CHECK(ask(server.local_endpoint()));
    server.stop(std::chrono::hours::max());
    serving.join();
  }
}

TEMPLATE_LIST_TEST_CASE("per_core: a stop with a deadline lets connections end by themselves",
                        "[accept][per_core]", every_scheduler) {
  served seen;
  rouse::per_core<TestType> server{{"127.0.0.1", 0}, 2};
  const auto where = server.local_endpoint();
  std::thread serving([&] { run(server, seen); });
  rouse::fibers sched;
  rouse::socket conn{sched};
  conn.connect(where, patience);
  const auto asked = [&] {
    conn.send_all("hello");
    std::array<char, 5> buf;
    return conn.recv_exactly(buf, patience) == 5;
  };
  CHECK(asked());
  server.stop(patience);
  // The listeners close a little later; until then a connection may still be served.
  const auto until = std::chrono::steady_clock::now() + patience;
  try {
    while (std::chrono::steady_clock::now() < until) (void)ask(where);
    FAIL("a listener is still open");
  } catch (const std::system_error&) {
  }
  CHECK(asked()); // as before
  SECTION("the last connection ends") { conn.close(); }
  SECTION("a later stop ends the remaining connections") {
    server.stop();
    std::array<char, 1> buf;
    std::error_code ec;
    CHECK(conn.recv(buf, patience, ec) == 0);
    CHECK(ec != std::errc::timed_out);
  }
  serving.join();
}

TEST_CASE("per_core: the constructor reports an address in use", "[accept][per_core]") {
  rouse::fibers sched;
  const auto taken = listening(sched);
  CHECK_THROWS_AS(rouse::per_core<rouse::fibers>(taken.local_endpoint(), 2), std::system_error);
}

TEST_CASE("per_core: run throws the exception of a connection", "[accept][per_core]") {
  rouse::per_core<rouse::coroutines> server{{"127.0.0.1", 0}, 2};
  const auto where = server.local_endpoint();
  std::thread client([&] {
    rouse::fibers sched;
    rouse::socket s{sched};
    s.connect(where, patience);
    std::array<char, 1> buf;
    std::error_code ec;
    (void)s.recv(buf, patience, ec);
  });
  CHECK_THROWS_WITH(server.run([](rouse::socket<rouse::coroutines>) -> rouse::task<> {
    throw std::runtime_error("left");
    co_return;
  }),
                    "left");
  client.join();
}

TEMPLATE_LIST_TEST_CASE(
    "per_core: with on_error, an exception of one connection does not end others",
    "[accept][per_core]", every_flowing) {
  rouse::per_core<TestType> server{{"127.0.0.1", 0}, 2};
  std::mutex mutex;
  std::vector<std::string> messages;
  std::thread serving([&] {
    server.run(
        [](rouse::socket<TestType> conn) -> rouse::task<> {
          std::array<char, 5> buf;
          co_await conn.recv_exactly(buf);
          if (buf[0] == 'x') throw std::runtime_error("an x");
          co_await conn.send_all(buf);
        },
        {},
        [&](std::exception_ptr thrown, const rouse::endpoint& peer) {
          const std::lock_guard lock(mutex);
          try {
            std::rethrow_exception(thrown);
          } catch (const std::exception& e) {
            messages.push_back(std::string(e.what()) + " from " + to_string(peer));
          }
        });
  });
  rouse::fibers sched;
  std::vector<std::string> expected;
  for (int i = 0; i != 4; ++i) {
    rouse::socket bad{sched};
    bad.connect(server.local_endpoint(), patience);
    expected.push_back("an x from " + to_string(bad.local_endpoint()));
    bad.send_all("xxxxx");
    std::array<char, 1> buf;
    std::error_code ec;
    CHECK(bad.recv(buf, patience, ec) == 0);
  }
  CHECK(ask(server.local_endpoint()));
  server.stop();
  serving.join();
  std::sort(messages.begin(), messages.end());
  std::sort(expected.begin(), expected.end());
  CHECK(messages == expected);
}

TEMPLATE_LIST_TEST_CASE("per_core: no more connections are open than its limit",
                        "[accept][per_core]", every_flowing) {
  rouse::per_core<TestType> server{{"127.0.0.1", 0}, 2};
  std::atomic<int> open{0}, most{0}, served_all{0};
  std::thread serving([&] {
    server.run(
        [&](rouse::socket<TestType> conn) -> rouse::task<> {
          const int now = ++open;
          for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
          }
          std::array<char, 5> buf;
          co_await conn.recv_exactly(buf);
          --open;
          ++served_all;
          co_await conn.send_all(buf);
        },
        {.connections = 4});
  });
  rouse::fibers sched;
  constexpr int n = 40;
  std::vector<rouse::flow_handle<rouse::fibers>> clients;
  std::atomic<int> answered{0};
  for (int i = 0; i != n; ++i)
    clients.push_back(sched.spawn([&] { answered += ask_on(sched, server.local_endpoint()); }));
  sched.run();
  CHECK(answered == n);
  CHECK(served_all == n);
  CHECK(most <= 4);
  server.stop();
  serving.join();
}

TEMPLATE_LIST_TEST_CASE("accept_native: another scheduler can adopt the handle", "[accept]",
                        every_scheduler) {
  TestType sched;
  rouse::fibers other;
  auto listener = listening(sched);
  rouse::socket client{other};
  auto accepted = start<rouse::native_handle_type>(sched, CALL(listener.accept_native(how...)));
  until_pending(sched, 1);
  client.connect(listener.local_endpoint());
  const auto h = accepted.wait();
  REQUIRE(!h.ec);
  auto server = rouse::socket<rouse::fibers>::adopt(other, h.value);
  CHECK(server.remote_endpoint() == client.local_endpoint());
  client.send_all("hello");
  CHECK(receive(other, server, 5) == "hello");
  auto cancelled = start<rouse::native_handle_type>(sched, CALL(listener.accept_native(how...)));
  until_pending(sched, 1);
  listener.cancel();
  CHECK(cancelled.wait().ec == std::errc::operation_canceled);
}

// Flows: spawn, join, cancel, tasks under every waker, calls outside of flows, two wakers on one
// engine.
#include <support/testing.hpp>

#include <stdexcept>

using namespace testing;

namespace {

template <class S, class F>
auto spawn_plain(S& sched, F body) {
  if constexpr (awaits<S>) {
    return sched.spawn([body]() mutable -> rouse::task<> {
      body();
      co_return;
    });
  } else {
    return sched.spawn(body);
  }
}

// The same protocol for every scheduler with flows that can wait.
template <class S>
rouse::task<> echo(rouse::socket<S> conn) {
  std::array<char, 64> buf;
  while (auto n = co_await conn.recv(buf)) co_await conn.send_all({buf.data(), n});
}

} // namespace

TEMPLATE_LIST_TEST_CASE("a task runs on coroutines, fibers and threads alike", "[flow]",
                        every_flowing) {
  connected_pair<TestType> pair;
  pair.sched.spawn(echo<TestType>(std::move(pair.server)));
  send(pair.sched, pair.client, "back, please");
  CHECK(receive(pair.sched, pair.client, 12) == "back, please");
  pair.client.close();
  pair.sched.run();
}

TEMPLATE_LIST_TEST_CASE("spawn keeps the callable alive as long as its flow", "[flow]",
                        every_flowing) {
  connected_pair<TestType> pair;
  std::string got;
  if constexpr (awaits<TestType>) {
    pair.sched.spawn(
        [&got, s = std::move(pair.server), buf = std::array<char, 8>{}]() mutable -> rouse::task<> {
          got.assign(buf.data(), co_await s.recv(buf));
        });
  } else {
    pair.sched.spawn([&got, s = std::move(pair.server), buf = std::array<char, 8>{}]() mutable {
      got.assign(buf.data(), s.recv(buf));
    });
  }
  until_pending(pair.sched, 1);
  send(pair.sched, pair.client, "kept");
  pair.sched.run();
  CHECK(got == "kept");
}

TEMPLATE_LIST_TEST_CASE("join waits for the end of a flow and rethrows its exception", "[flow]",
                        every_scheduler) {
  TestType sched;
  auto fine = spawn_plain(sched, [] {});
  auto thrower = spawn_plain(sched, [] { throw std::runtime_error("joined"); });
  CHECK(!await<rouse::done>(sched, CALL(fine.join(how...))).ec);
  CHECK(fine.ended());
  if constexpr (calls_back<TestType>) {
    thrower.join([](std::error_code) {});
    CHECK_THROWS_WITH(sched.run(), "joined");
  } else if constexpr (awaits<TestType>) {
    bool caught = false;
    sched.spawn([&]() -> rouse::task<> {
      try {
        co_await thrower.join();
      } catch (const std::runtime_error&) {
        caught = true;
      }
    });
    sched.run();
    CHECK(caught);
  } else {
    CHECK_THROWS_WITH(thrower.join(), "joined");
  }
  sched.run();
}

TEMPLATE_LIST_TEST_CASE("join gives up at its limit and may be called again", "[flow]",
                        every_flowing) {
  connected_pair<TestType> pair;
  std::array<char, 8> buf;
  auto pending = start(pair.sched, CALL(pair.client.recv(buf, how...)));
  until_pending(pair.sched, 1);
  auto handle = [&] {
    if constexpr (awaits<TestType>) {
      return pair.sched.spawn([&]() -> rouse::task<> { (void)co_await pair.server.recv(buf); });
    } else {
      return pair.sched.spawn([&] { (void)pair.server.recv(buf); });
    }
  }();
  CHECK(await<rouse::done>(pair.sched, CALL(handle.join(5ms, how...))).ec == std::errc::timed_out);
  CHECK(!handle.ended());
  pair.client.shutdown(rouse::shutdown_send);
  CHECK(!await<rouse::done>(pair.sched, CALL(handle.join(how...))).ec);
  pair.server.shutdown(rouse::shutdown_send);
  CHECK(pending.wait().value == 0);
}

TEMPLATE_LIST_TEST_CASE("cancelling a flow makes its waiting call and each later one fail",
                        "[flow][O4]", every_flowing) {
  connected_pair<TestType> pair;
  std::atomic<int> cancelled{0};
  auto handle = [&] {
    if constexpr (awaits<TestType>) {
      return pair.sched.spawn([&]() -> rouse::task<> {
        std::array<char, 8> buf;
        std::error_code ec;
        for (int i = 0; i != 2; ++i) {
          (void)co_await pair.client.recv(buf, ec);
          cancelled += ec == std::errc::operation_canceled;
        }
        (void)co_await pair.client.recv(buf); // ending with operation_canceled is not reported
      });
    } else {
      return pair.sched.spawn([&] {
        std::array<char, 8> buf;
        std::error_code ec;
        for (int i = 0; i != 2; ++i) {
          (void)pair.client.recv(buf, ec);
          cancelled += ec == std::errc::operation_canceled;
        }
        (void)pair.client.recv(buf);
      });
    }
  }();
  until_pending(pair.sched, 1);
  handle.cancel();
  pair.sched.run();
  CHECK(cancelled == 2);
  CHECK(handle.ended());
}

TEMPLATE_LIST_TEST_CASE("an exception of a flow is kept when it is cancelled at the same time",
                        "[flow]", every_flowing) {
  TestType sched;
  for (int i = 0; i != 20; ++i) {
    auto handle = spawn_plain(
        sched, [] { throw std::system_error(std::make_error_code(std::errc::connection_reset)); });
    handle.cancel();
    CHECK_THROWS_AS(await<rouse::done>(sched, CALL(handle.join(how...))), std::system_error);
  }
}

TEST_CASE("a call outside of flows runs the loop of fibers until it completes", "[flow]") {
  connected_pair<rouse::fibers> pair;
  pair.sched.spawn([&] { pair.server.send_all("from a fiber"); });
  std::array<char, 12> buf;
  CHECK(pair.client.recv_exactly(buf) == 12);
  CHECK_THROWS_AS(pair.client.recv(buf, 1ms), std::system_error);
}

TEST_CASE("a call that would wait in a posted function fails at once with a message", "[flow]") {
  connected_pair<rouse::fibers> pair;
  std::error_code ec;
  std::string message;
  pair.sched.post([&] {
    std::array<char, 8> buf;
    (void)pair.client.recv(buf, ec);
    try {
      (void)pair.client.recv(buf);
    } catch (const std::system_error& e) {
      message = e.what();
    }
  });
  pair.sched.run();
  CHECK(ec == std::errc::operation_not_permitted);
  CHECK(message.find("spawn one") != std::string::npos);
}

TEST_CASE("run in a fiber of the same scheduler is refused", "[flow]") {
  rouse::fibers sched;
  sched.spawn([&] { sched.run(); });
  CHECK_THROWS_AS(sched.run(), std::system_error);
}

TEST_CASE("a fiber may wait inside a catch block while another throws", "[flow]") {
  rouse::fibers sched;
  std::string first, second;
  sched.spawn([&] {
    try {
      throw std::runtime_error("first");
    } catch (const std::exception&) {
      sched.sleep_for(5ms);
      try {
        throw;
      } catch (const std::exception& e) {
        first = e.what();
      }
    }
  });
  sched.spawn([&] {
    try {
      throw std::runtime_error("second");
    } catch (const std::exception& e) {
      sched.sleep_for(10ms);
      second = e.what();
      CHECK(std::current_exception() != nullptr);
    }
  });
  sched.run();
  CHECK(first == "first");
  CHECK(second == "second");
}

TEST_CASE("fibers get the stack size that was requested", "[flow]") {
  rouse::fibers sched{rouse::stack_size{std::size_t{2} << 20}};
  bool reached = false;
  sched.spawn([&] {
    volatile char big[1'500'000];
    big[0] = 1;
    sched.yield();
    reached = big[0] == 1;
  });
  sched.run();
  CHECK(reached);
}

TEST_CASE("two schedulers of different wakers run in one loop", "[flow]") {
  connected_pair<rouse::fibers> pair;
  rouse::callbacks handlers{pair.sched.engine()};
  rouse::coroutines routines{pair.sched.engine()};
  rouse::socket third{routines};
  std::string got;
  int handled = 0;
  handlers.sleep_for(1ms, [&](std::error_code) { ++handled; });
  routines.spawn([&]() -> rouse::task<> {
    co_await third.connect(pair.listener.local_endpoint());
    co_await third.send_all("from a coroutine");
  });
  pair.sched.spawn([&] {
    auto conn = pair.listener.accept();
    std::array<char, 16> buf;
    got.assign(buf.data(), conn.recv_exactly(buf));
  });
  pair.sched.run();
  CHECK(got == "from a coroutine");
  CHECK(handled == 1);
}

namespace {

// A wake-up of the user's own, for a program with a loop of its own.
struct pumping_parker {
  static inline std::function<void()> pump;
  bool unparked = false;
  void park() {
    while (!unparked) pump();
  }
  void unpark() noexcept { unparked = true; }
};
using pumped = rouse::basic_scheduler<rouse::native_engine, rouse::parking_waker<pumping_parker>>;

} // namespace

TEST_CASE("a waker of your own needs two functions", "[flow][waker]") {
  pumped sched;
  pumping_parker::pump = [&] { sched.run_once(1s); };
  auto listener = listening(sched);
  rouse::socket c{sched};
  c.connect(listener.local_endpoint());
  auto s = listener.accept();
  CHECK(c.send_all("own") == 3);
  std::array<char, 3> buf;
  CHECK(s.recv_exactly(buf, 5s) == 3);
  std::error_code ec;
  (void)s.recv(buf, 1ms, ec);
  CHECK(ec == std::errc::timed_out);
}

TEMPLATE_LIST_TEST_CASE("awaiting a task twice, or a moved-from one, is an error", "[flow]",
                        every_flowing) {
  TestType sched;
  int awaited = 0, refused = 0;
  sched.spawn([&]() -> rouse::task<> {
    auto t = [](int& n) -> rouse::task<> {
      ++n;
      co_return;
    }(awaited);
    for (int i = 0; i != 2; ++i) {
      try {
        co_await std::move(t);
      } catch (const std::system_error& e) {
        refused += e.code() == std::errc::invalid_argument;
      }
    }
  });
  sched.spawn(rouse::task<>());
  CHECK_THROWS_AS(sched.run(), std::system_error); // the spawned moved-from task
  sched.run();
  CHECK(awaited == 1);
  CHECK(refused == 1);
}

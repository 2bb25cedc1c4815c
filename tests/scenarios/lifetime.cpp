// Lifetime, shutdown, the contract of wake-ups: section 8 of scenarios.md.
#include <support/testing.hpp>

#include <coroutine>
#include <stdexcept>

using namespace testing;

namespace {

// Counts destructions.
struct witness {
  int* count;
  explicit witness(int& c) : count(&c) {}
  witness(witness&& other) noexcept : count(std::exchange(other.count, nullptr)) {}
  ~witness() {
    if (count) ++*count;
  }
};

} // namespace

TEST_CASE("a coroutine that waits in any call is destroyed with its scheduler",
          "[lifetime][L01][O5]") {
  int destroyed = 0;
  {
    connected_pair<rouse::coroutines> pair;
    const std::string block = large_block();
    pair.sched.spawn([&, w = witness(destroyed)]() -> rouse::task<> {
      std::array<char, 8> buf;
      (void)co_await pair.client.recv(buf);
    });
    pair.sched.spawn([&, w = witness(destroyed)]() -> rouse::task<> {
      (void)co_await pair.client.send_all(block);
    });
    pair.sched.spawn([&, w = witness(destroyed)]() -> rouse::task<> {
      (void)co_await pair.listener.accept(5s);
    });
    pair.sched.spawn(
        [&, w = witness(destroyed)]() -> rouse::task<> { co_await pair.sched.sleep_for(1h); });
    until_pending(pair.sched, 4);
    CHECK(destroyed == 0);
  }
  CHECK(destroyed == 4);
}

TEST_CASE("a fiber that waits in any call is unwound with its scheduler", "[lifetime][L01][O5]") {
  int destroyed = 0;
  {
    connected_pair<rouse::fibers> pair;
    const std::string block = large_block();
    pair.sched.spawn([&] {
      witness w(destroyed);
      std::array<char, 8> buf;
      (void)pair.client.recv(buf);
    });
    pair.sched.spawn([&] {
      witness w(destroyed);
      std::error_code ec;
      (void)pair.client.send_all(block, ec);
      FAIL("an unwound fiber continued");
    });
    pair.sched.spawn([&] {
      witness w(destroyed);
      try {
        (void)pair.listener.accept(5s);
      } catch (const std::exception&) {
        FAIL("the unwinding must not be a std::exception");
      }
    });
    pair.sched.spawn([&] {
      witness w(destroyed);
      pair.sched.sleep_for(1h);
    });
    until_pending(pair.sched, 4);
    CHECK(destroyed == 0);
  }
  CHECK(destroyed == 4);
}

TEST_CASE("a thread that waits in any call gets operation_canceled when its scheduler is destroyed",
          "[lifetime][L01][O5]") {
  std::atomic<int> cancelled{0};
  auto sched = std::make_unique<rouse::threads>();
  auto listener = listening(*sched);
  rouse::socket other = listening(*sched);
  const auto waits = [&](auto call) {
    sched->spawn([&cancelled, call] {
      for (int i = 0; i != 2; ++i) { // the waiting call and the next one
        std::error_code ec;
        call(ec);
        cancelled += ec == std::errc::operation_canceled;
      }
    });
  };
  waits([&](std::error_code& ec) { (void)listener.accept(ec); });
  waits([&](std::error_code& ec) { (void)other.accept(1h, ec); });
  waits([s = sched.get()](std::error_code& ec) { s->sleep_for(1h, ec); });
  until_pending(*sched, 3);
  sched.reset();
  CHECK(cancelled == 6);
}

TEST_CASE("a waiting handler is destroyed with its scheduler and not called",
          "[lifetime][L01][O5]") {
  int destroyed = 0, called = 0;
  {
    connected_pair<rouse::callbacks> pair;
    std::array<char, 8> buf;
    pair.client.recv(buf, [&, w = witness(destroyed)](std::error_code, std::size_t) { ++called; });
    pair.sched.sleep_for(1h, [&, w = witness(destroyed)](std::error_code) { ++called; });
    until_pending(pair.sched, 2);
  }
  CHECK(destroyed == 2);
  CHECK(called == 0);
}

TEMPLATE_LIST_TEST_CASE("destroying a socket ends its pending calls once",
                        "[lifetime][L02][O6][B9]", every_scheduler) {
  connected_pair<TestType> pair;
  std::array<char, 8> buf;
  const std::string block = large_block();
  auto socket = std::make_unique<rouse::socket<TestType>>(std::move(pair.client));
  auto receiving = start(pair.sched, CALL(socket->recv(buf, how...)));
  auto sending = start(pair.sched, CALL(socket->send_all(block, how...)));
  until_pending(pair.sched, 2);
  socket.reset();
  CHECK(receiving.wait().ec == std::errc::operation_canceled);
  CHECK(sending.wait().ec == std::errc::operation_canceled);
  CHECK(receiving.times() == 1);
  CHECK(sending.times() == 1);
}

TEMPLATE_LIST_TEST_CASE("a socket may outlive its scheduler, and its calls then fail",
                        "[lifetime][L04]", every_scheduler) {
  std::optional<rouse::socket<TestType>> survivor;
  {
    connected_pair<TestType> pair;
    survivor = std::move(pair.client);
  }
  CHECK(!survivor->is_open());
  std::error_code ec;
  survivor->bind({"127.0.0.1", 0}, ec);
  CHECK(ec == std::errc::bad_file_descriptor);
  std::array<char, 8> buf;
  TestType another;
  CHECK(await(another, CALL(survivor->recv(buf, how...))).ec == std::errc::bad_file_descriptor);
  survivor->close();
}

TEST_CASE("a million calls that finish at once do not grow the stack: coroutine",
          "[lifetime][L05][O2]") {
  connected_pair<rouse::coroutines> pair;
  std::size_t calls = 0;
  pair.sched.spawn([&]() -> rouse::task<> {
    for (; calls != 1'000'000; ++calls) (void)co_await pair.client.send_all("");
  });
  pair.sched.run();
  CHECK(calls == 1'000'000);
}

TEST_CASE("a million calls that finish at once do not grow the stack: handler",
          "[lifetime][L05][O2]") {
  connected_pair<rouse::callbacks> pair;
  struct chain {
    connected_pair<rouse::callbacks>& pair;
    std::size_t calls = 0;
    void next() {
      if (++calls == 1'000'000) return;
      pair.client.send_all("", [this](std::error_code, std::size_t) { next(); });
    }
  } c{pair};
  c.next();
  pair.sched.run();
  CHECK(c.calls == 1'000'000);
}

namespace {

rouse::task<std::size_t> deep(std::size_t n) {
  if (n == 0) co_return 0;
  co_return 1 + co_await deep(n - 1);
}
rouse::task<> at_once() { co_return; }

rouse::task<> deep_wait(rouse::coroutines& sched, std::size_t n) {
  if (n == 0)
    co_await sched.sleep_for(1h);
  else
    co_await deep_wait(sched, n - 1);
}

// A coroutine of a foreign type: starts at once, destroys itself.
struct foreign {
  struct promise_type {
    foreign get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

} // namespace

TEST_CASE("a million tasks, in a chain or in a row, do not grow the stack", "[lifetime][L05]") {
  rouse::coroutines sched;
  std::size_t depth = 0, in_a_row = 0;
  sched.spawn([&]() -> rouse::task<> {
    depth = co_await deep(1'000'000);
    for (; in_a_row != 1'000'000; ++in_a_row) co_await at_once();
  });
  sched.run();
  CHECK(depth == 1'000'000);
  CHECK(in_a_row == 1'000'000);
}

TEST_CASE("destroying a chain of a million waiting tasks does not grow the stack",
          "[lifetime][L05][O5]") {
  rouse::coroutines sched;
  sched.spawn(deep_wait(sched, 1'000'000));
  until_pending(sched, 1);
  CHECK(sched.engine().active() == 1);
}

TEST_CASE("a coroutine of any promise type may await a million calls and tasks",
          "[lifetime][L05]") {
  connected_pair<rouse::coroutines> pair;
  std::size_t tasks = 0, bytes = 0;
  [](connected_pair<rouse::coroutines>& p, std::size_t& t, std::size_t& b) -> foreign {
    for (; t != 1'000'000; ++t) co_await at_once();
    std::array<char, 8> buf;
    b = co_await p.client.recv(buf);
    b += co_await [](connected_pair<rouse::coroutines>& q) -> rouse::task<std::size_t> {
      std::array<char, 8> more;
      co_return co_await q.client.recv(more);
    }(p);
  }(pair, tasks, bytes);
  CHECK(tasks == 1'000'000);
  until_pending(pair.sched, 1);
  send(pair.sched, pair.server, "abc");
  until_pending(pair.sched, 1);
  send(pair.sched, pair.server, "de");
  pair.sched.run();
  CHECK(bytes == 5);
}

TEMPLATE_LIST_TEST_CASE("run throws the exception of a detached flow and can be called again",
                        "[lifetime][L08][O7]", every_scheduler) {
  TestType sched;
  std::atomic<int> others{0};
  const auto flow = [&](auto body) {
    if constexpr (awaits<TestType>) {
      sched.spawn([body]() -> rouse::task<> {
        body();
        co_return;
      });
    } else {
      sched.spawn(body);
    }
  };
  flow([] { throw std::runtime_error("from a flow"); });
  flow([&] { ++others; });
  flow([] { throw std::runtime_error("from another"); });
  int thrown = 0;
  for (int again = 0; again != 10; ++again) {
    try {
      sched.run();
      break;
    } catch (const std::runtime_error&) {
      ++thrown;
    }
  }
  CHECK(thrown == 2);
  CHECK(others == 1);
}

TEMPLATE_LIST_TEST_CASE("run throws the exception of a posted function", "[lifetime][L08][O7]",
                        every_scheduler) {
  TestType sched;
  bool ran = false;
  sched.post([] { throw std::runtime_error("posted"); });
  sched.post([&] { ran = true; });
  CHECK_THROWS_WITH(sched.run(), "posted");
  sched.run();
  CHECK(ran);
}

TEMPLATE_LIST_TEST_CASE("run, run_for, run_once and poll return when they should",
                        "[lifetime][L09]", every_scheduler) {
  TestType sched;
  CHECK(sched.run() == 0);
  CHECK(sched.poll() == 0);
  CHECK(sched.run_once() == 0); // nothing to wait for
  CHECK(sched.run_for(1h) == 0);
  rouse::flow_event event{sched};
  auto waiting = start<rouse::done>(sched, CALL(event.wait(how...)));
  until_pending(sched, 1);
  const auto before = std::chrono::steady_clock::now();
  sched.run_for(5ms);
  CHECK(std::chrono::steady_clock::now() - before >= 5ms);
  CHECK(!waiting.finished());
  event.set();
  sched.run();
  CHECK(waiting.finished());
}

TEMPLATE_LIST_TEST_CASE("stop makes run return, from any thread and also if called before run",
                        "[lifetime][L09]", every_scheduler) {
  TestType sched;
  auto forever = start<rouse::done>(sched, CALL(sched.sleep_for(1h, how...)));
  sched.stop();
  CHECK(sched.run() == 0);
  until_pending(sched, 1);
  std::thread other([&] { sched.stop(); });
  sched.run();
  other.join();
  CHECK(!forever.finished());
}

TEMPLATE_LIST_TEST_CASE("each function posted by another thread runs once, in the loop",
                        "[lifetime][L06]", every_scheduler) {
  TestType sched;
  auto forever = start<rouse::done>(sched, CALL(sched.sleep_for(1h, how...)));
  constexpr int each = 500;
  int ran = 0; // only the loop uses it
  std::vector<std::thread> posters;
  for (int t = 0; t != 3; ++t) {
    posters.emplace_back([&] {
      for (int i = 0; i != each; ++i) {
        sched.post([&] {
          if (++ran == 3 * each) sched.stop();
        });
      }
    });
  }
  sched.run();
  for (auto& t : posters) t.join();
  CHECK(ran == 3 * each);
}

TEMPLATE_LIST_TEST_CASE("stop in a posted function ends run, whichever thread runs the loop",
                        "[lifetime][L06][L09]", every_scheduler) {
  for (int round = 0; round != 200; ++round) {
    TestType sched;
    auto forever = start<rouse::done>(sched, CALL(sched.sleep_for(1h, how...)));
    int left = 40; // only the loop uses it
    const auto poster = [&] {
      for (int i = 0; i != 20; ++i) {
        sched.post([&] {
          if (--left == 0) sched.stop();
        });
      }
    };
    std::thread first(poster), second(poster);
    sched.run();
    first.join();
    second.join();
    REQUIRE(left == 0);
  }
}

TEMPLATE_LIST_TEST_CASE("a flooding peer does not starve a quiet one", "[lifetime][L11][O2]",
                        every_single) {
  connected_pair<TestType> flood;
  TestType& sched = flood.sched;
  rouse::socket quiet{sched};
  auto accepted = start<rouse::socket<TestType>>(sched, CALL(flood.listener.accept(how...)));
  REQUIRE(
      !await<rouse::done>(sched, CALL(quiet.connect(flood.listener.local_endpoint(), how...))).ec);
  auto& peer = accepted.wait().value;
  // An endless sequence of calls that can be completed at once.
  bool stop = false;
  char byte = 0;
  const rouse::mutable_buffer one{&byte, 1};
  std::function<void()> again;
  if constexpr (awaits<TestType>) {
    sched.spawn([&]() -> rouse::task<> {
      while (!stop) {
        (void)co_await flood.client.send_all("x");
        (void)co_await flood.server.recv(one);
      }
    });
  } else if constexpr (calls_back<TestType>) {
    again = [&] {
      flood.client.send_all("x", [&](std::error_code, std::size_t) {
        flood.server.recv(one, [&](std::error_code, std::size_t) {
          if (!stop) again();
        });
      });
    };
    again();
  } else {
    sched.spawn([&] {
      while (!stop) {
        (void)flood.client.send_all("x");
        (void)flood.server.recv(one);
      }
    });
  }
  send(sched, peer, "q");
  CHECK(receive(sched, quiet, 1) == "q");
  stop = true;
  sched.run();
}

TEMPLATE_LIST_TEST_CASE("a sleep is never short, and a yield lets others run", "[lifetime]",
                        every_scheduler) {
  TestType sched;
  const auto before = std::chrono::steady_clock::now();
  CHECK(!await<rouse::done>(sched, CALL(sched.sleep_for(3ms, how...))).ec);
  CHECK(std::chrono::steady_clock::now() - before >= 3ms);
  CHECK(!await<rouse::done>(sched, CALL(sched.yield(how...))).ec);
  CHECK(!await<rouse::done>(sched, CALL(sched.sleep_until(rouse::clock::now() - 1h, how...))).ec);
}

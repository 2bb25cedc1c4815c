// Handles of channels, flows, groups and servers, copied and dropped on other threads.
#include <support/testing.hpp>

#include <stdexcept>

using namespace testing;

namespace {

template <class S>
using channel = rouse::channel<int, S>;

// A value that records the thread that destroys it.
struct traced {
  traced(std::atomic<std::thread::id>& where) noexcept : where_(&where) {}
  traced(traced&& other) noexcept : where_(std::exchange(other.where_, nullptr)) {}
  traced& operator=(traced&& other) noexcept {
    std::swap(where_, other.where_);
    return *this;
  }
  ~traced() {
    if (where_) *where_ = std::this_thread::get_id();
  }

private:
  std::atomic<std::thread::id>* where_;
};

// Spawns a flow that runs `body`, waits once and ends.
template <class S, class F>
auto spawn_short(S& sched, F body) {
  if constexpr (calls_back<S>) {
    return sched.spawn(body);
  } else if constexpr (awaits<S>) {
    return sched.spawn([&sched, body]() mutable -> rouse::task<> {
      co_await sched.yield();
      body();
    });
  } else {
    return sched.spawn([&sched, body]() mutable {
      sched.yield();
      body();
    });
  }
}

// Spawns a flow that waits until it is cancelled.
template <class S, class F>
auto waiting_body(S& sched, F at_end) {
  if constexpr (awaits<S>) {
    return [&sched, at_end]() mutable -> rouse::task<> {
      std::error_code ec;
      co_await sched.sleep_for(1h, ec);
      at_end();
    };
  } else {
    return [&sched, at_end]() mutable {
      std::error_code ec;
      sched.sleep_for(1h, ec);
      at_end();
    };
  }
}

} // namespace

TEMPLATE_LIST_TEST_CASE("handles: other threads may copy and drop a channel under traffic",
                        "[handles]", every_scheduler) {
  TestType sched;
  std::atomic<bool> over{false};
  std::optional<channel<TestType>> ch{std::in_place, sched, 4};
  std::vector<std::thread> threads;
  for (int t = 0; t != 3; ++t) {
    threads.emplace_back([&over, copy = *ch] {
      while (!over) {
        channel<TestType> a = copy, b = a;
        a = std::move(b);
        a.post(1);
        std::this_thread::yield();
      }
    });
  }
  for (int n = 0; n != 300; ++n) {
    const auto got = await<std::optional<int>>(sched, CALL(ch->receive(how...)));
    REQUIRE(got.value);
  }
  over = true;
  for (auto& t : threads) t.join();
  ch.reset();
  sched.poll();
}

TEMPLATE_LIST_TEST_CASE(
    "handles: a wait ends when another thread drops the last end of the channel", "[handles]",
    every_scheduler) {
  TestType sched;
  for (int n = 0; n != 20; ++n) {
    std::optional<channel<TestType>> ch{std::in_place, sched};
    auto waiting = start<std::optional<int>>(sched, CALL(ch->receive(how...)));
    until_pending(sched, 1);
    std::thread other([end = std::move(*ch)] {});
    ch.reset();
    CHECK(waiting.wait().ec == std::errc::operation_canceled);
    other.join();
  }
}

TEMPLATE_LIST_TEST_CASE("handles: values in a channel are destroyed on the scheduler's thread",
                        "[handles]", every_single) {
  TestType sched;
  std::atomic<std::thread::id> where{};
  std::optional<rouse::channel<traced, TestType>> ch{std::in_place, sched, 2};
  REQUIRE(ch->try_send(traced(where)));
  std::thread([end = std::move(*ch)] {}).join();
  ch.reset();
  CHECK(where.load() == std::thread::id());
  sched.run();
  CHECK(where.load() == std::this_thread::get_id());

  ch.emplace(sched, 2);
  where = std::thread::id();
  REQUIRE(ch->try_send(traced(where)));
  ch.reset();
  CHECK(where.load() == std::this_thread::get_id()); // at once
}

TEMPLATE_LIST_TEST_CASE(
    "handles: ends of a channel may be dropped after the scheduler is destroyed", "[handles]",
    every_scheduler) {
  std::atomic<std::thread::id> where{};
  std::optional<rouse::channel<traced, TestType>> ch;
  {
    TestType sched;
    ch.emplace(sched, 2);
    REQUIRE(ch->try_send(traced(where)));
  }
  std::thread other([end = *ch] { const auto copy = end; });
  ch.reset();
  other.join();
  CHECK(where.load() != std::thread::id());
}

TEMPLATE_LIST_TEST_CASE(
    "handles: a scheduler may be destroyed while other threads drop its handles", "[handles]",
    every_scheduler) {
  for (int n = 0; n != 30; ++n) {
    std::atomic<int> ready{0}, ended{0};
    std::vector<std::thread> threads;
    {
      TestType sched;
      for (int t = 0; t != 3; ++t) {
        channel<TestType> ch{sched, 2};
        (void)ch.try_send(1);
        auto flow = spawn_short(sched, [&ended] { ++ended; });
        threads.emplace_back([&ready, end = std::move(ch), f = std::move(flow)] {
          ++ready;
          while (ready != 4) std::this_thread::yield();
        });
      }
      sched.poll();
      ++ready;
    }
    for (auto& t : threads) t.join();
    CHECK(ended <= 3);
  }
}

TEMPLATE_LIST_TEST_CASE("handles: other threads may drop handles of flows while the flows end",
                        "[handles]", every_scheduler) {
  TestType sched;
  std::atomic<int> ended{0};
  for (int n = 0; n != 30; ++n) {
    std::vector<std::thread> threads;
    for (int t = 0; t != 3; ++t) {
      threads.emplace_back(
          [f = spawn_short(sched, [&ended] { ++ended; })]() mutable { (void)f.ended(); });
    }
    sched.run();
    for (auto& t : threads) t.join();
  }
  sched.run();
  CHECK(ended == 90);
}

TEMPLATE_LIST_TEST_CASE(
    "handles: after another thread drops the handle of a flow, run throws its exception",
    "[handles]", every_scheduler) {
  TestType sched;
  auto flow = spawn_short(sched, [] { throw std::runtime_error("not lost"); });
  while (!flow.ended()) sched.run_once();
  std::thread([f = std::move(flow)] {}).join();
  CHECK_THROWS_WITH(sched.run(), "not lost");
}

TEST_CASE("handles: the callable of a coroutine is destroyed on the scheduler's thread",
          "[handles]") {
  rouse::coroutines sched;
  std::atomic<std::thread::id> where{};
  auto flow = sched.spawn([t = traced(where)]() -> rouse::task<> { co_return; });
  sched.run();
  REQUIRE(flow.ended());
  std::thread([f = std::move(flow)] {}).join();
  sched.run();
  CHECK(where.load() == std::this_thread::get_id());
}

TEMPLATE_LIST_TEST_CASE(
    "handles: the handle of a flow may be dropped after the scheduler is destroyed", "[handles]",
    every_scheduler) {
  std::optional<rouse::flow_handle<TestType>> ended, killed;
  {
    TestType sched;
    ended = spawn_short(sched, [] {});
    sched.run();
    killed = spawn_short(sched, [] {});
  }
  std::thread([a = std::move(*ended), b = std::move(*killed)] {}).join();
}

TEMPLATE_LIST_TEST_CASE("handles: the handle of a server may be dropped on any thread", "[handles]",
                        every_flowing) {
  using S = TestType;
  auto sched = std::make_unique<S>();
  auto service = rouse::serve(*sched, listening(*sched), [](rouse::socket<S>) {});
  auto late = rouse::serve(*sched, listening(*sched), [](rouse::socket<S>) {});
  sched->run_for(1ms);
  service.stop();
  std::thread other([s = std::move(service)] {});
  sched->run_for(1ms);
  other.join();
  sched.reset();
  std::thread([s = std::move(late)] {}).join();
}

TEMPLATE_LIST_TEST_CASE("handles: destroying a group on another thread ends its flows", "[handles]",
                        every_flowing) {
  using S = TestType;
  S sched;
  for (int n = 0; n != 10; ++n) {
    std::atomic<int> alive{0};
    struct living { // in the callable, which is destroyed with its flow
      explicit living(std::atomic<int>& c) noexcept : count(&c) { ++c; }
      living(living&& other) noexcept : count(std::exchange(other.count, nullptr)) {}
      ~living() {
        if (count) --*count;
      }
      std::atomic<int>* count;
    };
    auto group = std::make_unique<rouse::flow_group<S>>(sched);
    for (int i = 0; i != 3; ++i) {
      group->spawn(
          [wait = waiting_body(sched, [] {}), l = living(alive)]() mutable { return wait(); });
    }
    if (n % 2 == 0) until_pending(sched, 6); // each flow, and the group's wait for it
    CHECK(alive == 3);
    std::atomic<int> left{-1};
    std::thread other([&, g = std::move(group)]() mutable {
      g.reset();
      left = alive.load();
    });
    run_until(sched, [&] { return left >= 0; });
    other.join();
    CHECK(left == 0);
  }
}

TEMPLATE_LIST_TEST_CASE(
    "handles: once its flows have ended, a group may be destroyed on any thread", "[handles]",
    every_flowing) {
  using S = TestType;
  auto sched = std::make_unique<S>();
  auto group = std::make_unique<rouse::flow_group<S>>(*sched);
  auto late = std::make_unique<rouse::flow_group<S>>(*sched);
  if constexpr (awaits<S>)
    group->spawn([]() -> rouse::task<> { co_return; });
  else
    group->spawn([] {});
  sched->run();
  std::thread([g = std::move(group)] {}).join(); // no loop runs
  if constexpr (!is_threads<S>) {
    late->spawn(waiting_body(*sched, [] {}));
    sched->poll();
    std::thread other([&] { late.reset(); });
    sched.reset();
    other.join();
  }
}

TEMPLATE_LIST_TEST_CASE(
    "handles: a scheduler may be destroyed as soon as a thread's post has arrived", "[handles]",
    every_scheduler) {
  for (int n = 0; n != 50; ++n) {
    std::thread other;
    {
      TestType sched;
      channel<TestType> ch{sched, 1};
      other = std::thread([end = ch]() mutable { end.post(1); });
      CHECK(await<std::optional<int>>(sched, CALL(ch.receive(how...))).value == 1);
    }
    other.join();
  }
}

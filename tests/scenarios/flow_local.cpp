// Variables of which each flow has its own.
#include <support/testing.hpp>

#include <mutex>
#include <stdexcept>

using namespace testing;

namespace {

rouse::flow_local<int> depth{0};

// A plain function, which gets no argument of its flow.
int deeper() { return ++*depth; }

// Its destructor writes to `log`, with the value of `depth` at that time.
struct noted {
  std::vector<std::string>* log = nullptr;
  std::string name;
  ~noted() {
    if (log) log->push_back(name + std::to_string(*depth));
  }
};
rouse::flow_local<noted> first, second;

void note(rouse::flow_local<noted>& which, std::vector<std::string>& log, const char* name) {
  which->log = &log;
  which->name = name;
}

// Has values, then waits until it is ended.
template <class S>
rouse::task<> with_values(S& sched, std::vector<std::string>& log, std::atomic<bool>& has) {
  const noted variable{&log, "variable "};
  *depth = 7;
  note(first, log, "first ");
  note(second, log, "second ");
  has = true;
  co_await sched.sleep_for(1h);
}
const std::vector<std::string> newest_first{"variable 7", "second 7", "first 7"};

template <class S>
rouse::task<> nested(S& sched, int& seen) {
  co_await sched.yield();
  seen = deeper();
}

} // namespace

TEMPLATE_LIST_TEST_CASE(
    "flow_local: each flow has its own value, across waits, tasks and functions",
    "[flow_local][B30]", every_flowing) {
  TestType sched;
  std::array<int, 3> seen{}, inner{};
  const auto body = [&](std::size_t me) -> rouse::task<> {
    for (std::size_t i = 0; i != 10 * (me + 1); ++i) {
      deeper();
      co_await sched.yield();
    }
    co_await nested(sched, inner[me]);
    co_await sched.sleep_for(1ms);
    seen[me] = *depth;
  };
  *depth = -1;
  for (std::size_t i = 0; i != seen.size(); ++i) sched.spawn([&, i] { return body(i); });
  sched.run();
  CHECK(seen == std::array{11, 21, 31});
  CHECK(inner == seen);
  CHECK(*depth == -1);
  *depth = 0;
}

TEMPLATE_LIST_TEST_CASE(
    "flow_local: values are destroyed with their flow, newest first, before a join returns",
    "[flow_local][B30]", every_flowing) {
  TestType sched;
  std::vector<std::string> log;
  auto flow = sched.spawn([&]() -> rouse::task<> {
    const noted variable{&log, "variable "};
    *depth = 7;
    note(first, log, "first ");
    note(second, log, "second ");
    co_await sched.yield();
  });
  CHECK(!await<rouse::done>(sched, CALL(flow.join(how...))).ec);
  CHECK(log == newest_first);
}

TEMPLATE_LIST_TEST_CASE(
    "flow_local: values of a flow that is killed or throws are destroyed in the flow",
    "[flow_local][B28][B30]", every_flowing) {
  TestType sched;
  std::vector<std::string> killed, thrown;
  std::atomic<bool> has{false};
  auto flow = sched.spawn(with_values(sched, killed, has));
  until_pending(sched, 1);
  flow.kill();
  sched.run();
  CHECK(killed == newest_first);
  sched.spawn([&]() -> rouse::task<> {
    *depth = 7;
    note(first, thrown, "first ");
    co_await sched.yield();
    throw std::runtime_error("out of it");
  });
  CHECK_THROWS_WITH(sched.run(), "out of it");
  CHECK(thrown == std::vector<std::string>{"first 7"});
}

TEMPLATE_LIST_TEST_CASE(
    "flow_local: values are destroyed in the flow when its scheduler or group is destroyed",
    "[flow_local][O5][B30]", every_flowing) {
  std::vector<std::string> scheduler_went, group_went;
  std::atomic<bool> one_has{false}, other_has{false};
  {
    TestType sched;
    sched.spawn(with_values(sched, scheduler_went, one_has));
    until_pending(sched, 1);
  }
  CHECK(scheduler_went == newest_first);
  TestType sched;
  int mine = 0;
  auto owner = sched.spawn([&]() -> rouse::task<> {
    *depth = 3;
    {
      rouse::flow_group group{sched};
      group.spawn([&] { return with_values(sched, group_went, other_has); });
      while (!other_has) co_await sched.yield();
    }
    mine = *depth;
  });
  sched.run();
  CHECK(owner.ended());
  CHECK(group_went == newest_first);
  CHECK(mine == 3);
}

TEMPLATE_LIST_TEST_CASE("flow_local: a value is created at first use, and again if that failed",
                        "[flow_local][B30]", every_flowing) {
  static std::atomic<int> made;
  made = 0;
  static rouse::flow_local<std::unique_ptr<int>> number{[] {
    if (++made == 2) throw std::runtime_error("the second");
    return std::make_unique<int>(made.load());
  }};
  TestType sched;
  const auto ask = [&](int& got) -> rouse::task<> {
    co_await sched.yield();
    try {
      (void)*number;
    } catch (const std::runtime_error&) {
      got = 100;
    }
    co_await sched.yield();
    got += **number;
  };
  int one = 0, two = 0, none = 0;
  sched.spawn([&] { return ask(one); });
  sched.run();
  CHECK(one == 1);
  sched.spawn([&] { return ask(two); });
  sched.run();
  CHECK(two == 103);
  sched.spawn([&]() -> rouse::task<> {
    ++none;
    co_await sched.yield();
  });
  sched.run();
  CHECK(none == 1);
  CHECK(made == 3); // that flow did not use it
}

TEMPLATE_LIST_TEST_CASE("flow_local: code outside of flows has its thread's value",
                        "[flow_local][B30]", every_scheduler) {
  TestType sched;
  *depth = 40;
  std::atomic<int> posted{0}, in_thread{-1};
  sched.post([&] { posted = deeper(); });
  if constexpr (!calls_back<TestType>) {
    sched.spawn([&]() -> rouse::task<> {
      *depth = 500;
      sched.post([&] { posted = deeper(); });
      co_await sched.yield();
    });
  }
  sched.run();
  CHECK(posted < 500);
  if (!is_threads<TestType>) CHECK(posted == (calls_back<TestType> ? 41 : 42)); // the thread's
  std::atomic<int> gone{0};
  static std::atomic<int>* counter;
  counter = &gone;
  struct leaver {
    ~leaver() { ++*counter; }
  };
  static rouse::flow_local<leaver> leaving;
  std::thread([&] {
    in_thread = *depth;
    (void)*leaving;
    (void)*leaving;
  }).join();
  CHECK(in_thread == 0);
  CHECK(gone == 1);
  *depth = 0;
}

TEST_CASE("flow_local: a handler has its thread's value", "[flow_local][B30]") {
  connected_pair<rouse::callbacks> pair;
  std::array<char, 8> buf;
  *depth = 40;
  int seen = 0;
  pair.server.recv(buf, [&](std::error_code, std::size_t) { seen = deeper(); });
  send(pair.sched, pair.client, "x");
  pair.sched.run();
  CHECK(seen == 41);
  *depth = 0;
}

TEMPLATE_LIST_TEST_CASE("flow_local: flows of several wakers on one engine have their own values",
                        "[flow_local][B30]", std::tuple<rouse::coroutines>) {
  rouse::coroutines co;
  rouse::fibers fibers{co.engine()};
  rouse::callbacks callbacks{co.engine()};
  std::array<int, 2> seen{};
  int handled = 0;
  *depth = 40;
  const auto count = [](auto& sched, int from, int& to) -> rouse::task<> {
    *depth = from;
    for (int i = 0; i != 10; ++i) {
      deeper();
      co_await sched.yield();
    }
    to = *depth;
  };
  co.spawn([&] { return count(co, 100, seen[0]); });
  fibers.spawn([&] { return count(fibers, 200, seen[1]); });
  callbacks.sleep_for(0ms, [&](std::error_code) { handled = deeper(); });
  co.run();
  CHECK(seen == std::array{110, 210});
  CHECK(handled == 41);
  *depth = 0;
}

TEMPLATE_LIST_TEST_CASE("flow_local: the destructor of a value may create others",
                        "[flow_local][B30]", every_flowing) {
  static std::atomic<int> gone;
  gone = 0;
  struct last {
    ~last() { ++gone; }
  };
  static rouse::flow_local<last> late;
  struct maker {
    ~maker() {
      (void)*late;
      ++gone;
    }
  };
  static rouse::flow_local<maker> early;
  TestType sched;
  sched.spawn([&]() -> rouse::task<> {
    (void)*early;
    co_await sched.yield();
  });
  sched.run();
  CHECK(gone == 2);
}

TEMPLATE_LIST_TEST_CASE("flow_local: it may be destroyed before the flows that have values of it",
                        "[flow_local][B30]", every_flowing) {
  TestType sched;
  std::atomic<int> gone{0};
  struct counted {
    std::atomic<int>* gone = nullptr;
    ~counted() {
      if (gone) ++*gone;
    }
  };
  auto first_one = std::make_unique<rouse::flow_local<counted>>();
  auto flow = sched.spawn([&]() -> rouse::task<> {
    (*first_one)->gone = &gone;
    co_await sched.sleep_for(1h);
  });
  until_pending(sched, 1);
  first_one = nullptr;
  CHECK(gone == 0);
  flow.kill();
  sched.run();
  CHECK(gone == 1);
}

TEMPLATE_LIST_TEST_CASE("flow_local: a value need not be movable, and stays in its place",
                        "[flow_local][B30]", every_flowing) {
  static rouse::flow_local<std::mutex> lock;
  static rouse::flow_local<std::unique_ptr<int>> owned;
  TestType sched;
  bool free = false, kept = false;
  sched.spawn([&]() -> rouse::task<> {
    free = lock->try_lock();
    *owned = std::make_unique<int>(1);
    std::mutex* const where = &*lock;
    co_await sched.yield();
    kept = where == &lock.get() && **owned == 1;
    lock->unlock();
  });
  sched.run();
  CHECK(free);
  CHECK(kept);
}

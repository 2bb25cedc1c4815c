// Flows that end together. Tests for coroutines, fibers and threads are written once, as a task.
#include <support/testing.hpp>

#include <stdexcept>

using namespace testing;

namespace {

using counter = std::atomic<int>;

// Counts its destructions.
struct witness {
  counter* gone;
  ~witness() { ++*gone; }
};

// Waits until it is ended.
template <class S>
rouse::task<> lasting(S& sched, counter& begun, counter& gone) {
  const witness w{&gone};
  ++begun;
  co_await sched.sleep_for(1h);
}

template <class S>
rouse::task<> failing(S& sched, const char* why) {
  co_await sched.yield();
  throw std::runtime_error(why);
}

// Runs a task as a flow to its end, and rethrows its exception.
template <class S, class F>
void run_flow(S& sched, F body) {
  auto flow = sched.spawn(std::move(body));
  run_until(sched, [&] { return flow.ended(); });
  flow.detach();
  sched.run();
}

} // namespace

TEMPLATE_LIST_TEST_CASE("group: join waits until all flows have ended", "[group]", every_flowing) {
  TestType sched;
  counter ended{0};
  int seen = -1;
  run_flow(sched, [&]() -> rouse::task<> {
    rouse::flow_group group{sched};
    for (int i = 0; i != 20; ++i)
      group.spawn([&, i]() -> rouse::task<> {
        for (int n = 0; n != i; ++n) co_await sched.yield();
        ++ended;
      });
    co_await group.join();
    seen = ended;
    CHECK(group.running() == 0);
    co_await group.join(); // no flow is left
  });
  CHECK(seen == 20);
}

TEMPLATE_LIST_TEST_CASE(
    "group: if one flow fails, the others are cancelled and join throws its error", "[group]",
    every_flowing) {
  TestType sched;
  counter begun{0}, gone{0};
  std::string why;
  int gone_then = 0;
  run_flow(sched, [&]() -> rouse::task<> {
    rouse::flow_group group{sched};
    for (int i = 0; i != 3; ++i) group.spawn([&] { return lasting(sched, begun, gone); });
    group.spawn([&] { return failing(sched, "one has failed"); });
    try {
      co_await group.join();
    } catch (const std::runtime_error& e) {
      why = e.what();
    }
    gone_then = gone;
    group.spawn([&] { return failing(sched, "the group is as new"); });
    try {
      co_await group.join();
    } catch (const std::runtime_error& e) {
      why += std::string(", ") + e.what();
    }
  });
  CHECK(why == "one has failed, the group is as new");
  CHECK(begun == gone_then); // a thread may be cancelled before it begins
}

TEMPLATE_LIST_TEST_CASE("group: errors after the first are dropped", "[group]", every_flowing) {
  TestType sched;
  std::string why;
  const auto body = [&]() -> rouse::task<> {
    rouse::flow_group group{sched};
    group.spawn([&]() -> rouse::task<> {
      std::error_code ec;
      co_await sched.sleep_for(1h, ec);
      throw std::logic_error("second");
    });
    group.spawn([&] { return failing(sched, "first"); });
    try {
      co_await group.join();
    } catch (const std::runtime_error& e) {
      why = e.what();
    }
  };
  run_flow(sched, body);
  CHECK(why == "first");
}

TEMPLATE_LIST_TEST_CASE("group: run() throws an error that no join has taken", "[group]",
                        every_flowing) {
  TestType sched;
  const auto body = [&]() -> rouse::task<> {
    rouse::flow_group group{sched};
    group.spawn([&] { return failing(sched, "first"); });
    while (group.running() != 0) co_await sched.yield();
  };
  CHECK_THROWS_WITH(run_flow(sched, body), "first");
}

TEMPLATE_LIST_TEST_CASE("group: leaving its scope leaves no flow behind", "[group]",
                        every_flowing) {
  TestType sched;
  counter begun{0}, gone{0};
  int inside = -1, after_return = -1, after_throw = -1;
  run_flow(sched, [&]() -> rouse::task<> {
    {
      rouse::flow_group group{sched};
      for (int i = 0; i != 3; ++i) group.spawn([&] { return lasting(sched, begun, gone); });
      while (begun != 3) co_await sched.yield();
      inside = gone;
    }
    after_return = gone;
    try {
      rouse::flow_group group{sched};
      group.spawn([&] { return lasting(sched, begun, gone); });
      while (begun != 4) co_await sched.yield();
      throw std::runtime_error("out of the scope");
    } catch (const std::runtime_error&) {
    }
    after_throw = gone;
  });
  CHECK(inside == 0);
  CHECK(after_return == 3);
  CHECK(after_throw == 4);
}

TEMPLATE_LIST_TEST_CASE("group: flows that have not begun are destroyed with it", "[group]",
                        every_flowing) {
  TestType sched;
  counter begun{0}, gone{0};
  run_flow(sched, [&]() -> rouse::task<> {
    rouse::flow_group group{sched};
    for (int i = 0; i != 3; ++i) group.spawn([&] { return lasting(sched, begun, gone); });
    co_return;
  });
  CHECK(begun == gone);
}

TEMPLATE_LIST_TEST_CASE("group: at its limit, join cancels the flows and waits for their end",
                        "[group]", every_flowing) {
  TestType sched;
  counter begun{0}, gone{0};
  std::error_code why;
  int gone_then = -1;
  run_flow(sched, [&]() -> rouse::task<> {
    rouse::flow_group group{sched};
    for (int i = 0; i != 3; ++i) group.spawn([&] { return lasting(sched, begun, gone); });
    while (begun != 3) co_await sched.yield();
    co_await group.join(1ms, why);
    gone_then = gone;
  });
  CHECK(why == std::errc::timed_out);
  CHECK(gone_then == 3);
}

TEMPLATE_LIST_TEST_CASE("group: cancelling the flow that joins cancels all flows of the group",
                        "[group]", every_flowing) {
  TestType sched;
  counter begun{0}, gone{0};
  std::atomic<int> gone_then{-1};
  std::error_code why;
  auto parent = sched.spawn([&]() -> rouse::task<> {
    rouse::flow_group group{sched};
    for (int i = 0; i != 3; ++i) group.spawn([&] { return lasting(sched, begun, gone); });
    co_await group.join(why);
    gone_then = gone.load();
  });
  run_until(sched, [&] { return begun == 3; });
  parent.cancel();
  parent.cancel(); // a second cancel changes nothing
  run_until(sched, [&] { return parent.ended(); });
  CHECK(why == std::errc::operation_canceled);
  CHECK(gone_then == 3);
}

TEMPLATE_LIST_TEST_CASE("group: killing the flow that owns a group ends the group", "[group][O5]",
                        every_flowing) {
  connected_pair<TestType> pair;
  auto& sched = pair.sched;
  counter begun{0}, gone{0};
  std::atomic<int> gone_then{-1};
  auto parent = sched.spawn([&]() -> rouse::task<> {
    struct later_than_the_group {
      counter& gone;
      std::atomic<int>& then;
      ~later_than_the_group() { then = gone.load(); }
    } const last{gone, gone_then};
    std::array<char, 64> shared; // the buffer of the flows
    rouse::flow_group group{sched};
    group.spawn([&]() -> rouse::task<> {
      const witness w{&gone};
      ++begun;
      co_await pair.client.recv(shared);
    });
    group.spawn([&] { return lasting(sched, begun, gone); });
    co_await sched.sleep_for(1h);
  });
  run_until(sched, [&] { return begun == 2; });
  parent.kill();
  run_until(sched, [&] { return parent.ended(); });
  CHECK(gone_then == 2);
  // The socket is still usable.
  CHECK(send(sched, pair.server, "after").value == 5);
  CHECK(receive(sched, pair.client, 5) == "after");
}

TEMPLATE_LIST_TEST_CASE("group: nested groups end from the inside out", "[group]", every_flowing) {
  TestType sched;
  counter begun{0}, gone{0};
  std::string why;
  run_flow(sched, [&]() -> rouse::task<> {
    rouse::flow_group outer{sched};
    outer.spawn([&]() -> rouse::task<> {
      rouse::flow_group inner{sched};
      for (int i = 0; i != 3; ++i) inner.spawn([&] { return lasting(sched, begun, gone); });
      co_await inner.join();
    });
    while (begun != 3) co_await sched.yield();
    outer.spawn([&] { return failing(sched, "outer"); });
    try {
      co_await outer.join();
    } catch (const std::runtime_error& e) {
      why = e.what() + std::to_string(gone);
    }
  });
  CHECK(why == "outer3");
}

TEMPLATE_LIST_TEST_CASE("group: a flow spawned into a cancelled group is cancelled", "[group]",
                        every_flowing) {
  TestType sched;
  std::error_code why;
  run_flow(sched, [&]() -> rouse::task<> {
    rouse::flow_group group{sched};
    counter begun{0}, gone{0};
    group.spawn([&] { return lasting(sched, begun, gone); });
    group.cancel();
    group.spawn([&]() -> rouse::task<> { co_await sched.sleep_for(1h, why); });
    co_await group.join();
    group.spawn([&]() -> rouse::task<> { co_await sched.yield(); }); // no longer refused
    co_await group.join();
  });
  CHECK(why == std::errc::operation_canceled);
}

TEMPLATE_LIST_TEST_CASE("group: the scheduler may be destroyed while its flows wait", "[group]",
                        every_flowing) {
  counter begun{0}, gone{0};
  {
    TestType sched;
    auto joins = sched.spawn([&]() -> rouse::task<> {
      rouse::flow_group group{sched};
      for (int i = 0; i != 3; ++i) group.spawn([&] { return lasting(sched, begun, gone); });
      co_await group.join();
    });
    auto sleeps = sched.spawn([&]() -> rouse::task<> {
      rouse::flow_group group{sched};
      for (int i = 0; i != 3; ++i) group.spawn([&] { return lasting(sched, begun, gone); });
      co_await sched.sleep_for(1h);
    });
    run_until(sched, [&] { return begun == 6; });
  }
  CHECK(gone == 6);
}

TEMPLATE_LIST_TEST_CASE("group: its destructor runs the loop outside of flows", "[group]",
                        every_stacked) {
  TestType sched;
  counter begun{0}, gone{0};
  {
    rouse::flow_group group{sched};
    counter done{0};
    for (int i = 0; i != 3; ++i) group.spawn([&] { sched.yield(), ++done; });
    group.join();
    CHECK(done == 3);
    group.spawn([&] { return lasting(sched, begun, gone); });
    run_until(sched, [&] { return begun == 1; });
  }
  CHECK(gone == 1);
}

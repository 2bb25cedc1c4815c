// Killing flows: they end where they wait, and no error is reported.
#include <support/testing.hpp>

#include <stdexcept>

using namespace testing;

namespace {

// Counts its destructions.
struct witness {
  std::atomic<int>* gone;
  ~witness() { ++*gone; }
};

// Starts a flow that makes `call` over and over; a std::exception would be counted in `caught`.
template <class S, class Call>
auto waiting_flow(S& sched, std::atomic<int>& gone, std::atomic<int>& caught, Call call) {
  if constexpr (awaits<S>) {
    return sched.spawn([&gone, &caught, call]() mutable -> rouse::task<> {
      const witness w{&gone};
      try {
        for (;;) (void)co_await call();
      } catch (const std::exception&) {
        ++caught;
      }
    });
  } else {
    return sched.spawn([&gone, &caught, call]() mutable {
      const witness w{&gone};
      try {
        for (;;) (void)call();
      } catch (const std::exception&) {
        ++caught;
      }
    });
  }
}

} // namespace

TEMPLATE_LIST_TEST_CASE(
    "kill: a flow ends where it waits, its destructors run, and join reports no error",
    "[tasklet][B28][O5]", every_flowing) {
  connected_pair<TestType> pair;
  auto& sched = pair.sched;
  std::atomic<int> gone{0}, caught{0};
  std::array<char, 8> buf;
  rouse::channel<int, TestType> ch{sched};
  auto in_recv = waiting_flow(sched, gone, caught, [&] { return pair.client.recv(buf); });
  auto in_channel = waiting_flow(sched, gone, caught, [&] { return ch.receive(); });
  until_pending(sched, 2);
  CHECK(in_recv.alive());
  in_recv.kill();
  in_channel.kill();
  CHECK(!await<rouse::done>(sched, CALL(in_recv.join(how...))).ec);
  CHECK(!await<rouse::done>(sched, CALL(in_channel.join(how...))).ec);
  CHECK(!in_recv.alive());
  CHECK(gone == 2);
  CHECK(caught == 0);
  CHECK(ch.balance() == 0);
  in_recv.kill(); // harmless
  sched.run();
}

TEMPLATE_LIST_TEST_CASE("kill: a flow keeps a value that arrived first, and ends at its next call",
                        "[tasklet][O4][X12]", every_single) {
  if constexpr (calls_back<TestType>) return; // has no flows that wait
  TestType sched;
  rouse::channel<int, TestType> ch{sched};
  std::vector<int> got;
  auto flow = [&] {
    if constexpr (awaits<TestType>) {
      return sched.spawn([&]() -> rouse::task<> {
        while (auto n = co_await ch.receive()) got.push_back(*n);
      });
    } else {
      return sched.spawn([&] {
        if constexpr (!calls_back<TestType>) {
          while (auto n = ch.receive()) got.push_back(*n);
        }
      });
    }
  }();
  until_pending(sched, 1);
  CHECK(ch.try_send(1));
  flow.kill();
  sched.run();
  CHECK(got == std::vector<int>{1});
  CHECK(flow.ended());
  CHECK(ch.balance() == 0);
}

TEMPLATE_LIST_TEST_CASE("kill: a flow that has not begun never begins, and destructors cannot wait",
                        "[tasklet]", every_flowing) {
  TestType sched;
  if constexpr (!is_threads<TestType>) { // a thread may already have begun
    std::atomic<int> gone{0}, caught{0};
    auto flow = waiting_flow(sched, gone, caught, [&] { return sched.yield(); });
    flow.kill();
    sched.run();
    CHECK(flow.ended());
    CHECK(gone == 0);
  }
  if constexpr (!awaits<TestType>) {
    std::error_code in_destructor;
    struct sleeper {
      TestType& sched;
      std::error_code& ec;
      ~sleeper() { sched.sleep_for(1h, ec); }
    };
    auto flow = sched.spawn([&] {
      const sleeper s{sched, in_destructor};
      sched.sleep_for(1h);
    });
    until_pending(sched, 1);
    flow.kill();
    sched.run();
    CHECK(in_destructor == std::errc::operation_canceled);
  }
}

static_assert(
    std::is_same_v<decltype(std::declval<rouse::fibers&>().spawn([] {})), rouse::tasklet>);

TEMPLATE_LIST_TEST_CASE("current: a flow can kill itself", "[tasklet]", every_flowing) {
  TestType sched;
  CHECK(!sched.current().alive()); // outside of flows
  bool after = false;
  auto flow = sched.spawn([&]() -> rouse::task<> {
    co_await sched.yield();
    auto me = sched.current();
    CHECK(me.alive());
    me.kill();
    co_await sched.yield();
    after = true;
  });
  sched.run();
  CHECK(flow.ended());
  CHECK(!after);
}

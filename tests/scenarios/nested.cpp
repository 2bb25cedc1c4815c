// A loop is not run inside itself: an inner turn would delay the outer turn's other waiters.
#include <support/testing.hpp>

using namespace testing;

namespace {

template <class F>
std::error_code error_of(F f) {
  try {
    f();
  } catch (const std::system_error& e) {
    CHECK_THAT(e.what(), Catch::Contains("rouse: run: called inside the loop"));
    return e.code();
  }
  return {};
}

// The number of refused calls among the four ways to run `sched`.
template <class S>
int refusals(S& sched) {
  const auto refused = std::errc::operation_not_permitted;
  return (error_of([&] { sched.run(); }) == refused) +
         (error_of([&] { sched.run_for(1ms); }) == refused) +
         (error_of([&] { sched.run_once(1ms); }) == refused) +
         (error_of([&] { sched.poll(); }) == refused);
}

template <class S, class F>
void spawn(S& sched, F f) {
  if constexpr (awaits<S>)
    sched.spawn([f]() -> rouse::task<> {
      f();
      co_return;
    });
  else
    sched.spawn(f);
}

} // namespace

TEMPLATE_LIST_TEST_CASE("run inside a posted function is refused, and other functions run",
                        "[nested]", every_scheduler) {
  TestType sched;
  int refused = 0;
  bool other = false;
  sched.post([&] { refused = refusals(sched); });
  sched.post([&] { other = true; });
  sched.run();
  CHECK(refused == 4);
  CHECK(other);
}

TEMPLATE_LIST_TEST_CASE("run inside a flow is refused, and other flows run", "[nested]",
                        every_scheduler) {
  TestType sched;
  int refused = 0;
  std::atomic<bool> other{false};
  spawn(sched, [&] { refused = refusals(sched); });
  spawn(sched, [&] { other = true; });
  sched.run();
  CHECK(refused == 4);
  CHECK(other);
}

TEST_CASE("run inside a handler is refused, and other handlers run", "[nested]") {
  rouse::callbacks sched;
  int refused = 0;
  bool other = false;
  sched.sleep_for(1ms, [&](std::error_code) { refused = refusals(sched); });
  sched.sleep_for(1ms, [&](std::error_code) { other = true; });
  sched.run();
  CHECK(refused == 4);
  CHECK(other);
}

TEST_CASE("run of another scheduler on the engine that runs is refused", "[nested]") {
  rouse::callbacks sched;
  rouse::coroutines other{sched.engine()};
  int refused = 0;
  sched.post([&] { refused = refusals(other); });
  sched.run();
  CHECK(refused == 4);
}

TEMPLATE_LIST_TEST_CASE("run inside the loop of another engine works", "[nested]",
                        every_scheduler) {
  TestType sched;
  TestType other;
  bool slept = false;
  sched.post([&] {
    auto sleeping = start<rouse::done>(other, CALL(other.sleep_for(1ms, how...)));
    other.run();
    slept = sleeping.finished();
    sched.post([&] { CHECK(refusals(sched) == 4); });
  });
  sched.run();
  CHECK(slept);
}

TEMPLATE_LIST_TEST_CASE("run can be called again after it has thrown", "[nested]",
                        every_scheduler) {
  TestType sched;
  sched.post([] { throw 1; });
  CHECK_THROWS_AS(sched.run(), int);
  bool called = false;
  sched.post([&] { called = true; });
  sched.run();
  CHECK(called);
}

TEMPLATE_TEST_CASE("a call that would wait in a posted function is refused", "[nested]",
                   rouse::fibers, rouse::threads) {
  TestType sched;
  std::error_code inside, outside;
  sched.post([&] { sched.sleep_for(1ms, inside); });
  sched.run();
  sched.sleep_for(1ms, outside);
  CHECK(inside == std::errc::operation_not_permitted);
  CHECK(!outside);
}

TEST_CASE("a call that would wait in a handler of another scheduler of the engine is refused",
          "[nested]") {
  rouse::callbacks sched;
  rouse::fibers fibers{sched.engine()};
  std::error_code ec;
  bool other = false;
  sched.post([&] { fibers.sleep_for(1ms, ec); });
  sched.post([&] { other = true; });
  sched.run();
  CHECK(ec == std::errc::operation_not_permitted);
  CHECK(other);
}

TEST_CASE("no call can wait inside the loop that a waiting thread runs", "[nested]") {
  rouse::threads sched;
  std::error_code ec;
  sched.post([&] { sched.sleep_for(1ms, ec); });
  sched.sleep_for(2ms); // no thread is in run(): this thread runs the engine
  sched.run();
  CHECK(ec == std::errc::operation_not_permitted);
}

// Durations of any type and length, and sleeps, which take limits and can be cancelled.
#include <support/testing.hpp>

#include <limits>

using namespace testing;

namespace {

using real_seconds = std::chrono::duration<double>;
constexpr double infinity = std::numeric_limits<double>::infinity();

// Runs the loop for at least one more turn that finds an expired timer.
template <class S>
void let_time_pass(S& sched) {
  CHECK(!await<rouse::done>(sched, CALL(sched.sleep_for(2ms, how...))).ec);
}

template <class S, class Duration>
bool sleeps(Duration d) {
  S sched;
  auto sleeping = start<rouse::done>(sched, CALL(sched.sleep_for(d, how...)));
  auto limited = start<rouse::done>(sched, CALL(sched.sleep_for(1h, d, how...)));
  until_pending(sched, 2);
  let_time_pass(sched);
  return !sleeping.finished() && !limited.finished();
}

} // namespace

TEMPLATE_LIST_TEST_CASE("a sleep that is longer than the clock's range never ends", "[time]",
                        every_scheduler) {
  CHECK(sleeps<TestType>(std::chrono::nanoseconds::max()));
  CHECK(sleeps<TestType>(std::chrono::microseconds::max()));
  CHECK(sleeps<TestType>(std::chrono::seconds::max()));
  CHECK(sleeps<TestType>(std::chrono::hours::max()));
  CHECK(sleeps<TestType>(std::chrono::hours(24 * 365 * 300)));
  CHECK(sleeps<TestType>(std::chrono::duration<unsigned long long>::max()));
  CHECK(sleeps<TestType>(real_seconds(1e300)));
  CHECK(sleeps<TestType>(real_seconds(infinity)));
}

TEMPLATE_LIST_TEST_CASE("a sleep takes any type of duration and is never short", "[time]",
                        every_scheduler) {
  TestType sched;
  const auto check = [&](auto d) {
    const auto before = rouse::clock::now();
    CHECK(!await<rouse::done>(sched, CALL(sched.sleep_for(d, how...))).ec);
    CHECK(rouse::clock::now() - before >= d);
  };
  check(real_seconds(0.0015));
  check(std::chrono::duration<float, std::milli>(1.5F));
  check(std::chrono::duration<int, std::ratio<1, 60>>(1));
  check(std::chrono::duration<short, std::micro>(1500));
}

TEMPLATE_LIST_TEST_CASE("a sleep that is negative or not a number is over at once", "[time]",
                        every_scheduler) {
  TestType sched;
  const auto check = [&](auto d) {
    CHECK(!await<rouse::done>(sched, CALL(sched.sleep_for(d, how...))).ec);
  };
  check(-1ns);
  check(std::chrono::hours::min());
  check(real_seconds(-infinity));
  check(real_seconds(std::numeric_limits<double>::quiet_NaN()));
  CHECK(
      !await<rouse::done>(sched, CALL(sched.sleep_until((rouse::clock::time_point::min)(), how...)))
           .ec);
}

TEMPLATE_LIST_TEST_CASE("sleep_until takes a time_point of rouse::clock in any unit", "[time]",
                        every_scheduler) {
  using namespace std::chrono;
  TestType sched;
  const auto soon = ceil<milliseconds>(rouse::clock::now()) + 2ms;
  CHECK(!await<rouse::done>(sched, CALL(sched.sleep_until(soon, how...))).ec);
  CHECK(rouse::clock::now() >= soon);
  const time_point<rouse::clock, hours> distant(hours::max());
  auto sleeping = start<rouse::done>(sched, CALL(sched.sleep_until(distant, how...)));
  until_pending(sched, 1);
  let_time_pass(sched);
  CHECK(!sleeping.finished());
}

TEMPLATE_LIST_TEST_CASE("run_for and run_once take any duration, and too long a one is no limit",
                        "[time]", every_scheduler) {
  TestType sched;
  const auto check = [&](auto run) {
    auto sleeping = start<rouse::done>(sched, CALL(sched.sleep_for(2ms, how...)));
    run();
    CHECK(sleeping.finished());
  };
  check([&] { sched.run_for(std::chrono::hours::max()); });
  check([&] { sched.run_for(std::chrono::nanoseconds::max()); });
  check([&] { sched.run_for(rouse::clock::duration::max() - 1ns); });
  check([&] { sched.run_for(real_seconds(infinity)); });
  auto soon = start<rouse::done>(sched, CALL(sched.sleep_for(2ms, how...)));
  while (!soon.finished()) sched.run_once(std::chrono::hours::max());
  auto sleeping = start<rouse::done>(sched, CALL(sched.sleep_for(1h, how...)));
  sched.run_for(real_seconds(0.001));
  sched.run_once(real_seconds(-infinity));
  sched.run_for(std::chrono::hours::min());
  CHECK(!sleeping.finished());
}

TEMPLATE_LIST_TEST_CASE("timeout takes any duration, and too long a one is no limit", "[time]",
                        every_scheduler) {
  connected_pair<TestType> pair;
  std::array<char, 8> buf;
  const auto check = [&](auto d, bool ends) {
    pair.client.timeout(d);
    std::stop_source stop;
    auto waiting = start(pair.sched, CALL(pair.client.recv(buf, stop.get_token(), how...)));
    if (!ends) {
      until_pending(pair.sched, 1);
      let_time_pass(pair.sched);
      CHECK(!waiting.finished());
      stop.request_stop();
    }
    CHECK(waiting.wait().ec == (ends ? std::errc::timed_out : std::errc::operation_canceled));
  };
  check(std::chrono::hours::max(), false);
  CHECK(pair.client.timeout() == rouse::clock::duration::max());
  check(rouse::clock::duration::max() - 1ns, false);
  check(real_seconds(infinity), false);
  check(real_seconds(0.001), true);
  check(std::chrono::hours::min(), true);
  check(real_seconds(std::numeric_limits<double>::quiet_NaN()), true);
}

TEMPLATE_LIST_TEST_CASE("locks, channels and select take a limit of any duration", "[time]",
                        every_scheduler) {
  TestType sched;
  rouse::flow_mutex mutex{sched};
  rouse::flow_semaphore permits{sched, 0};
  rouse::channel<int, TestType> numbers{sched};
  REQUIRE(mutex.try_lock());
  auto locked = start<rouse::done>(sched, CALL(mutex.lock(std::chrono::hours::max(), how...)));
  auto acquired =
      start<rouse::done>(sched, CALL(permits.acquire(std::chrono::hours::max(), how...)));
  auto received =
      start<std::optional<int>>(sched, CALL(numbers.receive(std::chrono::hours::max(), how...)));
  auto selected =
      start<std::size_t>(sched, CALL(rouse::select(sched, rouse::cases(rouse::acquired(permits)),
                                                   std::chrono::hours::max(), how...)));
  until_pending(sched, 4);
  let_time_pass(sched);
  CHECK(!locked.finished());
  CHECK(!acquired.finished());
  CHECK(!received.finished());
  CHECK(!selected.finished());
  CHECK(await<rouse::done>(sched, CALL(mutex.lock(real_seconds(1e-3), how...))).ec ==
        std::errc::timed_out);
  CHECK(await<rouse::done>(sched, CALL(permits.acquire(std::chrono::hours::min(), how...))).ec ==
        std::errc::timed_out);
}

// ---- sleeps take limits

TEMPLATE_LIST_TEST_CASE("a sleep ends with operation_canceled when its stop_token is stopped",
                        "[time]", every_scheduler) {
  TestType sched;
  const auto check = [&](auto sleep) {
    std::stop_source stop;
    auto sleeping = start<rouse::done>(
        sched, [&](auto&&... how) -> decltype(auto) { return sleep(stop.get_token(), how...); });
    until_pending(sched, 1);
    let_time_pass(sched);
    CHECK(!sleeping.finished());
    stop.request_stop();
    CHECK(sleeping.wait().ec == std::errc::operation_canceled);
    CHECK(sleeping.times() == 1);
  };
  check([&](std::stop_token t, auto&&... how) -> decltype(auto) {
    return sched.sleep_for(1h, t, how...);
  });
  check([&](std::stop_token t, auto&&... how) -> decltype(auto) {
    return sched.sleep_for(1h, {2h, t}, how...);
  });
  check([&](std::stop_token t, auto&&... how) -> decltype(auto) {
    return sched.sleep_for({1h, t}, how...);
  });
  check([&](std::stop_token t, auto&&... how) -> decltype(auto) {
    return sched.sleep_until(rouse::clock::now() + 1h, t, how...);
  });
  check([&](std::stop_token t, auto&&... how) -> decltype(auto) {
    return sched.sleep_until({rouse::clock::now() + 1h, t}, how...);
  });
}

TEMPLATE_LIST_TEST_CASE("a sleep with a token that was stopped before does not sleep", "[time]",
                        every_scheduler) {
  TestType sched;
  std::stop_source stop;
  stop.request_stop();
  CHECK(await<rouse::done>(sched, CALL(sched.sleep_for(1h, stop.get_token(), how...))).ec ==
        std::errc::operation_canceled);
}

TEMPLATE_LIST_TEST_CASE("a sleep that is longer than its limit ends with timed_out", "[time]",
                        every_scheduler) {
  TestType sched;
  CHECK(await<rouse::done>(sched, CALL(sched.sleep_for(1h, 1ms, how...))).ec ==
        std::errc::timed_out);
  CHECK(await<rouse::done>(sched, CALL(sched.sleep_for(1h, -1ms, how...))).ec ==
        std::errc::timed_out);
}

TEMPLATE_LIST_TEST_CASE("a sleep that is over before its limit is a success", "[time]",
                        every_scheduler) {
  TestType sched;
  std::stop_source stop;
  CHECK(!await<rouse::done>(sched, CALL(sched.sleep_for(1ms, 1h, how...))).ec);
  CHECK(!await<rouse::done>(sched, CALL(sched.sleep_for(1ms, stop.get_token(), how...))).ec);
  CHECK(!await<rouse::done>(sched, CALL(sched.sleep_for({1ms, stop.get_token()}, how...))).ec);
}

TEMPLATE_LIST_TEST_CASE("cancelling a flow wakes it from a sleep", "[time]", every_flowing) {
  TestType sched;
  std::error_code ec;
  const auto sleep = CALL(sched.sleep_for(1h, how...));
  const auto flow_of = [&] {
    if constexpr (awaits<TestType>)
      return [&]() -> rouse::task<> { co_await sleep(ec); };
    else
      return [&] { sleep(ec); };
  };
  auto flow = sched.spawn(flow_of());
  until_pending(sched, 1);
  let_time_pass(sched);
  CHECK(flow.alive());
  flow.cancel();
  sched.run();
  CHECK(ec == std::errc::operation_canceled);
}

// ---- a sleep with a handler returns a handle

TEST_CASE("a sleep_handle cancels its sleep once", "[time]") {
  rouse::callbacks sched;
  std::vector<std::error_code> results;
  rouse::sleep_handle sleep =
      sched.sleep_for(1h, [&](std::error_code ec) { results.push_back(ec); });
  CHECK(!sleep.ended());
  sleep.cancel();
  CHECK(results.empty()); // never inside the call
  sleep.cancel();
  sched.run();
  REQUIRE(results.size() == 1);
  CHECK(results[0] == std::errc::operation_canceled);
  CHECK(sleep.ended());
}

TEST_CASE("a sleep continues when its handle is dropped", "[time]") {
  rouse::callbacks sched;
  bool slept = false;
  {
    auto sleep = sched.sleep_for(1ms, [&](std::error_code ec) { slept = !ec; });
  }
  sched.run();
  CHECK(slept);
}

TEST_CASE("the handle of a sleep that has ended does not affect another sleep at the same address",
          "[time]") {
  rouse::callbacks sched;
  std::error_code ec = std::make_error_code(std::errc::interrupted);
  rouse::sleep_handle first, second;
  first = sched.sleep_for(1ms, [&](std::error_code) {
    CHECK(first.ended()); // its own handler sees that it has ended
    second = sched.sleep_for(1ms, [&](std::error_code e) { ec = e; }); // in the same memory block
    first.cancel();
  });
  sched.run();
  CHECK(!ec);
  CHECK(second.ended());
}

TEST_CASE("only the new place of a moved sleep_handle cancels", "[time]") {
  rouse::callbacks sched;
  std::error_code one, other;
  auto a = sched.sleep_for(1h, [&](std::error_code ec) { one = ec; });
  auto b = sched.sleep_for(2ms, [&](std::error_code ec) { other = ec; });
  rouse::sleep_handle c = std::move(a);
  CHECK(a.ended());
  a.cancel();
  CHECK(!c.ended());
  b = std::move(c); // the sleep of b continues
  b.cancel();
  sched.run();
  CHECK(one == std::errc::operation_canceled);
  CHECK(!other);
}

TEST_CASE("a sleep_handle may outlive its scheduler", "[time]") {
  rouse::sleep_handle sleep;
  {
    rouse::callbacks sched;
    sleep = sched.sleep_until(rouse::clock::now() + 1h, [](std::error_code) {});
    CHECK(!sleep.ended());
  }
  CHECK(sleep.ended());
  sleep.cancel();
}

TEST_CASE("a cancel after the time of a sleep leaves the sleep a success", "[time]") {
  rouse::callbacks sched;
  std::vector<std::error_code> results;
  rouse::sleep_handle second;
  // Both are due in one turn: the first handler cancels the sleep that has ended already.
  const auto due = rouse::clock::now() - 1ms;
  sched.sleep_until(due, [&](std::error_code) { second.cancel(); });
  second = sched.sleep_until(due, [&](std::error_code ec) { results.push_back(ec); });
  sched.run();
  REQUIRE(results.size() == 1);
  CHECK(!results[0]);
}

TEST_CASE("a sleep with a limit and a handler returns a sleep_handle too", "[time]") {
  rouse::callbacks sched;
  std::error_code ec;
  auto sleep = sched.sleep_for(1h, 2h, [&](std::error_code e) { ec = e; });
  STATIC_REQUIRE(std::is_same_v<decltype(sleep), rouse::sleep_handle>);
  sleep.cancel();
  sched.run();
  CHECK(ec == std::errc::operation_canceled);
}

// Flows that ignore their end, wait for themselves, or call exit().
#include <support/run_test_case.hpp>
#include <support/testing.hpp>

#include <coroutine>
#include <cstdlib>

using namespace testing;

namespace {

// The names that Catch gives to the instances.
template <class S>
std::string stacked_child(const std::string& name) {
  return name + " - every_stacked - " + (is_threads<S> ? "1" : "0");
}
template <class S>
std::string child_of(const std::string& name) {
  const char* const index = awaits<S> ? "0" : calls_back<S> ? "3" : is_threads<S> ? "2" : "1";
  return "child: " + name + " - every_scheduler - " + index;
}

// Calls without end, ignoring every result.
template <class S>
void retry_for_ever(S& sched) {
  for (;;) {
    try {
      sched.sleep_for(1h);
    } catch (...) {
    }
  }
}
template <class S>
rouse::task<> await_for_ever(S& sched, std::atomic<int>* tries = nullptr) {
  for (;;) {
    try {
      if (tries) ++*tries;
      co_await sched.sleep_for(1h);
    } catch (...) {
    }
  }
}

// In a child: the source line of its next spawn.
std::source_location here(std::source_location place = std::source_location::current()) {
  std::printf("spawned at line %u.\n", static_cast<unsigned>(place.line()));
  std::fflush(stdout);
  return place;
}
// The message contains that line.
void check_named(const process_end& e) {
  INFO(e.said);
  CHECK(e.aborted);
  const std::size_t at = e.said.find("at line ");
  REQUIRE(at != std::string::npos);
  const std::string line = e.said.substr(at + 8, e.said.find('.', at) - at - 8);
  CHECK(e.said.find("endings.cpp:" + line) != std::string::npos);
  CHECK(e.said.find("has to end") != std::string::npos);
}

// A coroutine of another library, which no scheduler owns.
struct foreign_coroutine {
  struct promise_type {
    foreign_coroutine get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept {}
  };
};
foreign_coroutine await_in_foreign(rouse::coroutines& sched) {
  std::error_code ec;
  for (;;) co_await sched.sleep_for(1h, ec);
}

} // namespace

// ---- flows that ignore every refused call

TEMPLATE_LIST_TEST_CASE("child: kill of a flow that retries", "[.child]", every_stacked) {
  end_if_it_hangs();
  TestType sched;
  auto flow = sched.spawn([&] { retry_for_ever(sched); }, here());
  until_pending(sched, 1);
  flow.kill();
  sched.run();
}
TEMPLATE_LIST_TEST_CASE(
    "endings: a killed flow that retries forever aborts the program, which names it", "[endings]",
    every_stacked) {
  check_named(run_test_case(stacked_child<TestType>("child: kill of a flow that retries")));
}

TEMPLATE_LIST_TEST_CASE("child: end of a scheduler with a flow that retries", "[.child]",
                        every_stacked) {
  end_if_it_hangs();
  TestType sched;
  sched.spawn([&] { retry_for_ever(sched); }, here());
  until_pending(sched, 1);
}
TEMPLATE_LIST_TEST_CASE(
    "endings: a flow that retries forever while its scheduler is destroyed aborts the program",
    "[endings]", every_stacked) {
  check_named(
      run_test_case(stacked_child<TestType>("child: end of a scheduler with a flow that retries")));
}

TEMPLATE_LIST_TEST_CASE("child: end of a group with a flow that retries", "[.child]",
                        every_stacked) {
  end_if_it_hangs();
  TestType sched;
  {
    rouse::flow_group<TestType> group{sched};
    group.spawn([&] { retry_for_ever(sched); }, here());
    until_pending(sched, 2); // the flow, and the group that waits for it
  }
}
TEMPLATE_LIST_TEST_CASE(
    "endings: a flow that retries forever while its group is destroyed aborts the program",
    "[endings]", every_stacked) {
  check_named(
      run_test_case(stacked_child<TestType>("child: end of a group with a flow that retries")));
}

TEST_CASE("child: kill of a thread that retries slowly", "[.child]") {
  end_if_it_hangs();
  rouse::threads sched;
  auto flow = sched.spawn(
      [&] {
        for (;;) {
          std::error_code ec;
          sched.sleep_for(1h, ec);
          std::this_thread::sleep_for(20ms);
        }
      },
      here());
  until_pending(sched, 1);
}
TEST_CASE("endings: a killed thread that retries slowly forever aborts the program", "[endings]") {
  check_named(run_test_case("child: kill of a thread that retries slowly"));
}

TEST_CASE("child: end of a scheduler that a foreign coroutine uses", "[.child]") {
  end_if_it_hangs();
  rouse::coroutines sched;
  await_in_foreign(sched);
}
TEST_CASE(
    "endings: a foreign coroutine that retries while its scheduler is destroyed aborts the program",
    "[endings]") {
  const process_end e = run_test_case("child: end of a scheduler that a foreign coroutine uses");
  INFO(e.said);
  CHECK(e.aborted);
  CHECK(e.said.find("without end") != std::string::npos);
}

TEST_CASE("endings: a killed coroutine that retries forever ends where it waits", "[endings]") {
  rouse::coroutines sched;
  std::atomic<int> tries{0};
  auto flow = sched.spawn(await_for_ever(sched, &tries));
  until_pending(sched, 1);
  flow.kill();
  sched.run();
  CHECK(flow.ended());
  CHECK(tries == 1);
}

TEST_CASE("endings: a cancelled coroutine that retries forever ends when it is killed",
          "[endings]") {
  rouse::coroutines sched;
  std::atomic<int> tries{0};
  auto flow = sched.spawn(await_for_ever(sched, &tries));
  until_pending(sched, 1);
  flow.cancel();
  run_until(sched, [&] { return tries > 100; });
  flow.kill();
  sched.run();
  CHECK(flow.ended());
}

TEST_CASE("endings: a coroutine that retries forever is destroyed with its scheduler",
          "[endings]") {
  std::atomic<int> tries{0};
  {
    rouse::coroutines sched;
    auto cancelled = sched.spawn(await_for_ever(sched, &tries));
    sched.spawn(await_for_ever(sched));
    until_pending(sched, 2);
    cancelled.cancel();
    sched.poll();
  }
  CHECK(tries > 0);
}

TEMPLATE_LIST_TEST_CASE("endings: a flow may ignore many refused calls before it ends", "[endings]",
                        every_stacked) {
  TestType sched;
  int refused = 0;
  auto flow = sched.spawn([&] {
    for (; refused != 1000; ++refused) {
      try {
        sched.sleep_for(1h);
      } catch (...) {
      }
    }
  });
  until_pending(sched, 1);
  flow.kill();
  sched.run();
  CHECK(refused == 1000);
}

TEMPLATE_LIST_TEST_CASE("endings: a cancelled flow that retries forever does not starve others",
                        "[endings][O2]", every_flowing) {
  TestType sched;
  std::atomic<bool> enough{false};
  std::atomic<int> tries{0};
  auto flow = sched.spawn([&]() -> rouse::task<> {
    while (!enough) {
      std::error_code ec;
      co_await sched.sleep_for(1h, ec);
      ++tries;
    }
  });
  until_pending(sched, 1);
  flow.cancel();
  CHECK(!await<rouse::done>(sched, CALL(sched.sleep_for(5ms, how...))).ec);
  enough = true;
  sched.run();
  CHECK(tries > 0);
}

// ---- flows that wait for themselves

TEMPLATE_LIST_TEST_CASE("endings: a flow that joins itself gets resource_deadlock_would_occur",
                        "[endings]", every_flowing) {
  TestType sched;
  std::error_code ec, limited;
  std::string message;
  sched.spawn([&]() -> rouse::task<> {
    auto me = sched.current();
    co_await me.join(ec);
    co_await me.join(1h, limited);
    try {
      co_await me.join();
    } catch (const std::system_error& e) {
      message = e.what();
    }
  });
  sched.run();
  CHECK(ec == std::errc::resource_deadlock_would_occur);
  CHECK(limited == std::errc::resource_deadlock_would_occur);
  CHECK(message.find("join") != std::string::npos);
}

TEST_CASE("endings: a function of callbacks may join itself, because it does not wait",
          "[endings]") {
  rouse::callbacks sched;
  std::optional<rouse::flow_handle<rouse::callbacks>> me;
  int joined = 0;
  me = sched.spawn([&] {
    me->join([&](std::error_code ec) {
      CHECK(!ec);
      ++joined;
    });
  });
  sched.run();
  CHECK(joined == 1);
}

TEMPLATE_LIST_TEST_CASE(
    "endings: a flow that joins its own group gets resource_deadlock_would_occur", "[endings]",
    every_flowing) {
  TestType sched;
  rouse::flow_group<TestType> group{sched};
  std::error_code ec;
  group.spawn([&]() -> rouse::task<> { co_await group.join(ec); });
  sched.spawn([&]() -> rouse::task<> { co_await group.join(); });
  sched.run();
  CHECK(ec == std::errc::resource_deadlock_would_occur);
  CHECK(group.running() == 0);
}

// ---- exit() while a scheduler runs

namespace {

template <class S>
auto exiting(S&, int status) {
  if constexpr (awaits<S>)
    return [status]() -> rouse::task<> {
      std::exit(status);
      co_return;
    };
  else
    return [status] { std::exit(status); };
}

// Other flows that wait or work at the same time.
template <class S>
void add_traffic(S& sched) {
  if constexpr (calls_back<S>) {
    sched.sleep_for(1h, [](std::error_code) {});
  } else if constexpr (awaits<S>) {
    sched.spawn(await_for_ever(sched));
    sched.spawn([&sched]() -> rouse::task<> {
      for (;;) co_await sched.yield();
    });
  } else {
    sched.spawn([&sched] { retry_for_ever(sched); });
    sched.spawn([&sched] {
      for (;;) sched.yield();
    });
  }
}

template <class S>
S& static_scheduler() {
  static S sched;
  return sched;
}

template <class S>
void check_exits(const std::string& name) {
  const process_end e = run_test_case(child_of<S>(name));
  INFO(e.said);
  CHECK(e.status == 7);
}

} // namespace

TEMPLATE_LIST_TEST_CASE("child: exit in a flow of a static scheduler", "[.child]",
                        every_scheduler) {
  end_if_it_hangs();
  auto& sched = static_scheduler<TestType>();
  add_traffic(sched);
  sched.run_for(10ms);
  sched.spawn(exiting(sched, 7));
  sched.run();
}
TEMPLATE_LIST_TEST_CASE("endings: exit in a flow of a static scheduler ends the program",
                        "[endings]", every_scheduler) {
  check_exits<TestType>("exit in a flow of a static scheduler");
}

TEMPLATE_LIST_TEST_CASE("child: exit in a flow", "[.child]", every_scheduler) {
  end_if_it_hangs();
  TestType sched;
  add_traffic(sched);
  sched.run_for(10ms);
  sched.spawn(exiting(sched, 7));
  sched.run();
}
TEMPLATE_LIST_TEST_CASE("endings: exit in a flow of a scheduler in main ends the program",
                        "[endings]", every_scheduler) {
  check_exits<TestType>("exit in a flow");
}

TEMPLATE_LIST_TEST_CASE("child: exit in another thread", "[.child]", every_scheduler) {
  end_if_it_hangs();
  auto& sched = static_scheduler<TestType>();
  sched.post([&] { // runs on main's thread, in run()
    add_traffic(sched);
    std::thread([] { std::exit(7); }).detach();
  });
  sched.run();
}
TEMPLATE_LIST_TEST_CASE(
    "endings: exit on another thread while a static scheduler runs ends the program", "[endings]",
    every_scheduler) {
  check_exits<TestType>("exit in another thread");
}

TEMPLATE_LIST_TEST_CASE("child: exit with a static scheduler at rest", "[.child]",
                        every_scheduler) {
  end_if_it_hangs();
  auto& sched = static_scheduler<TestType>();
  if constexpr (awaits<TestType>) {
    sched.spawn(await_for_ever(sched));
  } else if constexpr (!calls_back<TestType>) {
    sched.spawn([&sched] { sched.sleep_for(1h); });
  }
  sched.run_for(10ms);
  std::exit(7);
}
TEMPLATE_LIST_TEST_CASE("endings: exit while a static scheduler does not run ends its flows first",
                        "[endings]", every_scheduler) {
  check_exits<TestType>("exit with a static scheduler at rest");
}

TEST_CASE("child: exit in a thread that main joins", "[.child]") {
  end_if_it_hangs();
  auto& sched = static_scheduler<rouse::threads>();
  add_traffic(sched);
  sched.spawn(exiting(sched, 7)).join();
}
TEST_CASE("endings: exit on a thread that main joins ends the program", "[endings]") {
  const process_end e = run_test_case("child: exit in a thread that main joins");
  INFO(e.said);
  CHECK(e.status == 7);
}

// Names of hosts and services: section 2 of scenarios.md.
#include <support/replaced_resolver.hpp>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

using namespace testing;
using rouse::endpoint;
using rouse::resolve;
using rouse::resolve_error;
using endpoints = std::vector<endpoint>;

namespace {

// A label has at most 63 characters: the system refuses this one without asking a server.
std::string impossible_name() { return std::string(64, 'x').append(".example"); }

template <class S>
outcome<endpoints> look_up(S& sched, const std::string& host, const std::string& service) {
  return await<endpoints>(sched, CALL(resolve(sched, host, service, patience, how...)));
}

// A flow that waits for a name, and its result.
template <class S>
struct asking {
  std::error_code ec;
  rouse::flow_handle<S> flow;

  explicit asking(S& sched, const char* host) {
    if constexpr (awaits<S>)
      flow = sched.spawn(
          [this, &sched, host]() -> rouse::task<> { (void)co_await resolve(sched, host, 80, ec); });
    else
      flow = sched.spawn([this, &sched, host] { (void)resolve(sched, host, 80, ec); });
  }
};

} // namespace

TEMPLATE_LIST_TEST_CASE("resolve: an address and a number need no lookup", "[names][N06]",
                        every_scheduler) {
  replaced_resolver system;
  TestType sched;
  CHECK(look_up(sched, "127.0.0.1", "80").value == endpoints{{"127.0.0.1", 80}});
  CHECK(look_up(sched, "::1", "65535").value == endpoints{{"::1", 65535}});
  CHECK(look_up(sched, "fe80::1%2", "").value == endpoints{{"fe80::1%2", 0}});
  const auto by_number =
      await<endpoints>(sched, CALL(resolve(sched, std::string("10.0.0.1"), 443, how...)));
  CHECK(by_number.value == endpoints{{"10.0.0.1", 443}});
  CHECK(system.begun() == 0);
  CHECK(rouse::detail::lookup_helpers::threads() == 0);
}

TEMPLATE_LIST_TEST_CASE("resolve: impossible hosts and ports are refused without a lookup",
                        "[names][N06]", every_scheduler) {
  replaced_resolver system;
  TestType sched;
  CHECK(look_up(sched, "127.0.0.1", "65536").ec == std::errc::invalid_argument);
  CHECK(look_up(sched, "name", "99999999999999999999").ec == std::errc::invalid_argument);
  CHECK(await<endpoints>(sched, CALL(resolve(sched, "name", -1, how...))).ec ==
        std::errc::invalid_argument);
  CHECK(look_up(sched, "", "80").ec == resolve_error::host_not_found);
  CHECK(look_up(sched, std::string("a\0b", 3), "80").ec == resolve_error::host_not_found);
  CHECK(look_up(sched, "name", std::string("h\0p", 3)).ec == resolve_error::service_not_found);
  CHECK(look_up(sched, "name", "-1").ec == resolve_error::service_not_found);
  CHECK(system.begun() == 0);
}

TEMPLATE_LIST_TEST_CASE("resolve: finds localhost, and reports unknown hosts and services",
                        "[names][N07]", every_scheduler) {
  TestType sched;
  const auto here = look_up(sched, "localhost", "80");
  REQUIRE(!here.ec);
  for (const endpoint& ep : here.value) {
    CHECK((ep == endpoint("127.0.0.1", 80) || ep == endpoint("::1", 80)));
    CHECK(std::count(here.value.begin(), here.value.end(), ep) == 1);
  }
  CHECK(look_up(sched, "127.0.0.1", "http").value == endpoints{{"127.0.0.1", 80}});
  CHECK(look_up(sched, "127.0.0.1", "tftp").value == endpoints{{"127.0.0.1", 69}}); // UDP only
  CHECK(look_up(sched, impossible_name(), "80").ec == resolve_error::host_not_found);
  CHECK(look_up(sched, "127.0.0.1", "no-such-service").ec == resolve_error::service_not_found);
}

TEMPLATE_LIST_TEST_CASE("resolve: returns every endpoint of a name, or the reason for none",
                        "[names][N07]", every_scheduler) {
  replaced_resolver system;
  TestType sched;
  CHECK(look_up(sched, "name", "443").value == endpoints{{"127.0.0.1", 443}, {"::1", 443}});
  CHECK(look_up(sched, "name", "known").value == endpoints{{"127.0.0.1", 7}, {"::1", 7}});
  CHECK(look_up(sched, "127.0.0.1", "unknown").ec == resolve_error::service_not_found);
  CHECK(look_up(sched, "missing", "80").ec == resolve_error::host_not_found);
  CHECK(look_up(sched, "refused", "80").ec == resolve_error::try_again);
  CHECK(look_up(sched, "refused", "80").ec == std::errc::resource_unavailable_try_again);
  CHECK(look_up(sched, "broken", "80").ec == std::errc::not_enough_memory);
}

TEMPLATE_LIST_TEST_CASE("resolve: throws the error if there is no error_code", "[names][N07]",
                        every_flowing) {
  replaced_resolver system;
  TestType sched;
  if constexpr (awaits<TestType>)
    sched.spawn([&]() -> rouse::task<> { (void)co_await resolve(sched, "missing", 80); });
  else
    sched.spawn([&] { (void)resolve(sched, "missing", 80); });
  try {
    sched.run();
    FAIL("nothing was thrown");
  } catch (const std::system_error& e) {
    CHECK(e.code() == resolve_error::host_not_found);
    CHECK(std::string(e.what()) == "rouse: resolve: host not found");
  }
}

TEMPLATE_LIST_TEST_CASE("resolve: a limit, a stop_token and a cancel end the wait for a lookup",
                        "[names][N08]", every_scheduler) {
  replaced_resolver system;
  TestType sched;
  std::stop_source source;
  auto stopped =
      start<endpoints>(sched, CALL(resolve(sched, "held", 80, source.get_token(), how...)));
  until_pending(sched, 1);
  system.until_inside(1);
  std::thread([&] { source.request_stop(); }).join();
  CHECK(stopped.wait().ec == std::errc::operation_canceled);
  CHECK(await<endpoints>(sched, CALL(resolve(sched, "held", 80, 1ms, how...))).ec ==
        std::errc::timed_out);
  // Their results are dropped; the next lookup completes.
  system.release();
  CHECK(!look_up(sched, "name", "80").ec);
  CHECK(stopped.times() == 1);
}

TEMPLATE_LIST_TEST_CASE("resolve: a cancelled flow continues at once", "[names][N08]",
                        every_flowing) {
  replaced_resolver system;
  TestType sched;
  asking<TestType> flow{sched, "held"};
  until_pending(sched, 1);
  system.until_inside(1);
  flow.flow.cancel();
  run_until(sched, [&] { return flow.flow.ended(); });
  CHECK(flow.ec == std::errc::operation_canceled);
}

TEMPLATE_LIST_TEST_CASE("resolve: a scheduler may be destroyed during lookups", "[names][N08]",
                        every_scheduler) {
  replaced_resolver system;
  auto sched = std::make_unique<TestType>();
  std::vector<started<TestType, endpoints>> calls;
  for (int i = 0; i != 3; ++i)
    calls.push_back(start<endpoints>(*sched, CALL(resolve(*sched, "held", 80, how...))));
  until_pending(*sched, 3);
  system.until_inside(3);
  sched.reset();
  for (auto& call : calls) CHECK(call.times() <= 1);
}

TEMPLATE_LIST_TEST_CASE("resolve: a scheduler may be destroyed while results arrive",
                        "[names][N08]", every_scheduler) {
  replaced_resolver system;
  for (int round = 0; round != 50; ++round) {
    TestType sched;
    auto call = start<endpoints>(sched, CALL(resolve(sched, "name", 80, how...)));
    if (round % 2 != 0) sched.poll();
  }
  CHECK(system.begun() <= 50);
}

TEMPLATE_LIST_TEST_CASE(
    "resolve: of ten calls eight are looked up at once, and other I/O continues", "[names][N08]",
    every_scheduler) {
  replaced_resolver system;
  connected_pair<TestType> pair;
  std::vector<started<TestType, endpoints>> calls;
  for (int i = 0; i != 10; ++i)
    calls.push_back(start<endpoints>(pair.sched, CALL(resolve(pair.sched, "held", 80, how...))));
  until_pending(pair.sched, 10);
  system.until_inside(rouse::detail::lookup_helpers::most);
  CHECK(send(pair.sched, pair.client, "goes on").value == 7);
  CHECK(receive(pair.sched, pair.server, 7) == "goes on");
  CHECK(system.begun() == rouse::detail::lookup_helpers::most);
  system.release();
  for (auto& call : calls) CHECK(call.wait().value.size() == 2);
  CHECK(system.begun() == 10);
}

TEMPLATE_LIST_TEST_CASE("resolve: a call that ends before its turn starts no lookup",
                        "[names][N08]", every_scheduler) {
  replaced_resolver system;
  TestType sched;
  std::vector<started<TestType, endpoints>> calls;
  for (int i = 0; i != rouse::detail::lookup_helpers::most; ++i)
    calls.push_back(start<endpoints>(sched, CALL(resolve(sched, "held", 80, how...))));
  until_pending(sched, calls.size());
  system.until_inside(rouse::detail::lookup_helpers::most);
  CHECK(await<endpoints>(sched, CALL(resolve(sched, "held", 80, 1ms, how...))).ec ==
        std::errc::timed_out);
  system.release();
  for (auto& call : calls) CHECK(!call.wait().ec);
  CHECK(!look_up(sched, "name", "80").ec);
  CHECK(system.begun() == rouse::detail::lookup_helpers::most + 1);
}

// Run by the next test in a process of its own.
TEST_CASE("resolve: exit during lookups", "[.][names_exit]") {
  replaced_resolver& system = *new replaced_resolver; // never destroyed
  rouse::callbacks sched;
  for (int i = 0; i != 10; ++i) resolve(sched, "held", 80, [](std::error_code, endpoints) {});
  system.until_inside(rouse::detail::lookup_helpers::most);
  std::exit(42);
}

TEST_CASE("resolve: a program may exit during lookups that never end", "[names][N08]") {
#if ROUSE_WINDOWS
  char path[MAX_PATH];
  REQUIRE(::GetModuleFileNameA(nullptr, path, sizeof path) != 0);
  const std::string quiet = " >NUL 2>&1";
  const int expected = 42;
#else
  const std::string path = std::filesystem::read_symlink("/proc/self/exe").string();
  const std::string quiet = " >/dev/null 2>&1";
  const int expected = 42 << 8; // as of waitpid(2)
#endif
  CHECK(std::system((std::string(path) + " [names_exit]" + quiet).c_str()) == expected);
}

// Connecting to a host by its name, and to a list of addresses: section 2 of scenarios.md.
#include <support/replaced_resolver.hpp>
#include <support/silent_peer.hpp>

#include <span>

using namespace testing;
using rouse::endpoint;
using rouse::resolve_error;
using endpoints = std::vector<endpoint>;

namespace {

// A port without a listener, which stays reserved while this exists.
template <class S>
struct deaf_port {
  rouse::socket<S> taken;
  explicit deaf_port(S& sched, int family = AF_INET) : taken(sched, family) {
    taken.bind({family == AF_INET ? "127.0.0.1" : "::1", 0});
  }
  endpoint where() const { return taken.local_endpoint(); }
};

template <class S>
started<S, rouse::socket<S>> connecting(S& sched, const endpoints& list) {
  return start<rouse::socket<S>>(sched, [&sched, list](auto&&... how) -> decltype(auto) {
    return rouse::connect(sched, list, patience, how...);
  });
}

// The address of the peer.
template <class S>
endpoint reached(started<S, rouse::socket<S>> call) {
  auto& got = call.wait();
  CHECK(!got.ec);
  return got.ec ? endpoint() : got.value.remote_endpoint();
}

} // namespace

TEMPLATE_LIST_TEST_CASE("connect: by a host's name returns a connected socket", "[names][N09]",
                        every_scheduler) {
  replaced_resolver system;
  TestType sched;
  rouse::socket listener = listening(sched);
  system.answers({{"127.0.0.1", 0}});
  const auto port = listener.local_endpoint().port();
  auto accepted = start<rouse::socket<TestType>>(sched, CALL(listener.accept(patience, how...)));
  auto connected = await<rouse::socket<TestType>>(
      sched, CALL(rouse::connect(sched, "name", port, patience, how...)));
  REQUIRE(!connected.ec);
  REQUIRE(!accepted.wait().ec);
  CHECK(send(sched, connected.value, "hello").value == 5);
  CHECK(receive(sched, accepted.wait().value, 5) == "hello");
}

TEMPLATE_LIST_TEST_CASE("connect: an address needs no lookup", "[names][N09][N06]",
                        every_scheduler) {
  replaced_resolver system;
  TestType sched;
  rouse::socket listener = listening(sched);
  const auto connected = await<rouse::socket<TestType>>(
      sched, CALL(rouse::connect(sched, "127.0.0.1", listener.local_endpoint().port(), how...)));
  CHECK(!connected.ec);
  CHECK(connected.value.is_open());
  CHECK(system.begun() == 0);
}

TEMPLATE_LIST_TEST_CASE(
    "connect: refuses impossible names and ports, and reports names that are not found",
    "[names][N09][N07]", every_scheduler) {
  replaced_resolver system;
  TestType sched;
  const auto why = [&](const char* host, int port) {
    return await<rouse::socket<TestType>>(sched,
                                          CALL(rouse::connect(sched, host, port, patience, how...)))
        .ec;
  };
  CHECK(why("missing", 80) == resolve_error::host_not_found);
  CHECK(why("", 80) == resolve_error::host_not_found);
  CHECK(why("127.0.0.1", 65536) == std::errc::invalid_argument);
  CHECK(connecting(sched, {}).wait().ec == std::errc::invalid_argument);
}

TEMPLATE_LIST_TEST_CASE("connect: the first address that answers wins", "[names][N09]",
                        every_scheduler) {
  TestType sched;
  const deaf_port<TestType> deaf{sched};
  rouse::socket first = listening(sched), second = listening(sched);
  const endpoint good = first.local_endpoint(), other = second.local_endpoint();
  CHECK(reached(connecting(sched, {good, other})) == good);
  CHECK(reached(connecting(sched, {deaf.where(), good, other})) == good);
  CHECK(reached(connecting(sched, {deaf.where(), deaf.where(), other, good})) == other);
  CHECK(sched.engine().active() == 0);
}

TEMPLATE_LIST_TEST_CASE("connect: falls back from IPv4 to IPv6, and from IPv6 to IPv4",
                        "[names][N09]", every_scheduler) {
  TestType sched;
  const deaf_port<TestType> four{sched}, six{sched, AF_INET6};
  rouse::socket<TestType> listener{sched, AF_INET6};
  listener.bind({"::1", 0});
  listener.listen();
  CHECK(reached(connecting(sched, {four.where(), listener.local_endpoint()})) ==
        listener.local_endpoint());
  rouse::socket fallback = listening(sched);
  CHECK(reached(connecting(sched, {six.where(), fallback.local_endpoint()})) ==
        fallback.local_endpoint());
}

TEMPLATE_LIST_TEST_CASE("connect: if all addresses fail, it reports the last reason",
                        "[names][N09]", every_scheduler) {
  TestType sched;
  const deaf_port<TestType> deaf{sched};
  const endpoint nowhere = endpoint::local("/no such folder/socket");
  CHECK(connecting(sched, {nowhere, deaf.where()}).wait().ec == std::errc::connection_refused);
  const auto last = connecting(sched, {deaf.where(), nowhere}).wait().ec;
#if ROUSE_WINDOWS
  CHECK((last == std::errc::no_such_file_or_directory || last == std::errc::connection_refused ||
         last == std::errc::address_family_not_supported)); // if there are local sockets
#else
  CHECK(last == std::errc::no_such_file_or_directory);
#endif
}

TEMPLATE_LIST_TEST_CASE("connect: a later address overtakes one that does not answer",
                        "[names][N09]", every_scheduler) {
  TestType sched;
  silent_peer<TestType> silent{sched};
  rouse::socket listener = listening(sched);
  CHECK(reached(connecting(sched, {silent.where(), listener.local_endpoint()})) ==
        listener.local_endpoint());
  run_until(sched, [&] { return sched.engine().active() == 0; }); // the other attempt was abandoned
}

TEMPLATE_LIST_TEST_CASE("connect: a limit, a stop_token and a cancel end the list of attempts",
                        "[names][N09][N08]", every_scheduler) {
  TestType sched;
  silent_peer<TestType> silent{sched};
  const endpoints list{silent.where(), silent.where(), silent.where()};
  CHECK(await<rouse::socket<TestType>>(sched, CALL(rouse::connect(sched, list, 50ms, how...))).ec ==
        std::errc::timed_out);
  std::stop_source source;
  auto stopped = start<rouse::socket<TestType>>(
      sched, CALL(rouse::connect(sched, list, source.get_token(), how...)));
  until_pending(sched, 2); // the call and its first attempt
  source.request_stop();
  CHECK(stopped.wait().ec == std::errc::operation_canceled);
  run_until(sched, [&] { return sched.engine().active() == 0; });
  CHECK(stopped.times() == 1);
}

TEMPLATE_LIST_TEST_CASE("connect: the limit covers the lookup", "[names][N09][N08]",
                        every_scheduler) {
  replaced_resolver system;
  TestType sched;
  CHECK(await<rouse::socket<TestType>>(sched, CALL(rouse::connect(sched, "held", 80, 1ms, how...)))
            .ec == std::errc::timed_out);
}

TEMPLATE_LIST_TEST_CASE("connect: the scheduler may be destroyed while addresses are tried",
                        "[names][N09]", every_scheduler) {
  auto sched = std::make_unique<TestType>();
  {
    auto outer = std::make_unique<TestType>();
    silent_peer<TestType> silent{*outer};
    const endpoints list{silent.where(), silent.where()};
    auto going = start<rouse::socket<TestType>>(
        *sched, [&s = *sched, list](auto&&... how) -> decltype(auto) {
          return rouse::connect(s, list, how...);
        });
    until_pending(*sched, 2);
    sched.reset();
    CHECK(going.times() <= 1); // flows end where they wait, without a result
  }
}

TEST_CASE("connect: the families alternate, beginning with the first", "[names][N09]") {
  const endpoint a4{"10.0.0.1", 1}, b4{"10.0.0.2", 1}, c4{"10.0.0.3", 1};
  const endpoint a6{"::1", 1}, b6{"::2", 1}, c6{"::3", 1};
  using rouse::detail::interleaved;
  CHECK(interleaved({}) == endpoints{});
  CHECK(interleaved({a4}) == endpoints{a4});
  CHECK(interleaved({a6, b6, a4, b4}) == endpoints{a6, a4, b6, b4});
  CHECK(interleaved({a6, b6, c6, a4}) == endpoints{a6, a4, b6, c6});
  CHECK(interleaved({a4, a6, b6, c6}) == endpoints{a4, a6, b6, c6});
  CHECK(interleaved({a4, b4, c4}) == endpoints{a4, b4, c4});
  CHECK(interleaved({a6, a4, b4, b6, c6, c4}) == endpoints{a6, a4, b6, b4, c6, c4});
}

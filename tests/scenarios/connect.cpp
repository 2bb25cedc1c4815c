// connect: section 3 of scenarios.md.
#include <support/silent_peer.hpp>

using namespace testing;

TEMPLATE_LIST_TEST_CASE("connect: the endpoints of both sides match", "[connect][S01][N04]",
                        every_scheduler) {
  connected_pair<TestType> pair;
  CHECK(pair.client.remote_endpoint() == pair.listener.local_endpoint());
  CHECK(pair.server.remote_endpoint() == pair.client.local_endpoint());
  CHECK(pair.server.local_endpoint() == pair.client.remote_endpoint());
  CHECK(pair.client.local_endpoint().port() != 0);
}

TEMPLATE_LIST_TEST_CASE("connect: works over IPv6", "[connect][S01]", every_scheduler) {
  connected_pair<TestType> pair{AF_INET6};
  CHECK(pair.server.remote_endpoint().address() == "::1");
  CHECK(send(pair.sched, pair.client, "six").value == 3);
  CHECK(receive(pair.sched, pair.server, 3) == "six");
}

TEMPLATE_LIST_TEST_CASE("connect: fails with connection_refused if the port has no listener",
                        "[connect][S02][B11]", every_scheduler) {
  TestType sched;
  const auto peer = [&] {
    rouse::socket taken{sched}; // bound, so that no other socket listens there
    taken.bind({"127.0.0.1", 0});
    return taken.local_endpoint();
  }();
  rouse::socket s{sched};
  CHECK(await<rouse::done>(sched, CALL(s.connect(peer, how...))).ec ==
        std::errc::connection_refused);
}

TEMPLATE_LIST_TEST_CASE("connect: fails with timed_out at the limit if the peer never answers",
                        "[connect][S03][B11]", every_scheduler) {
  TestType sched;
  silent_peer<TestType> peer{sched};
  rouse::socket s{sched};
  const auto before = std::chrono::steady_clock::now();
  CHECK(await<rouse::done>(sched, CALL(s.connect(peer.where(), 50ms, how...))).ec ==
        std::errc::timed_out);
  CHECK(std::chrono::steady_clock::now() - before >= 50ms); // never early
}

TEMPLATE_LIST_TEST_CASE("connect: closing the socket ends it once", "[connect][S04]",
                        every_scheduler) {
  TestType sched;
  silent_peer<TestType> peer{sched};
  rouse::socket s{sched};
  auto pending = start<rouse::done>(sched, CALL(s.connect(peer.where(), how...)));
  until_pending(sched, 1);
  s.close();
  CHECK(pending.wait().ec == std::errc::operation_canceled);
  CHECK(pending.times() == 1);
}

TEMPLATE_LIST_TEST_CASE("connect: a cancel ends it at once", "[connect][S05]", every_scheduler) {
  TestType sched;
  silent_peer<TestType> peer{sched};
  rouse::socket s{sched};
  auto pending = start<rouse::done>(sched, CALL(s.connect(peer.where(), how...)));
  until_pending(sched, 1);
  s.cancel();
  CHECK(pending.wait().ec == std::errc::operation_canceled);
}

TEMPLATE_LIST_TEST_CASE("connect: fails with already_connected on a connected socket",
                        "[connect][S06]", every_scheduler) {
  connected_pair<TestType> pair;
  const auto again = await<rouse::done>(
      pair.sched, CALL(pair.client.connect(pair.listener.local_endpoint(), how...)));
  CHECK(again.ec == std::errc::already_connected);
  CHECK(send(pair.sched, pair.client, "ok").value == 2);
}

TEMPLATE_LIST_TEST_CASE("connect: works after bind, and both endpoints are then known",
                        "[connect][S07]", every_scheduler) {
  TestType sched;
  auto listener = listening(sched);
  rouse::socket s{sched};
  s.bind({"127.0.0.1", 0});
  const auto mine = s.local_endpoint();
  auto accepted = start<rouse::socket<TestType>>(sched, CALL(listener.accept(how...)));
  REQUIRE(!await<rouse::done>(sched, CALL(s.connect(listener.local_endpoint(), how...))).ec);
  CHECK(s.local_endpoint() == mine);
  CHECK(s.remote_endpoint() == listener.local_endpoint());
  s.shutdown(rouse::shutdown_send);
  CHECK(receive(sched, accepted.wait().value, 1).empty());
}

TEMPLATE_LIST_TEST_CASE("bind: fails for a foreign address and for one in use", "[connect][S08]",
                        every_scheduler) {
  TestType sched;
  rouse::socket s{sched};
  std::error_code ec;
  s.bind({"203.0.113.7", 0}, ec);
  CHECK(ec == std::errc::address_not_available);
  s.bind({"::1", 0}, ec);
  CHECK(ec == std::errc::address_family_not_supported);
  auto first = listening(sched);
  s.bind(first.local_endpoint(), ec);
  if (!ec) s.listen(ec); // Linux may report it only here
  CHECK(ec == std::errc::address_in_use);
}

TEMPLATE_LIST_TEST_CASE("connect: reports an address without a route", "[connect][S08]",
                        every_scheduler) {
  TestType sched;
  rouse::socket s{sched, AF_INET6};
  // The documentation prefix with an impossible scope: no host has a route to it on loopback alone.
  const auto r = await<rouse::done>(sched, CALL(s.connect({"ff02::1", 9}, 5s, how...)));
  CHECK(r.ec);
  CHECK(r.ec != std::errc::timed_out);
}

TEMPLATE_LIST_TEST_CASE(
    "endpoints: are known after bind, and errors after a failed connect and after close",
    "[connect][N03]", every_scheduler) {
  TestType sched;
  rouse::socket s{sched};
  std::error_code ec;
  CHECK(s.local_endpoint(ec).port() == 0);
  CHECK(s.remote_endpoint(ec) == rouse::endpoint{});
  CHECK(ec == std::errc::not_connected);
  s.bind({"127.0.0.1", 0});
  const auto bound = s.local_endpoint();
  CHECK(bound.port() != 0);
  CHECK(s.local_endpoint() == bound); // unchanged
  const auto refusing = [&] {
    rouse::socket taken{sched};
    taken.bind({"127.0.0.1", 0});
    return taken.local_endpoint();
  }();
  REQUIRE(await<rouse::done>(sched, CALL(s.connect(refusing, how...))).ec ==
          std::errc::connection_refused);
  CHECK(s.remote_endpoint(ec) == rouse::endpoint{});
  CHECK(ec == std::errc::not_connected);
  s.close();
  CHECK(s.local_endpoint(ec) == rouse::endpoint{});
  CHECK(ec == std::errc::bad_file_descriptor);
  CHECK(s.remote_endpoint(ec) == rouse::endpoint{});
  CHECK(ec == std::errc::bad_file_descriptor);
  CHECK_THROWS_AS(s.local_endpoint(), std::system_error);
}

TEMPLATE_LIST_TEST_CASE("connect: the unspecified address reaches this machine", "[connect][N05]",
                        every_scheduler) {
  TestType sched;
  auto listener = listening(sched);
  rouse::socket s{sched};
  auto accepted = start<rouse::socket<TestType>>(sched, CALL(listener.accept(how...)));
  const rouse::endpoint anywhere{"0.0.0.0", listener.local_endpoint().port()};
  REQUIRE(!await<rouse::done>(sched, CALL(s.connect(anywhere, how...))).ec);
  REQUIRE(!accepted.wait().ec);
  CHECK(s.remote_endpoint() == listener.local_endpoint());
}

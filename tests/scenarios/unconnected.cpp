// Streams that were never connected, or failed to connect: every call fails with not_connected, and
// none reports the end of a stream.
#include <support/testing.hpp>

#include <cstdio>

using namespace testing;

namespace {

/// Checks that each call on `s` fails with not_connected.
template <class S>
void check_calls(S& sched, rouse::socket<S>& s) {
  for (int i = 0; i != 2; ++i) { // a second time as well
    std::array<char, 8> buf;
    std::error_code ec;
    std::array room{rouse::mutable_buffer(buf)};
    CHECK(await(sched, CALL(s.recv(buf, 5s, how...))).ec == std::errc::not_connected);
    CHECK(await<rouse::loan>(sched, CALL(s.receive(5s, how...))).ec == std::errc::not_connected);
    CHECK(await(sched, CALL(s.recv_exactly(buf, 5s, how...))).ec == std::errc::not_connected);
    CHECK(await(sched, CALL(s.recv(room, 5s, how...))).ec == std::errc::not_connected);
    CHECK(await(sched, CALL(s.recv_exactly(room, 5s, how...))).ec == std::errc::not_connected);
    CHECK(await<rouse::datagram>(sched, CALL(s.recv_from(buf, 5s, how...))).ec ==
          std::errc::not_connected);
    CHECK(await(sched, CALL(s.peek(buf, 5s, how...))).ec == std::errc::not_connected);
    s.try_recv(buf, ec);
    CHECK(ec == std::errc::not_connected);
  }
}

template <class S>
void check_sends(S& sched, rouse::socket<S>& s) {
  for (int i = 0; i != 2; ++i) {
    std::error_code ec;
    const std::string text = "x";
    std::array list{rouse::const_buffer(text)};
    CHECK(await(sched, CALL(s.send("x", 5s, how...))).ec == std::errc::not_connected);
    CHECK(await(sched, CALL(s.send_all("x", 5s, how...))).ec == std::errc::not_connected);
    CHECK(await(sched, CALL(s.send_all(list, 5s, how...))).ec == std::errc::not_connected);
    s.try_send("x", ec);
    CHECK(ec == std::errc::not_connected);
  }
}

/// A port without a listener.
template <class S>
rouse::endpoint closed_port(S& sched) {
  rouse::socket s{sched};
  s.bind({"127.0.0.1", 0});
  return s.local_endpoint();
}

} // namespace

TEMPLATE_LIST_TEST_CASE("each call on a stream that was never connected fails with not_connected",
                        "[end][E04]", every_scheduler) {
  TestType sched;
  rouse::socket s{sched};
  check_calls(sched, s);
  check_sends(sched, s);
}

TEMPLATE_LIST_TEST_CASE("each call on a stream after a refused connect fails with not_connected",
                        "[end][E04]", every_scheduler) {
  TestType sched;
  rouse::socket s{sched};
  const auto nowhere = closed_port(sched);
  CHECK(await<rouse::done>(sched, CALL(s.connect(nowhere, 10s, how...))).ec ==
        std::errc::connection_refused);
  check_calls(sched, s);
  check_sends(sched, s);
}

TEMPLATE_LIST_TEST_CASE(
    "calls on a stream that was shut down and never connected fail with not_connected",
    "[end][E04]", every_single) {
  TestType sched;
  rouse::socket s{sched};
  std::error_code ec;
  s.shutdown(rouse::shutdown_both, ec);
  CHECK(ec == std::errc::not_connected);
  check_calls(sched, s);
  check_sends(sched, s);
}

TEMPLATE_LIST_TEST_CASE("a reader on a stream after a refused connect fails with not_connected",
                        "[end][reader][E04]", every_single) {
  TestType sched;
  rouse::socket s{sched};
  const auto nowhere = closed_port(sched);
  CHECK(await<rouse::done>(sched, CALL(s.connect(nowhere, 10s, how...))).ec ==
        std::errc::connection_refused);
  rouse::reader<TestType> lines(s);
  CHECK(await<std::string_view>(sched, CALL(lines.read_until("\n", 5s, how...))).ec ==
        std::errc::not_connected);
}

TEMPLATE_LIST_TEST_CASE(
    "calls on a stream that was connected report the end, whatever happened later", "[end][E01]",
    every_single) {
  connected_pair<TestType> pair;
  std::array<char, 8> buf;
  pair.server.shutdown(rouse::shutdown_send);
  pair.client.shutdown(rouse::shutdown_send);
  for (int i = 0; i != 2; ++i) {
    for (auto* s : {&pair.server, &pair.client}) {
      const auto end = await(pair.sched, CALL(s->recv(buf, 5s, how...)));
      CHECK(!end.ec);
      CHECK(end.value == 0);
    }
  }
}

#if ROUSE_LINUX
// (Under Wine a recv on a listener waits forever.)
TEMPLATE_LIST_TEST_CASE("each stream call on a listener fails with not_connected", "[end][E04]",
                        every_single) {
  TestType sched;
  auto listener = listening(sched);
  check_calls(sched, listener);
}

TEMPLATE_LIST_TEST_CASE("calls on a local stream that was never connected fail with not_connected",
                        "[end][local][E04]", every_single) {
  TestType sched;
  for (const int type : {SOCK_STREAM, SOCK_SEQPACKET}) {
    rouse::socket s{sched, AF_UNIX, type};
    check_calls(sched, s);
    check_sends(sched, s);
  }
}

TEMPLATE_LIST_TEST_CASE("calls on a stream that a system call connected report the end",
                        "[end][E01]", every_single) {
  TestType sched;
  auto listener = listening(sched);
  rouse::socket s{sched};
  const rouse::os::socket_address to(listener.local_endpoint());
  const int result = ::connect(s.native_handle(), &to.any, to.length);
  REQUIRE((result == 0 || errno == EINPROGRESS));
  auto accepted = await<rouse::socket<TestType>>(sched, CALL(listener.accept(5s, how...)));
  REQUIRE(!accepted.ec);
  accepted.value.close();
  std::array<char, 8> buf;
  const auto end = await(sched, CALL(s.recv(buf, 5s, how...)));
  CHECK(!end.ec);
  CHECK(end.value == 0);
}

TEMPLATE_LIST_TEST_CASE("a stream can connect again after a refused connect on Linux", "[end][E04]",
                        every_single) {
  TestType sched;
  rouse::socket s{sched};
  const auto nowhere = closed_port(sched);
  CHECK(await<rouse::done>(sched, CALL(s.connect(nowhere, 10s, how...))).ec ==
        std::errc::connection_refused);
  auto listener = listening(sched);
  const auto to = listener.local_endpoint();
  CHECK(!await<rouse::done>(sched, CALL(s.connect(to, 10s, how...))).ec);
  auto accepted = await<rouse::socket<TestType>>(sched, CALL(listener.accept(5s, how...)));
  REQUIRE(!accepted.ec);
  send(sched, accepted.value, "abc");
  CHECK(receive(sched, s, 3) == "abc");
  accepted.value.close();
  std::array<char, 8> buf;
  const auto end = await(sched, CALL(s.recv(buf, 5s, how...)));
  CHECK(!end.ec);
  CHECK(end.value == 0);
}

TEMPLATE_LIST_TEST_CASE("send_file: fails with not_connected on a stream that was never connected",
                        "[end][files][E04]", every_single) {
  TestType sched;
  rouse::socket s{sched};
  std::FILE* const file = std::tmpfile();
  REQUIRE(file);
  CHECK(std::fputs("text", file) >= 0);
  CHECK(std::fflush(file) == 0);
  const int fd = ::fileno(file);
  CHECK(await<std::uint64_t>(sched, CALL(s.send_file(fd, 0, 4, 5s, how...))).ec ==
        std::errc::not_connected);
  std::fclose(file);
}
#endif

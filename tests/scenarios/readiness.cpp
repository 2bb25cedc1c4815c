// Readiness, and calls that wait for it: rows T11 and T12 of scenarios.md.
#include <support/testing.hpp>

using namespace testing;
using rouse::readable;
using rouse::writable;

namespace {

template <class S>
started<S, rouse::done> waiting(S& sched, rouse::socket<S>& s, rouse::readiness what) {
  return start<rouse::done>(
      sched, [&s, what](auto&&... how) -> decltype(auto) { return s.wait(what, how...); });
}

template <class S>
outcome<rouse::done> wait(S& sched, rouse::socket<S>& s, rouse::readiness what) {
  return await<rouse::done>(sched, CALL(s.wait(what, 5s, how...)));
}

} // namespace

TEMPLATE_LIST_TEST_CASE("wait: completes when bytes are there or arrive, and takes none",
                        "[readiness][T12]", every_scheduler) {
  connected_pair<TestType> pair;
  auto before = waiting(pair.sched, pair.server, readable);
  until_pending(pair.sched, 1);
  send(pair.sched, pair.client, "abc");
  CHECK(!before.wait().ec);
  CHECK(before.times() == 1);
  CHECK(!wait(pair.sched, pair.server, readable).ec); // still ready: nothing was taken
  CHECK(receive(pair.sched, pair.server, 2) == "ab");
  CHECK(!wait(pair.sched, pair.server, readable).ec); // one byte is left
  CHECK(receive(pair.sched, pair.server, 1) == "c");
  const auto none = await<rouse::done>(pair.sched, CALL(pair.server.wait(readable, 2ms, how...)));
  CHECK(none.ec == std::errc::timed_out);
  pair.client.close();
  CHECK(!wait(pair.sched, pair.server, readable).ec); // the end of the stream
  std::array<char, 8> buf;
  CHECK(await(pair.sched, CALL(pair.server.recv(buf, 5s, how...))).value == 0);
}

TEMPLATE_LIST_TEST_CASE("wait: reports new bytes after a recv that had to wait", "[readiness][T12]",
                        every_scheduler) {
  connected_pair<TestType> pair;
  std::array<char, 16> buf;
  for (int i = 0; i != 3; ++i) {
    auto receiving = start(pair.sched, CALL(pair.server.recv(buf, how...)));
    until_pending(pair.sched, 1);
    send(pair.sched, pair.client, "a");
    CHECK(receiving.wait().value == 1);
    auto ready = waiting(pair.sched, pair.server, readable);
    until_pending(pair.sched, 1);
    CHECK(!ready.finished());
    send(pair.sched, pair.client, "bc");
    CHECK(!ready.wait().ec);
    CHECK(await(pair.sched, CALL(pair.server.recv(buf, 5s, how...))).value == 2);
  }
}

TEMPLATE_LIST_TEST_CASE("wait: reports writable once the peer has made room", "[readiness][T12]",
                        every_scheduler) {
  connected_pair<TestType> pair;
  CHECK(!wait(pair.sched, pair.client, writable).ec);
  const std::string block = large_block();
  const auto filled = await(pair.sched, CALL(pair.client.send_all(block, 20ms, how...)));
  CHECK(filled.ec == std::errc::timed_out);
  auto room = waiting(pair.sched, pair.client, writable);
  until_pending(pair.sched, 1);
  CHECK(!room.finished());
  std::vector<char> sink(block.size());
  auto draining = start(pair.sched, CALL(pair.server.recv_exactly(sink, how...)));
  CHECK(!room.wait().ec);
  CHECK(room.times() == 1);
  pair.client.close();
  CHECK(draining.wait().value < block.size());
}

TEMPLATE_LIST_TEST_CASE("wait: reports a datagram and leaves it", "[readiness][datagram][T12]",
                        every_scheduler) {
  TestType sched;
  rouse::socket a{sched, AF_INET, SOCK_DGRAM}, b{sched, AF_INET, SOCK_DGRAM};
  b.bind({"127.0.0.1", 0});
  CHECK(!wait(sched, a, writable).ec);
  auto ready = waiting(sched, b, readable);
  until_pending(sched, 1);
  const auto to = b.local_endpoint();
  CHECK(await(sched, CALL(a.send_to("one", to, how...))).value == 3);
  CHECK(!ready.wait().ec);
  CHECK(!wait(sched, b, readable).ec);
  std::array<char, 8> buf;
  CHECK(await<rouse::datagram>(sched, CALL(b.recv_from(buf, 5s, how...))).value.bytes == 3);
  auto none = await<rouse::done>(sched, CALL(b.wait(readable, 2ms, how...)));
  CHECK(none.ec == std::errc::timed_out);
}

TEMPLATE_LIST_TEST_CASE("wait: a listener is readable when a connection can be accepted",
                        "[readiness][T12]", every_scheduler) {
  TestType sched;
  auto listener = listening(sched);
  for (int i = 0; i != 2; ++i) {
    auto ready = waiting(sched, listener, readable);
    until_pending(sched, 1);
    rouse::socket client{sched};
    const auto where = listener.local_endpoint();
    CHECK(!await<rouse::done>(sched, CALL(client.connect(where, how...))).ec);
    CHECK(!ready.wait().ec);
    CHECK(!await<rouse::socket<TestType>>(sched, CALL(listener.accept(5s, how...))).ec);
  }
  // Beside accepts that wait.
  auto accepting = start<rouse::socket<TestType>>(sched, CALL(listener.accept(how...)));
  until_pending(sched, 1);
  auto ready = waiting(sched, listener, readable);
  until_pending(sched, 2);
  rouse::socket first{sched}, second{sched};
  const auto where = listener.local_endpoint();
  CHECK(!await<rouse::done>(sched, CALL(first.connect(where, how...))).ec);
  CHECK(!await<rouse::done>(sched, CALL(second.connect(where, how...))).ec);
  CHECK(!accepting.wait().ec);
  CHECK(!ready.wait().ec);
  CHECK(!await<rouse::socket<TestType>>(sched, CALL(listener.accept(5s, how...))).ec);
}

TEMPLATE_LIST_TEST_CASE("wait: queues in order with recvs", "[readiness][T12]", every_single) {
  connected_pair<TestType> pair;
  std::array<char, 3> three;
  auto first = start(pair.sched, CALL(pair.server.recv(three, how...)));
  until_pending(pair.sched, 1);
  auto ready = waiting(pair.sched, pair.server, readable);
  until_pending(pair.sched, 2);
  auto last = start(pair.sched, CALL(pair.server.recv(three, how...)));
  until_pending(pair.sched, 3);
  send(pair.sched, pair.client, "abc");
  CHECK(first.wait().value == 3);
  run_until(pair.sched, [&] { return pair.sched.engine().active() == 2; });
  CHECK(!ready.finished());
  CHECK(!last.finished());
  send(pair.sched, pair.client, "de");
  CHECK(!ready.wait().ec);
  CHECK(last.wait().value == 2);
}

TEMPLATE_LIST_TEST_CASE(
    "wait: a cancel ends one in the middle of the queue, and the others continue",
    "[readiness][T12][X04]", every_single) {
  connected_pair<TestType> pair;
  std::array<char, 3> three;
  auto first = start(pair.sched, CALL(pair.server.recv(three, how...)));
  until_pending(pair.sched, 1);
  std::stop_source source;
  auto ready =
      start<rouse::done>(pair.sched, CALL(pair.server.wait(readable, source.get_token(), how...)));
  until_pending(pair.sched, 2);
  auto last = start(pair.sched, CALL(pair.server.recv(three, how...)));
  until_pending(pair.sched, 3);
  source.request_stop();
  CHECK(ready.wait().ec == std::errc::operation_canceled);
  send(pair.sched, pair.client, "abcdef");
  CHECK(first.wait().value == 3);
  CHECK(last.wait().value == 3);
}

TEMPLATE_LIST_TEST_CASE("wait: a limit, a token and a close end it", "[readiness][T12]",
                        every_scheduler) {
  connected_pair<TestType> pair;
  const auto timed = await<rouse::done>(pair.sched, CALL(pair.server.wait(readable, 0s, how...)));
  CHECK(timed.ec == std::errc::timed_out);
  std::stop_source source;
  auto stopped =
      start<rouse::done>(pair.sched, CALL(pair.server.wait(readable, source.get_token(), how...)));
  until_pending(pair.sched, 1);
  source.request_stop();
  CHECK(stopped.wait().ec == std::errc::operation_canceled);
  auto closed = waiting(pair.sched, pair.server, readable);
  auto behind = waiting(pair.sched, pair.server, readable);
  until_pending(pair.sched, 2);
  pair.server.close();
  CHECK(closed.wait().ec == std::errc::operation_canceled);
  CHECK(behind.wait().ec == std::errc::operation_canceled);
  CHECK(wait(pair.sched, pair.server, writable).ec == std::errc::bad_file_descriptor);
}

TEMPLATE_LIST_TEST_CASE("wait: a reset makes the socket readable, and recv reports it",
                        "[readiness][T12][E02]", every_scheduler) {
  connected_pair<TestType> pair;
  auto ready = waiting(pair.sched, pair.server, readable);
  until_pending(pair.sched, 1);
  pair.client.set_option(rouse::linger{true, 0s});
  pair.client.close();
  CHECK(!ready.wait().ec);
  std::array<char, 8> buf;
  CHECK(await(pair.sched, CALL(pair.server.recv(buf, 5s, how...))).ec ==
        std::errc::connection_reset);
}

TEMPLATE_LIST_TEST_CASE("wait: the end of both directions is not a reset", "[readiness][T12][E01]",
                        every_scheduler) {
  connected_pair<TestType> pair;
  pair.server.shutdown(rouse::shutdown_send);
  pair.client.shutdown(rouse::shutdown_send);
  CHECK(!wait(pair.sched, pair.server, readable).ec);
  std::array<char, 8> buf;
  CHECK(await(pair.sched, CALL(pair.client.recv(buf, 5s, how...))).value == 0);
  CHECK(!wait(pair.sched, pair.server, readable).ec);
  const auto end = await(pair.sched, CALL(pair.server.recv(buf, 5s, how...)));
  CHECK(!end.ec);
  CHECK(end.value == 0);
}

TEMPLATE_LIST_TEST_CASE("wait: may be abandoned while it waits", "[readiness][T12][L01]",
                        every_scheduler) {
  for (const bool answered : {false, true}) {
    connected_pair<TestType> pair;
    auto first = waiting(pair.sched, pair.server, readable);
    auto second = waiting(pair.sched, pair.server, readable);
    until_pending(pair.sched, 2);
    if (answered) send(pair.sched, pair.client, "for no call");
  } // the sanitizers check what remains
}

TEMPLATE_LIST_TEST_CASE("peek: returns the bytes and leaves them", "[readiness][peek][T11]",
                        every_scheduler) {
  connected_pair<TestType> pair;
  std::array<char, 8> buf;
  auto waits = start(pair.sched, CALL(pair.server.peek(buf, how...)));
  until_pending(pair.sched, 1);
  send(pair.sched, pair.client, "abc");
  CHECK(waits.wait().value == 3);
  CHECK(std::string(buf.data(), 3) == "abc");
  std::array<char, 2> two;
  CHECK(await(pair.sched, CALL(pair.server.peek(two, 5s, how...))).value == 2);
  CHECK(receive(pair.sched, pair.server, 3) == "abc");
  CHECK(await(pair.sched, CALL(pair.server.peek(buf, 2ms, how...))).ec == std::errc::timed_out);
  CHECK(await(pair.sched, CALL(pair.server.peek({buf.data(), 0}, how...))).ec ==
        std::errc::invalid_argument);
  pair.client.close();
  for (int i = 0; i != 2; ++i) {
    const auto end = await(pair.sched, CALL(pair.server.peek(buf, 5s, how...)));
    CHECK(!end.ec);
    CHECK(end.value == 0);
  }
}

TEMPLATE_LIST_TEST_CASE("peek: leaves the bytes to a recv that waits behind it",
                        "[readiness][peek][T11]", every_single) {
  connected_pair<TestType> pair;
  std::array<char, 8> peeked, received;
  auto first = start(pair.sched, CALL(pair.server.peek(peeked, how...)));
  until_pending(pair.sched, 1);
  auto second = start(pair.sched, CALL(pair.server.recv(received, how...)));
  until_pending(pair.sched, 2);
  send(pair.sched, pair.client, "abc");
  CHECK(first.wait().value == 3);
  CHECK(second.wait().value == 3);
}

TEMPLATE_LIST_TEST_CASE("peek: returns a datagram, or the beginning of a larger one",
                        "[readiness][peek][datagram][T11]", every_scheduler) {
  TestType sched;
  rouse::socket a{sched, AF_INET, SOCK_DGRAM}, b{sched, AF_INET, SOCK_DGRAM};
  b.bind({"127.0.0.1", 0});
  const auto to = b.local_endpoint();
  CHECK(await(sched, CALL(a.send_to("abcdefgh", to, how...))).value == 8);
  std::array<char, 8> buf;
  std::array<char, 3> three;
  const auto beginning = await(sched, CALL(b.peek(three, 5s, how...)));
  CHECK(!beginning.ec);
  CHECK(beginning.value == 3);
  CHECK(await(sched, CALL(b.peek(buf, 5s, how...))).value == 8);
  CHECK(await(sched, CALL(b.recv(buf, 5s, how...))).value == 8);
  CHECK(std::string(buf.data(), 8) == "abcdefgh");
}

TEMPLATE_LIST_TEST_CASE("peek: reports an unconnected socket and a reset", "[readiness][peek][T11]",
                        every_scheduler) {
  connected_pair<TestType> pair;
  std::array<char, 8> buf;
  rouse::socket lone{pair.sched};
  CHECK(await(pair.sched, CALL(lone.peek(buf, how...))).ec == std::errc::not_connected);
  rouse::socket<TestType> closed;
  CHECK(await(pair.sched, CALL(closed.peek(buf, how...))).ec == std::errc::bad_file_descriptor);
  auto waits = start(pair.sched, CALL(pair.server.peek(buf, how...)));
  until_pending(pair.sched, 1);
  pair.client.set_option(rouse::linger{true, 0s});
  pair.client.close();
  CHECK(waits.wait().ec == std::errc::connection_reset);
}

TEMPLATE_LIST_TEST_CASE("try_recv, try_send: complete at once or fail with operation_would_block",
                        "[readiness][try][T11]", every_scheduler) {
  connected_pair<TestType> pair;
  std::array<char, 8> buf;
  std::error_code ec;
  CHECK(pair.server.try_recv(buf, ec) == 0);
  CHECK(ec == std::errc::operation_would_block);
  CHECK_THROWS_AS(pair.server.try_recv(buf), std::system_error);
  CHECK(pair.client.try_send("abc") == 3);
  CHECK(!wait(pair.sched, pair.server, readable).ec);
  CHECK(pair.server.try_recv(buf, ec) == 3);
  CHECK(!ec);
  CHECK(pair.client.try_send("", ec) == 0);
  CHECK(!ec);
  CHECK(pair.server.try_recv({buf.data(), 0}, ec) == 0);
  CHECK(ec == std::errc::invalid_argument);

  const std::string block = large_block();
  std::size_t sent = 0;
  do sent += pair.client.try_send(block, ec);
  while (!ec);
  CHECK(ec == std::errc::operation_would_block);
  CHECK(sent != 0);
  std::string got = receive(pair.sched, pair.server, sent);
  CHECK(got.size() == sent);
  CHECK(!wait(pair.sched, pair.client, writable).ec);
  CHECK(pair.client.try_send("last") == 4);
  CHECK(receive(pair.sched, pair.server, 4) == "last");

  // The other calls work as before.
  auto receiving = start(pair.sched, CALL(pair.server.recv(buf, how...)));
  until_pending(pair.sched, 1);
  CHECK(pair.server.try_recv(buf, ec) == 0); // the waiting call is first
  CHECK(ec == std::errc::operation_would_block);
  send(pair.sched, pair.client, "more");
  CHECK(receiving.wait().value == 4);

  pair.client.close();
  CHECK(!wait(pair.sched, pair.server, readable).ec);
  CHECK(pair.server.try_recv(buf, ec) == 0);
  CHECK(!ec);
  CHECK(pair.client.try_send("gone", ec) == 0);
  CHECK(ec == std::errc::bad_file_descriptor);
}

TEMPLATE_LIST_TEST_CASE("try_recv: handles a datagram larger than the buffer, and an empty one",
                        "[readiness][try][datagram][T11][U04]", every_scheduler) {
  TestType sched;
  rouse::socket a{sched, AF_INET, SOCK_DGRAM}, b{sched, AF_INET, SOCK_DGRAM};
  b.bind({"127.0.0.1", 0});
  const auto to = b.local_endpoint();
  CHECK(!await<rouse::done>(sched, CALL(a.connect(to, how...))).ec);
  CHECK(a.try_send("abcdefgh") == 8);
  CHECK(a.try_send("") == 0);
  std::array<char, 4> four;
  std::error_code ec;
  CHECK(!wait(sched, b, readable).ec);
  CHECK(b.try_recv(four, ec) == 4);
  CHECK(ec == std::errc::message_size);
  CHECK(!wait(sched, b, readable).ec);
  CHECK(b.try_recv(four, ec) == 0);
  CHECK(!ec);
}

TEMPLATE_LIST_TEST_CASE("out of band: the urgent byte is received beside the stream",
                        "[readiness][out_of_band]", every_scheduler) {
  connected_pair<TestType> pair;
  std::array<char, 8> buf, more;
  auto urgent = start(pair.sched, CALL(pair.server.recv_out_of_band(buf, how...)));
  auto receiving = start(pair.sched, CALL(pair.server.recv(more, how...)));
  until_pending(pair.sched, 2);
  send(pair.sched, pair.client, "abc");
  CHECK(receiving.wait().value == 3); // not delayed by the call before it
  CHECK(!urgent.finished());
  CHECK(await(pair.sched, CALL(pair.client.send_out_of_band("!", how...))).value == 1);
  CHECK(urgent.wait().value == 1);
  CHECK(buf[0] == '!');
  send(pair.sched, pair.client, "def");
  CHECK(receive(pair.sched, pair.server, 3) == "def");

  const auto none = await(pair.sched, CALL(pair.server.recv_out_of_band(buf, 2ms, how...)));
  CHECK(none.ec == std::errc::timed_out);
  auto ready = waiting(pair.sched, pair.server, rouse::urgent);
  until_pending(pair.sched, 1);
  CHECK(await(pair.sched, CALL(pair.client.send_out_of_band("?", how...))).value == 1);
  CHECK(!ready.wait().ec);
  CHECK(await(pair.sched, CALL(pair.server.recv_out_of_band(buf, 5s, how...))).value == 1);
  CHECK(buf[0] == '?');

  auto reset = start(pair.sched, CALL(pair.server.recv_out_of_band(buf, how...)));
  until_pending(pair.sched, 1);
  pair.client.set_option(rouse::linger{true, 0s});
  pair.client.close();
  const auto& last = reset.wait();
  CHECK(last.value == 0);
  CHECK((!last.ec || last.ec == std::errc::connection_reset));
}

TEMPLATE_LIST_TEST_CASE("out of band: in line, the urgent byte is at its place in the stream",
                        "[readiness][out_of_band]", every_scheduler) {
  connected_pair<TestType> pair;
  pair.server.set_option(rouse::out_of_band_inline{true});
  send(pair.sched, pair.client, "abc");
  CHECK(await(pair.sched, CALL(pair.client.send_out_of_band("de!", how...))).value == 3);
  send(pair.sched, pair.client, "fg");
  std::array<char, 16> buf;
  CHECK(receive(pair.sched, pair.server, 8) == "abcde!fg");
  CHECK(await(pair.sched, CALL(pair.server.recv_out_of_band(buf, 1s, how...))).ec ==
        std::errc::invalid_argument);
}

// A buffered reader over a socket. Other files compile this one for other streams.
#include <support/testing.hpp>

using namespace testing;

namespace {

using view = std::string_view;

#ifndef TESTING_OTHER_STREAMS
template <class S>
using pair_of_streams = connected_pair<S>;
inline constexpr std::size_t operations_of_a_read = 1;
#endif

template <class S>
struct reading : pair_of_streams<S> {
  rouse::reader<decltype(pair_of_streams<S>::server)> in;
  explicit reading(std::size_t most = 1 << 20) : in(this->server, most) {}

  outcome<view> line() { return await<view>(this->sched, CALL(in.read_line(5s, how...))); }
  outcome<view> until(view delimiter) {
    return await<view>(this->sched, CALL(in.read_until(delimiter, 5s, how...)));
  }
  outcome<view> exactly(std::size_t n) {
    return await<view>(this->sched, CALL(in.read_exactly(n, 5s, how...)));
  }
  void peer_sends(view text) {
    CHECK(!await(this->sched, CALL(this->client.send_all(text, how...))).ec);
  }
  void until_it_waits() { until_pending(this->sched, operations_of_a_read); }
};

} // namespace

TEMPLATE_LIST_TEST_CASE("reader: returns lines, however the bytes arrive", "[reader]",
                        every_scheduler) {
  reading<TestType> r;
  r.peer_sends("first\nsec");
  CHECK(r.line().value == "first\n");
  auto waiting = start<view>(r.sched, CALL(r.in.read_line(how...)));
  r.until_it_waits();
  r.peer_sends("on");
  r.peer_sends("d\n\nla");
  CHECK(waiting.wait().value == "second\n");
  CHECK(r.line().value == "\n");
  r.peer_sends("st");
  r.client.close();
  const auto last = r.line();
  CHECK(!last.ec);
  CHECK(last.value == "last");
  for (int i = 0; i != 2; ++i) {
    const auto end = r.line();
    CHECK(!end.ec);
    CHECK(end.value.empty());
  }
}

TEMPLATE_LIST_TEST_CASE(
    "reader: finds a delimiter that arrives in two parts, and reads exact numbers of bytes",
    "[reader]", every_scheduler) {
  reading<TestType> r;
  auto waiting = start<view>(r.sched, CALL(r.in.read_until("\r\n\r\n", how...)));
  r.until_it_waits();
  for (const view part : {"GET / HTTP/1.1\r", "\n\r", "\nbo", "dy and"}) r.peer_sends(part);
  CHECK(waiting.wait().value == "GET / HTTP/1.1\r\n\r\n");
  CHECK(r.exactly(4).value == "body");
  CHECK(r.in.buffered().substr(0, 4) == "body");
  r.peer_sends(" more");
  CHECK(r.until(" mo").value == " and mo");
  CHECK(r.exactly(1).value == "r");
  r.client.close();
  CHECK(r.exactly(100).value == "e");
  CHECK(r.exactly(100).value.empty());
  CHECK(r.exactly(0).ec == std::errc::invalid_argument);
}

TEMPLATE_LIST_TEST_CASE("reader: a limit and a cancel lose no byte", "[reader]", every_scheduler) {
  reading<TestType> r;
  r.peer_sends("half ");
  CHECK(await<view>(r.sched, CALL(r.in.read_line(5ms, how...))).ec == std::errc::timed_out);
  CHECK(r.in.buffered() == "half ");
  auto cancelled = start<view>(r.sched, CALL(r.in.read_line(how...)));
  r.until_it_waits();
  r.server.cancel();
  CHECK(cancelled.wait().ec == std::errc::operation_canceled);
  r.peer_sends("a line\n");
  CHECK(r.line().value == "half a line\n");
}

TEMPLATE_LIST_TEST_CASE("reader: a piece longer than allowed is refused and not lost", "[reader]",
                        every_scheduler) {
  reading<TestType> r(10);
  r.peer_sends("0123456789abc\n");
  CHECK(r.line().ec == std::errc::message_size);
  CHECK(r.in.buffered() == "0123456789");
  CHECK(r.exactly(11).ec == std::errc::message_size);
  CHECK(r.exactly(6).value == "012345");
  CHECK(r.line().value == "6789abc\n");
}

TEMPLATE_LIST_TEST_CASE("reader: returns many lines of all lengths", "[reader]", every_scheduler) {
  reading<TestType> r;
  std::vector<std::string> lines;
  std::string all;
  for (std::size_t i = 0; i != 300; ++i) {
    lines.push_back(std::string(i * 37 % 9001, static_cast<char>('a' + i % 26)) + "\n");
    all += lines.back();
  }
  auto sending = start(r.sched, CALL(r.client.send_all(all, how...)));
  bool same = true;
  for (const auto& l : lines) same = same && r.line().value == l;
  CHECK(same);
  CHECK(sending.wait().value == all.size());
  CHECK(r.in.buffered() == lines.back()); // the bytes of the last call
}

TEMPLATE_LIST_TEST_CASE("reader: reports a closed socket", "[reader]", every_scheduler) {
  reading<TestType> r;
  r.peer_sends("one\ntwo\n");
  CHECK(r.line().value == "one\n");
  r.server.close();
  CHECK(r.line().value == "two\n"); // it was buffered already
  CHECK(r.line().ec == std::errc::bad_file_descriptor);
}

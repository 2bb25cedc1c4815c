// A std::iostream over a socket. Another file compiles this one for TLS sockets.
#include <rouse/iostream.hpp>
#include <support/testing.hpp>

using namespace testing;

namespace {

#ifndef TESTING_OTHER_STREAMS
template <class S>
using pair_of_streams = connected_pair<S>;
const std::error_code after_destruction; // what a peer's recv then reports
#endif

template <class S>
struct streams : pair_of_streams<S> {
  rouse::socket_stream<decltype(pair_of_streams<S>::server)> io{std::move(this->server)};
  std::string line;

  bool next_line() { return static_cast<bool>(std::getline(io, line)); }
};

} // namespace

TEMPLATE_LIST_TEST_CASE("iostream: reads lines and numbers up to the end", "[iostream][P07]",
                        every_stacked) {
  streams<TestType> s;
  s.client.send_all("first\n12 0.5 word\nlast");
  s.client.shutdown(rouse::shutdown_send);
  REQUIRE(s.next_line());
  CHECK(s.line == "first");
  int number = 0;
  double half = 0;
  std::string word;
  CHECK(s.io >> number >> half >> word);
  CHECK(number == 12);
  CHECK(half == 0.5);
  CHECK(word == "word");
  CHECK(s.next_line());
  CHECK(s.next_line());
  CHECK(s.line == "last");
  CHECK(s.io.eof());
  CHECK_FALSE(s.next_line());
  CHECK_FALSE(s.io.bad());
  CHECK(!s.io.error());
}

TEMPLATE_LIST_TEST_CASE("iostream: output is sent by flush, before a read, and on destruction",
                        "[iostream][P07]", every_stacked) {
  pair_of_streams<TestType> pair;
  {
    rouse::socket_stream io{std::move(pair.server)};
    io << "number " << 7;
    std::array<char, 16> buf;
    std::error_code ec;
    pair.client.recv(buf, 1ms, ec);
    CHECK(ec == std::errc::timed_out);
    io << std::endl;
    CHECK(receive(pair.sched, pair.client, 9) == "number 7\n");
    io << "question?";
    pair.client.send_all("answer\n");
    std::string line;
    CHECK(std::getline(io, line));
    CHECK(line == "answer");
    CHECK(receive(pair.sched, pair.client, 9) == "question?");
    io << "farewell";
  }
  CHECK(receive(pair.sched, pair.client, 8) == "farewell");
  std::array<char, 1> more;
  std::error_code ec;
  CHECK(pair.client.recv(more, patience, ec) == 0);
  CHECK(ec == after_destruction);
}

TEMPLATE_LIST_TEST_CASE("iostream: transfers more than its buffers hold", "[iostream]",
                        every_stacked) {
  streams<TestType> s;
  std::string text(100'000, 'x'), got(text.size(), '\0');
  for (std::size_t i = 0; i != text.size(); ++i) text[i] = static_cast<char>(i % 251);
  auto sent = start(s.sched, CALL(s.client.send_all(text, how...)));
  CHECK(s.io.read(got.data(), static_cast<std::streamsize>(got.size())));
  CHECK(got == text);
  CHECK(sent.wait().value == text.size());
  got.assign(text.size(), '\0');
  auto back = start(s.sched, CALL(s.client.recv_exactly(got, how...)));
  CHECK(s.io << text << std::flush);
  CHECK(back.wait().value == text.size());
  CHECK(got == text);
}

TEMPLATE_LIST_TEST_CASE(
    "iostream: an error sets badbit, error() returns it, and clear() allows more",
    "[iostream][P07][X01]", every_stacked) {
  streams<TestType> s;
  s.client.send_all("half ");
  s.io.connection().timeout(5ms);
  CHECK_FALSE(s.next_line());
  CHECK(s.line == "half ");
  CHECK(s.io.bad());
  CHECK_FALSE(s.io.eof());
  CHECK(s.io.error() == std::errc::timed_out);
  s.io.clear();
  s.client.send_all("a line\n");
  CHECK(s.next_line());
  CHECK(s.line == "a line");
  CHECK(!s.io.error());
  s.io.exceptions(std::ios::badbit);
  std::error_code thrown;
  try {
    s.io.get();
  } catch (const std::system_error& e) {
    thrown = e.code();
  }
  CHECK(thrown == std::errc::timed_out);
}

TEMPLATE_LIST_TEST_CASE("iostream: close sends what was written, and later calls fail",
                        "[iostream][P07]", every_stacked) {
  streams<TestType> s;
  s.io << "the end";
  s.io.close();
  CHECK(s.io.good());
  CHECK_FALSE(s.io.connection().is_open());
  CHECK(receive(s.sched, s.client, 100) == "the end");
  CHECK_FALSE(s.io << "more" << std::flush);
  CHECK(s.io.error() == std::errc::bad_file_descriptor);
}

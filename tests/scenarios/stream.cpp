// Sending and receiving: section 5 of scenarios.md.
#include <support/testing.hpp>

using namespace testing;

TEMPLATE_LIST_TEST_CASE("an empty buffer is refused by recv and sent as nothing by send",
                        "[stream][T01]", every_scheduler) {
  connected_pair<TestType> pair;
  std::array<char, 1> none;
  const rouse::mutable_buffer empty{none.data(), 0};
  CHECK(await(pair.sched, CALL(pair.client.recv(empty, how...))).ec == std::errc::invalid_argument);
  CHECK(await(pair.sched, CALL(pair.client.recv_exactly(empty, how...))).ec ==
        std::errc::invalid_argument);
  for (const auto& r : {await(pair.sched, CALL(pair.client.send("", how...))),
                        await(pair.sched, CALL(pair.client.send_all("", how...)))}) {
    CHECK(!r.ec);
    CHECK(r.value == 0);
  }
  CHECK(send(pair.sched, pair.client, "x").value == 1); // the stream has not ended
  CHECK(receive(pair.sched, pair.server, 1) == "x");
}

TEMPLATE_LIST_TEST_CASE(
    "recv: returns the bytes that are there, recv_exactly all bytes or those up to the end",
    "[stream][T02]", every_scheduler) {
  connected_pair<TestType> pair;
  send(pair.sched, pair.server, "abcdef");
  std::array<char, 4> four;
  CHECK(await(pair.sched, CALL(pair.client.recv_exactly(four, how...))).value == 4);
  CHECK(std::string(four.data(), 4) == "abcd");
  std::array<char, 64> large;
  const auto rest = await(pair.sched, CALL(pair.client.recv(large, how...)));
  CHECK(rest.value == 2);
  send(pair.sched, pair.server, "xyz");
  pair.server.close();
  const auto last = await(pair.sched, CALL(pair.client.recv_exactly(large, how...)));
  CHECK(!last.ec);
  CHECK(last.value == 3);
}

namespace {
char pattern(std::size_t i) { return static_cast<char>((i * 2654435761u) >> 13); }
} // namespace

TEMPLATE_LIST_TEST_CASE("many megabytes in both directions at once arrive unchanged",
                        "[stream][T03]", every_scheduler) {
  connected_pair<TestType> pair;
  const std::size_t size = std::size_t{ROUSE_WINDOWS ? 4 : 64} << 20;
  std::string there(size, 0), back(size, 0), got_there(size, 0), got_back(size, 0);
  for (std::size_t i = 0; i != size; ++i) there[i] = pattern(i), back[i] = pattern(i + 7);
  auto s1 = start(pair.sched, CALL(pair.client.send_all(there, how...)));
  auto s2 = start(pair.sched, CALL(pair.server.send_all(back, how...)));
  auto r1 = start(pair.sched, CALL(pair.server.recv_exactly(got_there, how...)));
  auto r2 = start(pair.sched, CALL(pair.client.recv_exactly(got_back, how...)));
  for (auto* call : {&s1, &s2, &r1, &r2}) {
    CHECK(!call->wait().ec);
    CHECK(call->wait().value == size);
  }
  CHECK((there == got_there));
  CHECK((back == got_back));
}

TEMPLATE_LIST_TEST_CASE("ten thousand single bytes arrive in order", "[stream][T04][B18]",
                        every_scheduler) {
  connected_pair<TestType> pair;
  const std::size_t n = ROUSE_WINDOWS ? 500 : 10000;
  std::string text(n, 0);
  for (std::size_t i = 0; i != n; ++i) text[i] = pattern(i);
  send(pair.sched, pair.server, text);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i != n; ++i) {
    char c = 0;
    const rouse::mutable_buffer one{&c, 1};
    wrong += await(pair.sched, CALL(pair.client.recv(one, how...))).value != 1 || c != text[i];
  }
  CHECK(wrong == 0);
}

TEMPLATE_LIST_TEST_CASE("sends that queue up keep their order", "[stream][T05][B12][B16]",
                        every_single) {
  connected_pair<TestType> pair;
  const std::size_t block = 1 << 20;
  std::vector<std::string> blocks;
  for (char c = 'a'; c != 'g'; ++c) blocks.emplace_back(block, c);
  std::vector<started<TestType, std::size_t>> sends;
  for (auto& b : blocks)
    sends.push_back(start(pair.sched, [&](auto&&... how) -> decltype(auto) {
      return pair.client.send_all(b, how...);
    }));
  const std::string got = receive(pair.sched, pair.server, block * blocks.size());
  for (auto& s : sends) CHECK(s.wait().value == block);
  // After a send that the kernel took in part, the next call may send: send_all is one call, but
  // not one request. The bytes of each call are in order; messages that fit at once are whole.
  for (const auto& b : blocks)
    CHECK(static_cast<std::size_t>(std::count(got.begin(), got.end(), b[0])) == block);
}

TEMPLATE_LIST_TEST_CASE("small sends in a row, also right after connect, keep their order",
                        "[stream][T05]", every_single) {
  TestType sched;
  auto listener = listening(sched);
  rouse::socket c{sched};
  auto accepted = start<rouse::socket<TestType>>(sched, CALL(listener.accept(how...)));
  REQUIRE(!await<rouse::done>(sched, CALL(c.connect(listener.local_endpoint(), how...))).ec);
  std::vector<std::string> texts;
  std::string all;
  for (int i = 0; i != 50; ++i) all += texts.emplace_back(std::to_string(i) + ";");
  std::vector<started<TestType, std::size_t>> sends;
  for (auto& t : texts)
    sends.push_back(
        start(sched, [&](auto&&... how) -> decltype(auto) { return c.send(t, how...); }));
  CHECK(receive(sched, accepted.wait().value, all.size()) == all);
}

TEMPLATE_LIST_TEST_CASE("send_all: waits while the peer does not read, then continues",
                        "[stream][T07]", every_scheduler) {
  connected_pair<TestType> pair;
  const std::string block = large_block();
  auto sending = start(pair.sched, CALL(pair.client.send_all(block, how...)));
  until_pending(pair.sched, 1);
  CHECK(!sending.finished());
  CHECK(receive(pair.sched, pair.server, block.size()).size() == block.size());
  CHECK(sending.wait().value == block.size());
}

TEMPLATE_LIST_TEST_CASE("a recv and a send of one socket wait at the same time", "[stream][T08]",
                        every_scheduler) {
  connected_pair<TestType> pair;
  const std::string block = large_block();
  std::array<char, 5> buf;
  auto sending = start(pair.sched, CALL(pair.client.send_all(block, how...)));
  auto receiving = start(pair.sched, CALL(pair.client.recv(buf, how...)));
  until_pending(pair.sched, 2);
  send(pair.sched, pair.server, "hello");
  CHECK(receiving.wait().value == 5);
  CHECK(receive(pair.sched, pair.server, block.size()).size() == block.size());
  CHECK(sending.wait().value == block.size());
}

TEMPLATE_LIST_TEST_CASE("two recvs of one socket complete in order", "[stream][T09]",
                        every_single) {
  connected_pair<TestType> pair;
  std::array<char, 3> a, b;
  auto first = start(pair.sched, CALL(pair.client.recv(a, how...)));
  until_pending(pair.sched, 1);
  auto second = start(pair.sched, CALL(pair.client.recv(b, how...)));
  until_pending(pair.sched, 2);
  send(pair.sched, pair.server, "abcdef");
  CHECK(first.wait().value == 3);
  CHECK(second.wait().value == 3);
  CHECK(std::string(a.data(), 3) == "abc");
  CHECK(std::string(b.data(), 3) == "def");
}

// If each recv fills its buffer, short counts give no information.
TEMPLATE_LIST_TEST_CASE("messages of exactly the size of the buffer arrive whole",
                        "[stream][T02][T10]", every_scheduler) {
  connected_pair<TestType> pair;
  std::array<char, 4> buf;
  const auto exchange = [&](rouse::socket<TestType>& from, rouse::socket<TestType>& to,
                            const char* text) {
    auto receiving = start(pair.sched, CALL(to.recv(buf, how...)));
    until_pending(pair.sched, 1);
    send(pair.sched, from, text);
    const auto got = receiving.wait();
    return std::string(buf.data(), got.value);
  };
  for (int round = 0; round != 5; ++round) {
    CHECK(exchange(pair.server, pair.client, "ping") == "ping");
    CHECK(exchange(pair.client, pair.server, "pong") == "pong");
  }
  // Two messages that arrive at once, and one without a waiting call.
  auto receiving = start(pair.sched, CALL(pair.client.recv(buf, how...)));
  until_pending(pair.sched, 1);
  send(pair.sched, pair.server, "oneetwo.");
  CHECK(receiving.wait().value == 4);
  CHECK(receive(pair.sched, pair.client, 4) == "two.");
  send(pair.sched, pair.server, "four");
  pair.sched.run_for(10ms);
  CHECK(receive(pair.sched, pair.client, 4) == "four");
  for (int round = 0; round != 3; ++round) {
    CHECK(exchange(pair.server, pair.client, "ping") == "ping");
    CHECK(exchange(pair.server, pair.client, "in") == "in");
  }
  // A recv that is cancelled or reaches its limit takes no bytes.
  auto cancelled = start(pair.sched, CALL(pair.server.recv(buf, how...)));
  until_pending(pair.sched, 1);
  pair.server.cancel();
  CHECK(cancelled.wait().ec == std::errc::operation_canceled);
  CHECK(await(pair.sched, CALL(pair.server.recv(buf, 1ms, how...))).ec == std::errc::timed_out);
  CHECK(exchange(pair.client, pair.server, "left") == "left");
  // The end, twice, while bytes go the other way.
  pair.client.shutdown(rouse::shutdown_send);
  for (int i = 0; i != 2; ++i) {
    const auto end = await(pair.sched, CALL(pair.server.recv(buf, how...)));
    CHECK(!end.ec);
    CHECK(end.value == 0);
  }
  CHECK(exchange(pair.server, pair.client, "last") == "last");
}

#if ROUSE_LINUX && !defined(TESTING_IN_MEMORY)
#include <ctime>
namespace {

template <class Pair>
void fill_often(Pair& pair, std::array<char, 1>& buf) {
  for (const char* filled : {"a", "b", "c"}) {
    auto receiving = start(pair.sched, CALL(pair.client.recv(buf, how...)));
    until_pending(pair.sched, 1);
    send(pair.sched, pair.server, filled);
    CHECK(receiving.wait().value == 1);
  }
}

// Bytes that the client has no recv for.
template <class Pair>
void costs_nothing_to_leave(Pair& pair, std::array<char, 1>& buf) {
  auto other = start(pair.sched, CALL(pair.server.recv(buf, how...))); // a call that waits
  until_pending(pair.sched, 1);
  send(pair.sched, pair.server, "no call reads this");
  const std::clock_t cpu = std::clock();
  pair.sched.run_for(300ms);
  CHECK(std::clock() - cpu < CLOCKS_PER_SEC / 20);
  CHECK(!other.finished());
}

} // namespace

TEMPLATE_LIST_TEST_CASE("bytes that no call reads use no CPU", "[stream][T10][L10]",
                        every_scheduler) {
  connected_pair<TestType> pair;
  std::array<char, 1> buf;
  fill_often(pair, buf);
  costs_nothing_to_leave(pair, buf);
}

TEMPLATE_LIST_TEST_CASE("bytes for a closed socket that is open elsewhere use no CPU",
                        "[stream][T10]", every_scheduler) {
  connected_pair<TestType> pair;
  std::array<char, 1> buf;
  fill_often(pair, buf);
  auto receiving = start(pair.sched, CALL(pair.client.recv(buf, how...)));
  until_pending(pair.sched, 1);
  const rouse::os::unique_fd elsewhere(::dup(pair.client.native_handle()));
  pair.client.close();
  CHECK(receiving.wait().ec == std::errc::operation_canceled);
  costs_nothing_to_leave(pair, buf);
}
#endif

// Urgent marks: a recv stops at one, with fewer bytes than are there. The bytes behind the mark
// must be received by every call, whether or not the urgent byte was taken.
#include <support/testing.hpp>

using namespace testing;

namespace {

enum class before_sending {
  nothing, // the engine has not yet waited for the socket
  waited, // the engine has waited
  filled, // a recv has waited after one that filled its buffer: epoll is level-triggered
};

template <class S>
void prepare(connected_pair<S>& pair, before_sending before) {
  std::array<char, 1> one;
  if (before == before_sending::filled) {
    auto receiving = start(pair.sched, CALL(pair.server.recv(one, how...)));
    until_pending(pair.sched, 1);
    send(pair.sched, pair.client, "a");
    CHECK(receiving.wait().value == 1);
  }
  if (before == before_sending::nothing) return;
  CHECK(await(pair.sched, CALL(pair.server.recv(one, 2ms, how...))).ec == std::errc::timed_out);
}

template <class S>
void send_urgent(connected_pair<S>& pair, std::string_view text) {
  CHECK(await(pair.sched, CALL(pair.client.send_out_of_band(text, how...))).value == text.size());
}

/// Sends "abc", an urgent "X" and "def", and polls once.
template <class S>
void send_around_mark(connected_pair<S>& pair) {
  send(pair.sched, pair.client, "abc");
  send_urgent(pair, "X");
  send(pair.sched, pair.client, "def");
  CHECK(!await<rouse::done>(pair.sched, CALL(pair.server.wait(rouse::readable, 5s, how...))).ec);
  pair.sched.poll();
}

/// Receives until there are `n` bytes, with `recv_some`, which returns a piece.
template <class Recv>
std::string collect(std::size_t n, Recv recv_some) {
  std::string all;
  while (all.size() < n) {
    const std::string piece = recv_some();
    if (piece.empty()) break;
    all += piece;
  }
  return all;
}

} // namespace

TEMPLATE_LIST_TEST_CASE("urgent: recv returns the bytes behind the mark", "[urgent]",
                        every_scheduler) {
  const bool in_line = GENERATE(false, true);
  const auto how_before =
      GENERATE(before_sending::nothing, before_sending::waited, before_sending::filled);
  connected_pair<TestType> pair;
  if (in_line) pair.server.set_option(rouse::out_of_band_inline{true});
  prepare(pair, how_before);
  send_around_mark(pair);
  std::array<char, 100> buf;
  const auto all = collect(in_line ? 7 : 6, [&] {
    const auto got = await(pair.sched, CALL(pair.server.recv(buf, 5s, how...)));
    CHECK(!got.ec);
    return std::string(buf.data(), got.value);
  });
  CHECK(all == (in_line ? "abcXdef" : "abcdef"));
}

TEMPLATE_LIST_TEST_CASE(
    "urgent: receive, a list, recv_exactly and peek return the bytes behind the mark", "[urgent]",
    every_single) {
  const bool in_line = GENERATE(false, true);
  const auto how_before =
      GENERATE(before_sending::nothing, before_sending::waited, before_sending::filled);
  const std::string whole = in_line ? "abcXdef" : "abcdef";
  connected_pair<TestType> pair;
  auto& sched = pair.sched;
  auto& s = pair.server;
  if (in_line) s.set_option(rouse::out_of_band_inline{true});
  std::array<char, 100> first, second;

  prepare(pair, how_before);
  send_around_mark(pair);
  CHECK(collect(whole.size(), [&] {
          const auto got = await<rouse::loan>(sched, CALL(s.receive(5s, how...)));
          CHECK(!got.ec);
          return std::string(reinterpret_cast<const char*>(got.value.data()), got.value.size());
        }) == whole);

  prepare(pair, how_before);
  send_around_mark(pair);
  const std::array list{rouse::mutable_buffer(first), rouse::mutable_buffer(second)};
  CHECK(collect(whole.size(), [&] {
          const auto got = await(sched, CALL(s.recv(list, 5s, how...)));
          CHECK(!got.ec);
          return std::string(first.data(), got.value);
        }) == whole);

  prepare(pair, how_before);
  send_around_mark(pair);
  std::string exact(whole.size(), '\0');
  CHECK(await(sched, CALL(s.recv_exactly(exact, 5s, how...))).value == whole.size());
  CHECK(exact == whole);

  prepare(pair, how_before);
  send_around_mark(pair);
  CHECK(await(sched, CALL(s.peek(first, 5s, how...))).value >= 1);
  CHECK(collect(whole.size(), [&] {
          const auto got = await(sched, CALL(s.recv(first, 5s, how...)));
          CHECK(!got.ec);
          return std::string(first.data(), got.value);
        }) == whole);
}

TEMPLATE_LIST_TEST_CASE(
    "urgent: the bytes behind the mark are received after the urgent byte was taken", "[urgent]",
    every_scheduler) {
  const auto how_before =
      GENERATE(before_sending::nothing, before_sending::waited, before_sending::filled);
  connected_pair<TestType> pair;
  prepare(pair, how_before);
  send_around_mark(pair);
  std::array<char, 100> buf;
  CHECK(await(pair.sched, CALL(pair.server.recv_out_of_band(buf, 5s, how...))).value == 1);
  CHECK(buf[0] == 'X');
  CHECK(collect(6, [&] {
          const auto got = await(pair.sched, CALL(pair.server.recv(buf, 5s, how...)));
          CHECK(!got.ec);
          return std::string(buf.data(), got.value);
        }) == "abcdef");
}

TEMPLATE_LIST_TEST_CASE("urgent: a waiting recv gets the bytes behind one mark after another",
                        "[urgent]", every_single) {
  const bool in_line = GENERATE(false, true);
  connected_pair<TestType> pair;
  if (in_line) pair.server.set_option(rouse::out_of_band_inline{true});
  std::array<char, 100> buf;
  std::string all, expected;
  for (int i = 0; i != 5; ++i) {
    expected += in_line ? "abcXdef" : "abcdef";
    auto receiving = start(pair.sched, CALL(pair.server.recv(buf, 5s, how...)));
    until_pending(pair.sched, 1);
    send_around_mark(pair);
    CHECK(!receiving.wait().ec);
    all.append(buf.data(), receiving.wait().value);
    all += collect(expected.size() - all.size(), [&] {
      const auto got = await(pair.sched, CALL(pair.server.recv(buf, 5s, how...)));
      CHECK(!got.ec);
      return std::string(buf.data(), got.value);
    });
  }
  CHECK(all == expected);
}

#if ROUSE_LINUX
TEMPLATE_LIST_TEST_CASE("urgent: a program may look for the urgent byte itself", "[urgent]",
                        every_single) {
  connected_pair<TestType> pair;
  prepare(pair, before_sending::waited);
  send_around_mark(pair);
  CHECK(!await<rouse::done>(pair.sched, CALL(pair.server.wait(rouse::urgent, 5s, how...))).ec);
  std::array<char, 100> buf;
  CHECK(::recv(pair.server.native_handle(), buf.data(), 1, MSG_OOB | MSG_DONTWAIT) == 1);
  CHECK(collect(6, [&] {
          const auto got = await(pair.sched, CALL(pair.server.recv(buf, 5s, how...)));
          CHECK(!got.ec);
          return std::string(buf.data(), got.value);
        }) == "abcdef");
}

// If a recv is at the mark and a signal is pending, the kernel reports EAGAIN for EINTR.
TEST_CASE("urgent: signals in between hide no bytes", "[urgent]") {
  struct sigaction nothing{}, before{};
  nothing.sa_handler = [](int) {};
  REQUIRE(::sigaction(SIGUSR2, &nothing, &before) == 0);
  {
    std::atomic<bool> over{false};
    const auto me = ::pthread_self();
    std::thread flood([&] {
      while (!over.load()) ::pthread_kill(me, SIGUSR2);
    });
    connected_pair<rouse::callbacks> pair;
    prepare(pair, before_sending::waited);
    std::array<char, 100> buf;
    const auto end = std::chrono::steady_clock::now() + 3s; // ThreadSanitizer delays each signal
    for (int i = 0; i != 1500 && std::chrono::steady_clock::now() < end; ++i) {
      const int h = pair.client.native_handle();
      const auto sent = [&](const char* text, std::size_t n, int flags) {
        return ::send(h, text, n, flags) == static_cast<ssize_t>(n);
      };
      CHECK((sent("abc", 3, 0) && sent("X", 1, MSG_OOB) && sent("def", 3, 0)));
      const auto all = collect(6, [&] {
        const auto got = await(pair.sched, CALL(pair.server.recv(buf, 5s, how...)));
        CHECK(!got.ec);
        return std::string(buf.data(), got.value);
      });
      CHECK(all == "abcdef");
      if (all != "abcdef") break;
    }
    over.store(true);
    flood.join();
  }
  ::sigaction(SIGUSR2, &before, nullptr);
}
#endif

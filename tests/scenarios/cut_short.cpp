// Datagrams and packets that are larger than their buffer: every call gives their beginning, its
// size, and message_size.
#include <support/testing.hpp>

using namespace testing;

namespace {

/// Two connected sockets of a type that keeps message boundaries.
template <class S>
struct packet_pair {
  S sched;
  rouse::socket<S> a, b;
  std::array<char, 4> four{};

  packet_pair(int family, int type) {
#if ROUSE_LINUX
    if (family == AF_UNIX) {
      std::tie(a, b) = rouse::socket_pair(sched, type);
      return;
    }
#endif
    a = rouse::socket<S>(sched, family, type);
    b = rouse::socket<S>(sched, family, type);
    for (auto* s : {&a, &b}) s->bind({"127.0.0.1", 0});
    connect(a, b.local_endpoint());
    connect(b, a.local_endpoint());
  }
  void connect(rouse::socket<S>& s, const rouse::endpoint& to) {
    CHECK(!await<rouse::done>(sched, CALL(s.connect(to, how...))).ec);
  }
  void send(std::string_view text) {
    CHECK(await(sched, CALL(a.send(text, how...))).value == text.size());
  }
  template <class T>
  void check(const outcome<T>& got, std::size_t bytes) {
    CHECK(got.ec == std::errc::message_size);
    CHECK(bytes == 4);
    CHECK(std::string(four.data(), 4) == "0123");
    four = {};
  }
};

struct kind {
  int family, type;
};

kind any_kind() {
#if ROUSE_LINUX
  return GENERATE(kind{AF_INET, SOCK_DGRAM}, kind{AF_UNIX, SOCK_DGRAM},
                  kind{AF_UNIX, SOCK_SEQPACKET});
#else
  return {AF_INET, SOCK_DGRAM};
#endif
}

} // namespace

TEMPLATE_LIST_TEST_CASE(
    "cut short: each call that receives reports message_size and the number of bytes",
    "[datagram][U04]", every_scheduler) {
  const kind k = any_kind();
  const bool waits = GENERATE(false, true);
  packet_pair<TestType> pair(k.family, k.type);
  auto& sched = pair.sched;
  auto& four = pair.four;
  const auto sent_to = [&](auto call) {
    if (!waits) pair.send("0123456789");
    auto receiving = call();
    if (waits) {
      until_pending(sched, 1);
      pair.send("0123456789");
    }
    return std::move(receiving.wait());
  };
  const auto plain = sent_to([&] { return start(sched, CALL(pair.b.recv(four, 10s, how...))); });
  pair.check(plain, plain.value);
  const auto exact =
      sent_to([&] { return start(sched, CALL(pair.b.recv_exactly(four, 10s, how...))); });
  pair.check(exact, exact.value);
  const auto from = sent_to(
      [&] { return start<rouse::datagram>(sched, CALL(pair.b.recv_from(four, 10s, how...))); });
  pair.check(from, from.value.bytes);
  std::array list{rouse::mutable_buffer(four.data(), 2), rouse::mutable_buffer(&four[2], 2)};
  const auto parts = sent_to([&] { return start(sched, CALL(pair.b.recv(list, 10s, how...))); });
  pair.check(parts, parts.value);
  // The rest is discarded, and a datagram that fits is no error.
  pair.send("next");
  const auto next = await(sched, CALL(pair.b.recv(four, 10s, how...)));
  CHECK(!next.ec);
  CHECK(next.value == 4);
  CHECK(std::string(four.data(), 4) == "next");
}

TEMPLATE_LIST_TEST_CASE("cut short: try_recv reports it, peek does not", "[datagram][U04]",
                        every_single) {
  const kind k = any_kind();
  packet_pair<TestType> pair(k.family, k.type);
  pair.send("0123456789");
  CHECK(!await<rouse::done>(pair.sched, CALL(pair.b.wait(rouse::readable, 10s, how...))).ec);
  const auto looked = await(pair.sched, CALL(pair.b.peek(pair.four, 10s, how...)));
  CHECK(!looked.ec);
  CHECK(looked.value == 4);
  std::error_code ec;
  const auto n = pair.b.try_recv(pair.four, ec);
  pair.check(outcome<std::size_t>{ec, n}, n);
}

TEMPLATE_LIST_TEST_CASE("cut short: receive reports a datagram larger than a loan",
                        "[datagram][receive][U04]", every_single) {
  const kind k = any_kind();
  packet_pair<TestType> pair(k.family, k.type);
  const std::string large(20000, 'x');
  pair.send(large);
  const auto got = await<rouse::loan>(pair.sched, CALL(pair.b.receive(10s, how...)));
  CHECK(got.ec == std::errc::message_size);
  CHECK(got.value.size() > 16000);
  CHECK(got.value.size() < large.size());
}

#if ROUSE_LINUX
TEMPLATE_LIST_TEST_CASE("cut short: recv_descriptors reports it for a packet", "[descriptors][U04]",
                        every_single) {
  packet_pair<TestType> pair(AF_UNIX, SOCK_SEQPACKET);
  std::array handles{pair.a.native_handle()};
  const std::string text = "0123456789";
  CHECK(!await(pair.sched, CALL(pair.a.send_descriptors(text, handles, how...))).ec);
  const auto got =
      await<rouse::delivery>(pair.sched, CALL(pair.b.recv_descriptors(pair.four, 10s, how...)));
  pair.check(got, got.value.bytes);
  CHECK(got.value.descriptors.size() == 1);
}
#endif

// Several datagrams in one call: row U08 of scenarios.md.
#include <support/testing.hpp>

using namespace testing;

namespace {

template <class S>
rouse::socket<S> bound(S& sched, int family = AF_INET) {
  rouse::socket s{sched, family, SOCK_DGRAM};
  s.bind({family == AF_INET ? "127.0.0.1" : "::1", 0});
  return s;
}

// Slots with their buffers.
struct places {
  std::vector<std::string> bytes;
  std::vector<rouse::incoming> slots;

  explicit places(std::size_t n, std::size_t size = 32) : bytes(n, std::string(size, '\0')) {
    for (std::string& b : bytes) slots.push_back({b});
  }
  std::string text(std::size_t i) const { return bytes[i].substr(0, slots[i].bytes); }
};

// "0", "1", "2", ... to one address.
struct numbers {
  std::vector<std::string> texts;
  std::vector<rouse::outgoing> items;

  numbers(std::size_t n, const rouse::endpoint& to) {
    for (std::size_t i = 0; i != n; ++i) texts.push_back(std::to_string(i));
    for (const std::string& text : texts) items.push_back({text, to});
  }
};

// Receives the datagrams that are there, without waiting for more.
template <class S>
std::size_t take(S& sched, rouse::socket<S>& s, places& p) {
  const auto got = await(sched, CALL(s.recv_batch(p.slots, 5s, how...)));
  CHECK(!got.ec);
  return got.value;
}

} // namespace

TEMPLATE_LIST_TEST_CASE(
    "recv_batch: returns the datagrams that are there, in order, with their senders",
    "[datagram][batch][U08]", every_scheduler) {
  TestType sched;
  for (const int family : {AF_INET, AF_INET6}) {
    auto a = bound(sched, family), b = bound(sched, family), r = bound(sched, family);
    const auto to = r.local_endpoint();
    send_to(sched, a, "one", to);
    send_to(sched, b, "", to);
    send_to(sched, a, "third", to);
    places p(8);
    p.slots[3] = {p.bytes[3], 77, to, 78, true};
    CHECK(take(sched, r, p) == 3);
    CHECK(p.text(0) == "one");
    CHECK(p.text(1) == "");
    CHECK(p.text(2) == "third");
    const std::array from{a.local_endpoint(), b.local_endpoint(), a.local_endpoint()};
    for (std::size_t i = 0; i != 3; ++i) {
      CHECK(p.slots[i].from == from[i]);
      CHECK(p.slots[i].segment == p.slots[i].bytes);
      CHECK(!p.slots[i].truncated);
    }
    // The other slots are unchanged.
    CHECK(p.slots[3].bytes == 77);
    CHECK(p.slots[3].from == to);
    CHECK(p.slots[3].segment == 78);
    CHECK(p.slots[3].truncated);
    // Fewer slots than datagrams: the next call receives the rest.
    for (const char* text : {"1", "2", "3"}) send_to(sched, a, text, to);
    const std::span<rouse::incoming> two = std::span(p.slots).first(2);
    CHECK(await(sched, CALL(r.recv_batch(two, 5s, how...))).value == 2);
    CHECK(p.text(1) == "2");
    CHECK(recv_text(sched, r) == "3");
  }
}

TEMPLATE_LIST_TEST_CASE("recv_batch: waits for the first datagram, but not for a second",
                        "[datagram][batch][U08]", every_scheduler) {
  TestType sched;
  auto a = bound(sched), r = bound(sched);
  places p(4);
  for (int round = 0; round != 3; ++round) {
    auto waiting = start(sched, CALL(r.recv_batch(p.slots, how...)));
    until_pending(sched, 1);
    CHECK(!waiting.finished());
    send_to(sched, a, "come", r.local_endpoint());
    CHECK(waiting.wait().value == 1);
    CHECK(!waiting.wait().ec);
    CHECK(p.text(0) == "come");
    CHECK(p.slots[0].from == a.local_endpoint());
  }
}

TEMPLATE_LIST_TEST_CASE("recv_batch: a truncated or empty datagram does not affect the others",
                        "[datagram][batch][U04][U06][U08]", every_scheduler) {
  TestType sched;
  auto a = bound(sched), r = bound(sched);
  for (const char* text : {"four", "", "12345678", "end"})
    send_to(sched, a, text, r.local_endpoint());
  places p(5, 4);
  p.slots[0].truncated = true; // from an earlier call
  CHECK(take(sched, r, p) == 4);
  const std::array texts{"four", "", "1234", "end"};
  for (std::size_t i = 0; i != texts.size(); ++i) {
    CHECK(p.text(i) == texts[i]);
    CHECK(p.slots[i].truncated == (i == 2));
    CHECK(p.slots[i].from == a.local_endpoint());
  }
  // A truncated datagram alone is no error either.
  send_to(sched, a, "12345678", r.local_endpoint());
  CHECK(take(sched, r, p) == 1);
  CHECK(p.slots[0].truncated);
}

TEMPLATE_LIST_TEST_CASE("batches: may be larger than one system call takes",
                        "[datagram][batch][U08]", every_scheduler) {
  TestType sched;
  auto a = bound(sched), r = bound(sched);
  constexpr std::size_t many = 2 * rouse::os::largest_batch + 22; // fits the receiver's buffer
  const numbers n(many, r.local_endpoint());
  for (int round = 0; round != 3; ++round) {
    CHECK(await(sched, CALL(a.send_batch(n.items, how...))).value == many);
    places p(many + 1);
    CHECK(take(sched, r, p) == many);
    for (std::size_t i = 0; i != many; ++i) CHECK(p.text(i) == n.texts[i]);
  }
  // As many slots as one system call takes, and one more.
  await(sched, CALL(a.send_batch(n.items, how...)));
  places p(rouse::os::largest_batch), q(rouse::os::largest_batch + 1);
  CHECK(take(sched, r, p) == p.slots.size());
  CHECK(take(sched, r, q) == q.slots.size());
  CHECK(q.text(q.slots.size() - 1) == n.texts[2 * rouse::os::largest_batch]);
  CHECK(take(sched, r, p) == 21);
}

TEMPLATE_LIST_TEST_CASE("send_batch: sends to several receivers in order, also empty datagrams",
                        "[datagram][batch][U08]", every_scheduler) {
  TestType sched;
  auto a = bound(sched), r = bound(sched), q = bound(sched);
  const std::array items{
      rouse::outgoing{"1", r.local_endpoint()}, rouse::outgoing{"2", q.local_endpoint()},
      rouse::outgoing{"", q.local_endpoint()}, rouse::outgoing{"3", r.local_endpoint()}};
  CHECK(await(sched, CALL(a.send_batch(items, how...))).value == 4);
  rouse::endpoint from;
  CHECK(recv_text(sched, r, &from) == "1");
  CHECK(from == a.local_endpoint());
  CHECK(recv_text(sched, r) == "3");
  CHECK(recv_text(sched, q) == "2");
  CHECK(recv_text(sched, q) == "");
}

TEMPLATE_LIST_TEST_CASE("send_batch: needs no destination if the socket is connected",
                        "[datagram][batch][U02][U03]", every_scheduler) {
  TestType sched;
  auto a = bound(sched), r = bound(sched);
  const std::array items{rouse::outgoing{"one", r.local_endpoint()}, rouse::outgoing{"two"},
                         rouse::outgoing{"three"}};
  const auto failed = await(sched, CALL(a.send_batch(items, how...)));
  CHECK(failed.ec == std::errc::destination_address_required);
  CHECK(failed.value == 1);
  CHECK(recv_text(sched, r) == "one");
  CHECK(!await<rouse::done>(sched, CALL(a.connect(r.local_endpoint(), how...))).ec);
  const auto without = std::span(items).subspan(1);
  CHECK(await(sched, CALL(a.send_batch(without, 5s, how...))).value == 2);
  CHECK(recv_text(sched, r) == "two");
  CHECK(recv_text(sched, r) == "three");
}

TEMPLATE_LIST_TEST_CASE(
    "send_batch: an error in the middle reports how many datagrams were sent before it",
    "[datagram][batch][U05][U08]", every_scheduler) {
  TestType sched;
  auto a = bound(sched), r = bound(sched);
  const std::string large(70'000, 'x');
  for (const std::size_t before : {std::size_t{0}, std::size_t{2}, rouse::os::largest_batch}) {
    numbers n(before + 2, r.local_endpoint());
    places p(before + 1);
    const auto check = [&](std::errc what) {
      const auto failed = await(sched, CALL(a.send_batch(n.items, how...)));
      CHECK(failed.ec == what);
      CHECK(failed.value == before);
      if (before != 0) CHECK(take(sched, r, p) == before);
    };
    n.items[before].buffer = large;
    check(std::errc::message_size);
    n.items[before] = {"other", {"::1", 9}};
    check(std::errc::address_family_not_supported);
  }
  // Linux would send it from a socket of both families.
  auto both = bound(sched, AF_INET6);
  const std::array other{rouse::outgoing{"other", r.local_endpoint()}};
  CHECK(await(sched, CALL(both.send_batch(other, how...))).ec ==
        std::errc::address_family_not_supported);
  CHECK(send_to(sched, a, "works", r.local_endpoint()).value == 5);
  CHECK(recv_text(sched, r) == "works"); // and no datagram after the failed one
}

TEMPLATE_LIST_TEST_CASE("batches: an empty batch, a stream and a closed socket are handled",
                        "[datagram][batch]", every_scheduler) {
  connected_pair<TestType> pair;
  auto& sched = pair.sched;
  auto s = bound(sched);
  std::vector<rouse::incoming> no_slots;
  const std::vector<rouse::outgoing> no_items;
  places p(2);
  const numbers n(2, s.local_endpoint());
  const auto recv_error = [&](rouse::socket<TestType>& from, std::vector<rouse::incoming>& slots) {
    return await(sched, CALL(from.recv_batch(slots, 5s, how...))).ec;
  };
  const auto send_error = [&](rouse::socket<TestType>& to, const auto& items) {
    const auto sent = await(sched, CALL(to.send_batch(items, 5s, how...)));
    CHECK(sent.value == 0);
    return sent.ec;
  };
  CHECK(recv_error(s, no_slots) == std::errc::invalid_argument);
  CHECK(!send_error(s, no_items));
  CHECK(recv_error(pair.server, p.slots) == std::errc::operation_not_supported);
  CHECK(send_error(pair.server, n.items) == std::errc::operation_not_supported);
  p.slots[1].buffer = {};
  send_to(sched, s, "not taken", s.local_endpoint());
  CHECK(recv_error(s, p.slots) == std::errc::invalid_argument);
  p.slots[1].buffer = p.bytes[1];
  CHECK(take(sched, s, p) == 1);
  s.close();
  CHECK(recv_error(s, p.slots) == std::errc::bad_file_descriptor);
  CHECK(send_error(s, n.items) == std::errc::bad_file_descriptor);
  CHECK(send_error(s, no_items) == std::errc::bad_file_descriptor);
  rouse::socket<TestType> none;
  CHECK(recv_error(none, p.slots) == std::errc::bad_file_descriptor);
  CHECK(send_error(none, n.items) == std::errc::bad_file_descriptor);
}

TEMPLATE_LIST_TEST_CASE("recv_batch: a limit, a cancel, a stop token and a close end it",
                        "[datagram][batch][X01]", every_scheduler) {
  TestType sched;
  auto s = bound(sched);
  places p(3);
  CHECK(await(sched, CALL(s.recv_batch(p.slots, 1ms, how...))).ec == std::errc::timed_out);
  auto cancelled = start(sched, CALL(s.recv_batch(p.slots, how...)));
  until_pending(sched, 1);
  s.cancel();
  CHECK(cancelled.wait().ec == std::errc::operation_canceled);
  std::stop_source source;
  auto stopped = start(sched, CALL(s.recv_batch(p.slots, source.get_token(), how...)));
  until_pending(sched, 1);
  source.request_stop();
  CHECK(stopped.wait().ec == std::errc::operation_canceled);
  // A limit that has passed still takes the datagrams that are there.
  send_to(sched, s, "there", s.local_endpoint());
  CHECK(await(sched, CALL(s.recv_batch(p.slots, 0ms, how...))).value == 1);
  auto closed = start(sched, CALL(s.recv_batch(p.slots, how...)));
  until_pending(sched, 1);
  s.close();
  CHECK(closed.wait().ec == std::errc::operation_canceled);
  CHECK(closed.wait().value == 0);
}

TEMPLATE_LIST_TEST_CASE("recv_batch: no datagram is lost when a cancel races with datagrams",
                        "[datagram][batch][X01]", every_scheduler) {
  TestType sched;
  auto a = bound(sched), s = bound(sched);
  const auto to = s.local_endpoint();
  std::size_t sent = 0, got = 0, cancelled = 0;
  places p(2);
  for (int round = 0; round != 200; ++round) {
    auto waiting = start(sched, CALL(s.recv_batch(p.slots, how...)));
    until_pending(sched, 1);
    // Both happen before the loop turns, the cancel first or last.
    const numbers n(3, to);
    auto sending = [&] {
      const auto h = a.native_handle();
      const rouse::os::socket_address address(to);
      for (const std::string& text : n.texts) {
        CHECK(::sendto(h, text.data(), 1, 0, &address.any, address.length) == 1);
        ++sent;
      }
    };
    if (round % 2 == 0) sending();
    s.cancel();
    if (round % 2 != 0) sending();
    const auto& result = waiting.wait();
    CHECK(waiting.times() == 1);
    if (result.ec) {
      CHECK(result.ec == std::errc::operation_canceled);
      CHECK(result.value == 0);
      ++cancelled;
    } else {
      CHECK(result.value != 0);
    }
    got += result.value;
    while (got != sent) {
      const std::size_t more = take(sched, s, p);
      REQUIRE(more != 0); // otherwise datagrams were lost
      got += more;
    }
  }
  CHECK(got == 600);
  CHECK(cancelled != 0);
}

TEST_CASE(
    "recv_batch: a cancel after the datagrams arrived and before it completes changes nothing",
    "[datagram][batch][X01]") {
  rouse::callbacks sched;
  auto a = bound(sched), one = bound(sched), two = bound(sched);
  places p(2), q(2);
  std::size_t got = 0;
  int completed = 0, ended = 0;
  const auto then = [&](rouse::socket<rouse::callbacks>& other) {
    return [&](std::error_code ec, std::size_t n) {
      other.cancel();
      got += n;
      ++completed;
      ended += ec == std::errc::operation_canceled;
    };
  };
  one.recv_batch(p.slots, then(two));
  two.recv_batch(q.slots, then(one));
  until_pending(sched, 2);
  CHECK(send_to(sched, a, "1", one.local_endpoint()).value == 1);
  CHECK(send_to(sched, a, "2", two.local_endpoint()).value == 1);
  run_until(sched, [&] { return completed == 2; });
  // The call that was not yet ready is cancelled, and leaves its datagram in the socket.
  for (auto* s : {&one, &two})
    if (ended != 0 && got != 2)
      got += await(sched, CALL(s->recv_batch(p.slots, 1ms, how...))).value;
  CHECK(got == 2);
}

TEMPLATE_LIST_TEST_CASE("recv_batch: several calls, recv_from among them, complete in order",
                        "[datagram][batch][B19]", every_scheduler) {
  TestType sched;
  auto a = bound(sched), s = bound(sched);
  places first(1), third(4);
  std::array<char, 8> second;
  auto one = start(sched, CALL(s.recv_batch(first.slots, how...)));
  until_pending(sched, 1);
  auto two = start<rouse::datagram>(sched, CALL(s.recv_from(second, how...)));
  until_pending(sched, 2);
  auto three = start(sched, CALL(s.recv_batch(third.slots, how...)));
  until_pending(sched, 3);
  const numbers n(3, s.local_endpoint());
  CHECK(await(sched, CALL(a.send_batch(n.items, how...))).value == 3);
  CHECK(one.wait().value == 1);
  CHECK(first.text(0) == "0");
  CHECK(two.wait().value.bytes == 1);
  CHECK(second[0] == '1');
  CHECK(three.wait().value == 1);
  CHECK(third.text(0) == "2");
}

TEMPLATE_LIST_TEST_CASE("recv_batch: may be abandoned while it waits", "[datagram][batch][L01]",
                        every_scheduler) {
  TestType sched;
  auto s = bound(sched);
  places p(3);
  auto waiting = start(sched, CALL(s.recv_batch(p.slots, how...)));
  until_pending(sched, 1);
} // the sanitizers check what remains

TEMPLATE_LIST_TEST_CASE("recv_batch: reports the error of a connected socket",
                        "[datagram][batch][U07]", every_scheduler) {
  if (ROUSE_WINDOWS) return; // Windows reports no such error
  TestType sched;
  auto s = bound(sched);
  {
    auto gone = bound(sched);
    CHECK(!await<rouse::done>(sched, CALL(s.connect(gone.local_endpoint(), how...))).ec);
  }
  const std::array items{rouse::outgoing{"to a closed port"}};
  CHECK(await(sched, CALL(s.send_batch(items, how...))).value == 1);
  places p(3);
  const auto got = await(sched, CALL(s.recv_batch(p.slots, 5s, how...)));
  CHECK(got.ec == std::errc::connection_refused);
  CHECK(got.value == 0);
}

#if !ROUSE_WINDOWS
TEMPLATE_LIST_TEST_CASE("send_batch: waits while the receiver's queue is full, then continues",
                        "[datagram][batch][local]", every_scheduler) {
  TestType sched;
  // For a connected socket the kernel reports room, for a destination per datagram it does not.
  for (const bool connected : {true, false}) {
    rouse::socket r{sched, AF_UNIX, SOCK_DGRAM}, s{sched, AF_UNIX, SOCK_DGRAM},
        other{sched, AF_UNIX, SOCK_DGRAM};
    r.bind(rouse::endpoint::local());
    const auto where = r.local_endpoint();
    if (connected) CHECK(!await<rouse::done>(sched, CALL(s.connect(where, how...))).ec);
    constexpr std::size_t many = 3000; // more than any queue holds
    const numbers n(many, connected ? rouse::endpoint{} : where);
    // A call that ends while it waits reports how many datagrams were sent.
    const numbers filler(many, where);
    const auto late = await(sched, CALL(other.send_batch(filler.items, 20ms, how...)));
    CHECK(late.ec == std::errc::timed_out);
    CHECK(late.value != 0);
    CHECK(late.value != many);
    auto stuck = start(sched, CALL(s.send_batch(n.items, how...)));
    until_pending(sched, 1);
    s.cancel();
    CHECK(stuck.wait().ec == std::errc::operation_canceled);
    CHECK(stuck.wait().value == 0);
    // It continues when there is room, although another socket's datagrams filled the queue.
    auto sending = start(sched, CALL(s.send_batch(n.items, how...)));
    until_pending(sched, 1);
    places p(late.value);
    CHECK(take(sched, r, p) == late.value);
    std::size_t got = 0;
    while (got != many) {
      const std::size_t more = take(sched, r, p);
      REQUIRE(more != 0);
      for (std::size_t i = 0; i != more; ++i) CHECK(p.text(i) == n.texts[got + i]);
      got += more;
    }
    CHECK(sending.wait().value == many);
    CHECK(!sending.wait().ec);
  }
}

TEMPLATE_LIST_TEST_CASE("recv_batch: closes descriptors that arrive with a datagram",
                        "[datagram][batch][local]", every_scheduler) {
  TestType sched;
  auto [here, there] = rouse::socket_pair(sched, SOCK_DGRAM);
  auto [kept, passed] = rouse::socket_pair(sched);
  const std::array handles{passed.native_handle()};
  CHECK(await(sched, CALL(here.send_descriptors("one", handles, how...))).value == 3);
  passed.close();
  places p(2);
  CHECK(take(sched, there, p) == 1);
  CHECK(p.text(0) == "one");
  std::array<char, 1> byte;
  const auto end = await(sched, CALL(kept.recv(byte, 5s, how...)));
  CHECK(!end.ec); // the other end is closed
  CHECK(end.value == 0);
}

TEMPLATE_LIST_TEST_CASE("recv_batch: reports the senders' names of local datagrams",
                        "[datagram][batch][local]", every_scheduler) {
  TestType sched;
  rouse::socket r{sched, AF_UNIX, SOCK_DGRAM}, named{sched, AF_UNIX, SOCK_DGRAM},
      nameless{sched, AF_UNIX, SOCK_DGRAM};
  r.bind(rouse::endpoint::local());
  named.bind(rouse::endpoint::local());
  send_to(sched, named, "a", r.local_endpoint());
  send_to(sched, nameless, "b", r.local_endpoint());
  places p(3);
  CHECK(take(sched, r, p) == 2);
  CHECK(p.slots[0].from == named.local_endpoint());
  CHECK(p.slots[1].from == rouse::endpoint{}); // as with recv_from
}
#endif

TEMPLATE_LIST_TEST_CASE(
    "segments: one send is split into datagrams, and several are received as one",
    "[datagram][batch][gso]", every_scheduler) {
  TestType sched;
  auto a = bound(sched), r = bound(sched);
  std::error_code ec;
  a.set_option(rouse::udp_segment{100}, ec);
  if (ec) {
    CHECK(ec == std::errc::no_protocol_option);
    WARN("skipped: this system does not split a send into datagrams: " << ec.message());
    r.set_option(rouse::udp_gro{true}, ec);
    CHECK(ec == std::errc::no_protocol_option);
    return;
  }
  CHECK(a.template get_option<rouse::udp_segment>().value() == 100);
  std::string text;
  for (int i = 0; i != 950; ++i) text += static_cast<char>('a' + i % 23);
  CHECK(send_to(sched, a, text, r.local_endpoint()).value == 950);
  places p(12, 2000);
  std::string got;
  std::size_t n = 0;
  while (got.size() < text.size()) {
    n = take(sched, r, p);
    for (std::size_t i = 0; i != n; ++i) {
      CHECK(p.slots[i].bytes == (got.size() == 900 ? 50 : 100));
      CHECK(p.slots[i].segment == p.slots[i].bytes);
      got += p.text(i);
    }
  }
  CHECK((got == text));

  CHECK(!r.template get_option<rouse::udp_gro>().value());
  r.set_option(rouse::udp_gro{true}, ec);
  if (ec) {
    CHECK(ec == std::errc::no_protocol_option);
    WARN("skipped: this system does not receive several datagrams as one: " << ec.message());
    return;
  }
  CHECK(r.template get_option<rouse::udp_gro>().value());
  const std::array items{rouse::outgoing{text, r.local_endpoint()},
                         rouse::outgoing{"alone", r.local_endpoint()}};
  CHECK(await(sched, CALL(a.send_batch(items, how...))).value == 2);
  CHECK(take(sched, r, p) == 2);
  CHECK((p.text(0) == text));
  CHECK(p.slots[0].segment == 100);
  CHECK(!p.slots[0].truncated);
  CHECK(p.text(1) == "alone");
  CHECK(p.slots[1].segment == 5);
  // A datagram that does not fit.
  CHECK(send_to(sched, a, text, r.local_endpoint()).value == 950);
  places small(2, 350);
  CHECK(take(sched, r, small) == 1);
  CHECK(small.slots[0].truncated);
  CHECK(small.slots[0].segment == 100);
  CHECK((small.text(0) == text.substr(0, 350)));
}

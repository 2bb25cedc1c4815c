// Scatter and gather: row T06 of scenarios.md.
#include <support/testing.hpp>

using namespace testing;

TEMPLATE_LIST_TEST_CASE(
    "lists: buffers are sent and filled one after the other, and empty ones skipped",
    "[stream][lists][T06]", every_scheduler) {
  connected_pair<TestType> pair;
  const std::string head = "head", body = "and a body";
  const std::array parts{rouse::const_buffer(head), rouse::const_buffer(""),
                         rouse::const_buffer(body)};
  CHECK(await(pair.sched, CALL(pair.client.send_all(parts, how...))).value == 14);
  std::array<char, 2> two;
  std::array<char, 12> twelve;
  std::array<char, 3> rest;
  std::vector<rouse::mutable_buffer> places{two, {rest.data(), 0}, twelve, rest};
  const auto got = await(pair.sched, CALL(pair.server.recv(places, 5s, how...)));
  CHECK(got.value == 14);
  CHECK(std::string(two.data(), 2) + std::string(twelve.data(), 12) == "headand a body");

  // With a call that waits.
  auto waiting = start(pair.sched, CALL(pair.server.recv(places, how...)));
  until_pending(pair.sched, 1);
  send(pair.sched, pair.client, "abc");
  CHECK(waiting.wait().value == 3);
  CHECK(std::string(two.data(), 2) + twelve[0] == "abc");
}

TEMPLATE_LIST_TEST_CASE("lists: may be longer than one request takes", "[stream][lists][T06]",
                        every_scheduler) {
  connected_pair<TestType> pair;
  std::string all;
  for (int i = 0; i != 3'000'000; ++i) all += static_cast<char>('a' + i % 23);
  std::vector<rouse::const_buffer> parts;
  for (std::size_t at = 0, size = 0; at != all.size(); at += size, size = (size * 7 + 1) % 9973) {
    size = (std::min)(size, all.size() - at);
    parts.push_back({all.data() + at, size});
  }
  CHECK(parts.size() > 500);
  std::string got(all.size(), 0);
  std::vector<rouse::mutable_buffer> places;
  for (std::size_t at = 0, size = 0; at != got.size(); at += size, size = (size * 5 + 3) % 7919) {
    size = (std::min)(size, got.size() - at);
    places.push_back({got.data() + at, size});
  }
  auto sending = start(pair.sched, CALL(pair.client.send_all(parts, how...)));
  auto receiving = start(pair.sched, CALL(pair.server.recv_exactly(places, how...)));
  CHECK(sending.wait().value == all.size());
  CHECK(receiving.wait().value == all.size());
  CHECK((got == all));
}

TEMPLATE_LIST_TEST_CASE("lists: the end of the stream and an error come with the number of bytes",
                        "[stream][lists]", every_scheduler) {
  connected_pair<TestType> pair;
  std::array<char, 3> first;
  std::array<char, 8> second;
  const std::array<rouse::mutable_buffer, 2> places{first, second};
  send(pair.sched, pair.client, "abcde");
  const auto timed = await(pair.sched, CALL(pair.server.recv_exactly(places, 5ms, how...)));
  CHECK(timed.ec == std::errc::timed_out);
  CHECK(timed.value == 5);
  CHECK(second[1] == 'e');
  send(pair.sched, pair.client, "xy");
  pair.client.close();
  const auto last = await(pair.sched, CALL(pair.server.recv_exactly(places, 5s, how...)));
  CHECK(!last.ec);
  CHECK(last.value == 2);
  CHECK(await(pair.sched, CALL(pair.server.recv(places, how...))).value == 0);
}

TEMPLATE_LIST_TEST_CASE("lists: an empty list and a closed socket are handled as for one buffer",
                        "[stream][lists]", every_scheduler) {
  connected_pair<TestType> pair;
  const std::vector<rouse::const_buffer> nothing(3);
  const std::vector<rouse::mutable_buffer> nowhere(3);
  CHECK(await(pair.sched, CALL(pair.client.send_all(nothing, how...))).value == 0);
  CHECK(await(pair.sched, CALL(pair.client.recv(nowhere, how...))).ec ==
        std::errc::invalid_argument);
  pair.client.close();
  CHECK(await(pair.sched, CALL(pair.client.send(nothing, how...))).ec ==
        std::errc::bad_file_descriptor);
}

TEMPLATE_LIST_TEST_CASE("lists: a list is sent as one datagram, and refused if it is too long",
                        "[datagram][lists]", every_scheduler) {
  TestType sched;
  rouse::socket a{sched, AF_INET, SOCK_DGRAM}, b{sched, AF_INET, SOCK_DGRAM};
  b.bind({"127.0.0.1", 0});
  CHECK(!await<rouse::done>(sched, CALL(a.connect(b.local_endpoint(), how...))).ec);
  const std::array parts{rouse::const_buffer("one "), rouse::const_buffer("datagram")};
  CHECK(await(sched, CALL(a.send(parts, how...))).value == 12);
  CHECK(await(sched, CALL(a.send_all(parts, how...))).value == 12);
  std::array<char, 4> first;
  std::array<char, 20> second;
  const std::array<rouse::mutable_buffer, 2> places{first, second};
  for (int i = 0; i != 2; ++i) {
    CHECK(await(sched, CALL(b.recv(places, 5s, how...))).value == 12);
    CHECK(std::string(second.data(), 8) == "datagram");
  }
  const std::vector<rouse::const_buffer> many(17, rouse::const_buffer("x"));
  CHECK(await(sched, CALL(a.send(many, how...))).ec == std::errc::message_size);
  // Nothing is received either.
  CHECK(await(sched, CALL(a.send("stays", how...))).value == 5);
  std::array<char, 17> bytes;
  std::vector<rouse::mutable_buffer> too_many;
  for (char& c : bytes) too_many.push_back({&c, 1});
  CHECK(await(sched, CALL(b.recv(too_many, 5s, how...))).ec == std::errc::message_size);
  too_many.pop_back();
  CHECK(await(sched, CALL(b.recv(too_many, 5s, how...))).value == 5);
  CHECK(std::string(bytes.data(), 5) == "stays");
}

TEMPLATE_LIST_TEST_CASE("lists: send_to and recv_from transfer one datagram with its sender",
                        "[datagram][lists][U01]", every_scheduler) {
  TestType sched;
  for (const int family : {AF_INET, AF_INET6}) {
    const rouse::endpoint any{family == AF_INET ? "127.0.0.1" : "::1", 0};
    rouse::socket a{sched, family, SOCK_DGRAM}, b{sched, family, SOCK_DGRAM};
    a.bind(any);
    b.bind(any);
    const auto to = b.local_endpoint();
    const std::array parts{rouse::const_buffer("one "), rouse::const_buffer(""),
                           rouse::const_buffer("datagram")};
    std::array<char, 4> first;
    std::array<char, 20> second;
    const std::array<rouse::mutable_buffer, 3> places{first, {second.data(), 0}, second};
    const auto check = [&](const outcome<rouse::datagram>& got) {
      CHECK(!got.ec);
      CHECK(got.value.bytes == 12);
      CHECK(got.value.from == a.local_endpoint());
      CHECK(std::string(first.data(), 4) + std::string(second.data(), 8) == "one datagram");
    };
    // With a datagram that is there, and with one that arrives later.
    CHECK(await(sched, CALL(a.send_to(parts, to, how...))).value == 12);
    check(await<rouse::datagram>(sched, CALL(b.recv_from(places, 5s, how...))));
    first = {};
    second = {};
    auto waiting = start<rouse::datagram>(sched, CALL(b.recv_from(places, how...)));
    until_pending(sched, 1);
    CHECK(await(sched, CALL(a.send_to(parts, to, 5s, how...))).value == 12);
    check(waiting.wait());
  }
}

TEMPLATE_LIST_TEST_CASE(
    "lists: send_to and recv_from handle large and empty datagrams and long lists",
    "[datagram][lists][U04][U06]", every_scheduler) {
  TestType sched;
  rouse::socket a{sched, AF_INET, SOCK_DGRAM}, b{sched, AF_INET, SOCK_DGRAM};
  b.bind({"127.0.0.1", 0});
  const auto to = b.local_endpoint();
  std::array<char, 2> first, second;
  const std::array<rouse::mutable_buffer, 2> places{first, second};
  send_to(sched, a, "abcdefgh", to);
  const auto cut = await<rouse::datagram>(sched, CALL(b.recv_from(places, 5s, how...)));
  CHECK(cut.ec == std::errc::message_size);
  CHECK(cut.value.bytes == 4);
  CHECK(cut.value.from.port() == a.local_endpoint().port());
  CHECK(std::string(first.data(), 2) + std::string(second.data(), 2) == "abcd");

  const std::vector<rouse::const_buffer> nothing(3), many(17, rouse::const_buffer("x")), none;
  CHECK(!await(sched, CALL(a.send_to(nothing, to, how...))).ec);
  CHECK(!await(sched, CALL(a.send_to(none, to, how...))).ec);
  CHECK(await(sched, CALL(a.send_to(many, to, how...))).ec == std::errc::message_size);
  CHECK(await(sched, CALL(a.send_to(many, {"::1", 9}, how...))).ec ==
        std::errc::address_family_not_supported);
  for (int i = 0; i != 2; ++i) {
    const auto empty = await<rouse::datagram>(sched, CALL(b.recv_from(places, 5s, how...)));
    CHECK(!empty.ec);
    CHECK(empty.value.bytes == 0);
  }
  std::array<char, 17> bytes;
  std::vector<rouse::mutable_buffer> too_many, nowhere(3);
  for (char& c : bytes) too_many.push_back({&c, 1});
  send_to(sched, a, "stays", to);
  const auto refused = await<rouse::datagram>(sched, CALL(b.recv_from(too_many, 5s, how...)));
  CHECK(refused.ec == std::errc::message_size);
  CHECK(refused.value.bytes == 0);
  CHECK(await<rouse::datagram>(sched, CALL(b.recv_from(nowhere, 5s, how...))).ec ==
        std::errc::invalid_argument);
  CHECK(recv_text(sched, b) == "stays");
  b.close();
  CHECK(await<rouse::datagram>(sched, CALL(b.recv_from(places, how...))).ec ==
        std::errc::bad_file_descriptor);
}

TEMPLATE_LIST_TEST_CASE("lists: a limit and a cancel end recv_from", "[datagram][lists]",
                        every_scheduler) {
  TestType sched;
  rouse::socket s{sched, AF_INET, SOCK_DGRAM};
  s.bind({"127.0.0.1", 0});
  std::array<char, 2> first, second;
  const std::array<rouse::mutable_buffer, 2> places{first, second};
  CHECK(await<rouse::datagram>(sched, CALL(s.recv_from(places, 1ms, how...))).ec ==
        std::errc::timed_out);
  auto waiting = start<rouse::datagram>(sched, CALL(s.recv_from(places, how...)));
  until_pending(sched, 1);
  s.cancel();
  CHECK(waiting.wait().ec == std::errc::operation_canceled);
}

TEMPLATE_LIST_TEST_CASE("lists: each call that takes one buffer takes several in braces",
                        "[stream][datagram][lists][T06]", every_scheduler) {
  connected_pair<TestType> pair;
  const std::string head = "head";
  const std::vector<std::byte> body(3, std::byte{'b'});
  CHECK(await(pair.sched, CALL(pair.client.send_all({head, body}, how...))).value == 7);
  CHECK(await(pair.sched, CALL(pair.client.send({head, "", body, "end"}, 5s, how...))).value == 10);
  std::array<char, 2> two;
  std::array<unsigned char, 5> five;
  std::stop_source source;
  CHECK(await(pair.sched, CALL(pair.server.recv({two, five}, {5s, source.get_token()}, how...)))
            .value == 7);
  CHECK(std::string(two.data(), 2) == "he");
  CHECK(five[4] == 'b');
  char ten[10];
  CHECK(await(pair.sched,
              CALL(pair.server.recv_exactly({rouse::mutable_buffer{ten, 4}, {ten + 4, 6}}, how...)))
            .value == 10);
  CHECK(std::string(ten, 10) == "headbbbend");

  // The list in braces is destroyed while the call waits.
  auto waiting = start(pair.sched, CALL(pair.server.recv_exactly({two, five}, how...)));
  until_pending(pair.sched, 1);
  send(pair.sched, pair.client, "abcdefg");
  CHECK(waiting.wait().value == 7);
  CHECK(two[1] == 'b');
  CHECK(five[4] == 'g');

  // A pointer with a size, and a view, stay one buffer.
  CHECK(await(pair.sched, CALL(pair.client.send_all({head.data(), 2}, how...))).value == 2);
  CHECK(await(pair.sched, CALL(pair.client.send_all({head}, how...))).value == 4);
  CHECK(receive(pair.sched, pair.server, 6) == "hehead");

  rouse::socket a{pair.sched, AF_INET, SOCK_DGRAM}, b{pair.sched, AF_INET, SOCK_DGRAM};
  b.bind({"127.0.0.1", 0});
  const auto to = b.local_endpoint();
  CHECK(await(pair.sched, CALL(a.send_to({head, body}, to, how...))).value == 7);
  const auto got = await<rouse::datagram>(pair.sched, CALL(b.recv_from({two, five}, 5s, how...)));
  CHECK(got.value.bytes == 7);
  CHECK(five[4] == 'b');
}

// The calls of a TLS socket: they mean what they mean on a plain one.
#include <tls/support/tls_testing.hpp>

#include <array>
#include <string>

using namespace testing;

namespace {

template <class S>
std::error_code error_of_recv(tls_pair<S>& pair, tls::socket<S>& s) {
  std::array<char, 8> room;
  const auto got = await(pair.sched, CALL(s.recv(room, 30s, how...)));
  CHECK(got.value == 0);
  return got.ec;
}

} // namespace

TEMPLATE_LIST_TEST_CASE("tls: what one side sends, the other receives", "[tls][K01]",
                        every_scheduler) {
  tls_pair<TestType> pair;
  CHECK(send(pair.sched, pair.client, "ping").value == 4);
  CHECK(receive(pair.sched, pair.server, 4) == "ping");
  CHECK(send(pair.sched, pair.server, "pong!").value == 5);
  CHECK(receive(pair.sched, pair.client, 5) == "pong!");
}

TEMPLATE_LIST_TEST_CASE("tls: the connection says what was agreed", "[tls][K14]", every_scheduler) {
  tls_pair<TestType> pair;
  CHECK(pair.client.version() == "TLSv1.3");
  CHECK(pair.server.version() == "TLSv1.3");
  CHECK(!pair.client.cipher().empty());
  CHECK(pair.client.cipher() == pair.server.cipher());
  CHECK(pair.server.server_name() == "localhost");
  CHECK(pair.client.alpn().empty());
  CHECK(!pair.client.resumed());
  CHECK(pair.client.peer_certificate() != nullptr);
  CHECK(pair.server.peer_certificate() == nullptr);
  CHECK(pair.client.scheduler() == &pair.sched);
  CHECK(pair.client.is_open());
}

TEMPLATE_LIST_TEST_CASE("tls: recv gives what is there, from several records", "[tls][K01]",
                        every_scheduler) {
  tls_pair<TestType> pair;
  for (const char* part : {"one", "two", "three"}) send(pair.sched, pair.client, part);
  std::string all;
  while (all.size() < 11) {
    std::array<char, 5> room;
    const auto got = await(pair.sched, CALL(pair.server.recv(room, 30s, how...)));
    REQUIRE(!got.ec);
    REQUIRE(got.value != 0);
    all.append(room.data(), got.value);
  }
  CHECK(all == "onetwothree");
}

TEMPLATE_LIST_TEST_CASE("tls: lists of buffers are sent and filled in order", "[tls][K01]",
                        every_scheduler) {
  tls_pair<TestType> pair;
  const std::string large = pattern(40000);
  std::array parts{rouse::const_buffer("head"), rouse::const_buffer(""), rouse::const_buffer(large),
                   rouse::const_buffer("tail")};
  auto sending = start(pair.sched, CALL(pair.client.send_all(parts, 30s, how...)));
  std::string begin(7, '\0'), rest(40001, '\0');
  std::array rooms{rouse::mutable_buffer(begin), rouse::mutable_buffer(rest)};
  const auto got = await(pair.sched, CALL(pair.server.recv_exactly(rooms, 30s, how...)));
  CHECK(sending.wait().value == 40008);
  CHECK(!got.ec);
  CHECK(got.value == 40008);
  CHECK(begin + rest == "head" + large + "tail");
}

TEMPLATE_LIST_TEST_CASE("tls: receive lends the bytes", "[tls][K01]", every_scheduler) {
  tls_pair<TestType> pair;
  send(pair.sched, pair.client, "lent");
  const auto got = await<rouse::loan>(pair.sched, CALL(pair.server.receive(30s, how...)));
  REQUIRE(!got.ec);
  CHECK(got.value.text() == "lent");
}

TEMPLATE_LIST_TEST_CASE("tls: both directions carry 4 MiB at once", "[tls][K01]", every_scheduler) {
  tls_pair<TestType> pair;
  const std::string there = pattern(std::size_t{4} << 20, 1), back = pattern(there.size(), 2);
  std::string at_server(there.size(), '\0'), at_client(there.size(), '\0');
  auto sending = start(pair.sched, CALL(pair.client.send_all(there, 30s, how...)));
  auto answering = start(pair.sched, CALL(pair.server.send_all(back, 30s, how...)));
  auto server = start(pair.sched, CALL(pair.server.recv_exactly(at_server, 30s, how...)));
  auto client = start(pair.sched, CALL(pair.client.recv_exactly(at_client, 30s, how...)));
  for (auto* call : {&sending, &answering, &server, &client}) {
    CHECK(!call->wait().ec);
    CHECK(call->wait().value == there.size());
  }
  CHECK(at_server == there);
  CHECK(at_client == back);
}

TEMPLATE_LIST_TEST_CASE("tls: short and long records stay in order while the peer reads nothing",
                        "[tls][K01][K08]", every_scheduler) {
  tls_pair<TestType> pair;
  const std::size_t sizes[] = {5000, 100, 16384, 4096, 9000, 1, 4095};
  std::string sent;
  std::error_code ec;
  for (unsigned i = 0; !ec; ++i) {
    const std::string part = pattern(sizes[i % std::size(sizes)], i);
    const auto got = await(pair.sched, CALL(pair.client.send_all(part, 20ms, how...)));
    ec = got.ec;
    sent.append(part, 0, got.value);
  }
  CHECK(ec == std::errc::timed_out);
  CHECK(receive(pair.sched, pair.server, sent.size()) == sent);
  CHECK(send(pair.sched, pair.client, "more").value == 4);
  CHECK(receive(pair.sched, pair.server, 4) == "more");
}

TEMPLATE_LIST_TEST_CASE("tls: shutdown(send) ends one direction, and the other goes on",
                        "[tls][K03]", every_scheduler) {
  tls_pair<TestType> pair;
  send(pair.sched, pair.client, "last words");
  pair.client.shutdown(rouse::shutdown_send);
  CHECK(receive(pair.sched, pair.server, 10) == "last words");
  for (int again = 0; again != 2; ++again) CHECK(!error_of_recv(pair, pair.server));
  CHECK(send(pair.sched, pair.server, "an answer").value == 9);
  CHECK(receive(pair.sched, pair.client, 9) == "an answer");
  CHECK(send(pair.sched, pair.client, "too late").ec == std::errc::broken_pipe);
  pair.server.shutdown(rouse::shutdown_send);
  CHECK(!error_of_recv(pair, pair.client));
}

TEMPLATE_LIST_TEST_CASE("tls: close says goodbye", "[tls][K03]", every_scheduler) {
  tls_pair<TestType> pair;
  send(pair.sched, pair.client, "bye");
  pair.client.close();
  CHECK(!pair.client.is_open());
  CHECK(receive(pair.sched, pair.server, 3) == "bye");
  CHECK(!error_of_recv(pair, pair.server));
}

TEMPLATE_LIST_TEST_CASE("tls: the peer of a socket that is destroyed in mid-stream learns of it",
                        "[tls][K03]", every_scheduler) {
  tls_pair<TestType> pair;
  send(pair.sched, pair.client, "cut");
  pair.client = {};
  CHECK(receive(pair.sched, pair.server, 3) == "cut");
  for (int again = 0; again != 2; ++again)
    CHECK(error_of_recv(pair, pair.server) == tls::error::truncated);
}

TEMPLATE_LIST_TEST_CASE("tls: a socket that is destroyed answers the peer's goodbye", "[tls][K03]",
                        every_scheduler) {
  tls_pair<TestType> pair;
  pair.client.shutdown(rouse::shutdown_send);
  CHECK(!error_of_recv(pair, pair.server));
  pair.server = {};
  CHECK(!error_of_recv(pair, pair.client));
}

TEMPLATE_LIST_TEST_CASE("tls: after shutdown(recv) nothing is received", "[tls][K03]",
                        every_scheduler) {
  tls_pair<TestType> pair;
  std::array<char, 8> room;
  auto waiting = start(pair.sched, CALL(pair.server.recv(room, 30s, how...)));
  until_pending(pair.sched, 2); // the call and the request of the connection
  pair.server.shutdown(rouse::shutdown_recv);
  CHECK(!waiting.wait().ec);
  CHECK(waiting.wait().value == 0);
  send(pair.sched, pair.client, "unread");
  CHECK(!error_of_recv(pair, pair.server));
  CHECK(send(pair.sched, pair.server, "still").value == 5);
  CHECK(receive(pair.sched, pair.client, 5) == "still");
}

TEMPLATE_LIST_TEST_CASE("tls: bad calls are errors and lose nothing", "[tls][K09]",
                        every_scheduler) {
  tls_pair<TestType> pair;
  auto& sched = pair.sched;
  send(sched, pair.client, "kept");
  std::array<char, 4> room;
  CHECK(await(sched, CALL(pair.server.recv(rouse::mutable_buffer(room.data(), 0), how...))).ec ==
        std::errc::invalid_argument);
  CHECK(await(sched, CALL(pair.server.recv_exactly(rouse::mutable_buffer(room.data(), 0), how...)))
            .ec == std::errc::invalid_argument);
  CHECK(await<rouse::done>(sched, CALL(pair.server.wait(rouse::urgent, how...))).ec ==
        std::errc::invalid_argument);
  const auto nothing = await(sched, CALL(pair.client.send_all(std::string_view(), how...)));
  CHECK(!nothing.ec);
  CHECK(nothing.value == 0);
  CHECK(receive(sched, pair.server, 4) == "kept");
}

TEMPLATE_LIST_TEST_CASE("tls: calls of a closed socket fail", "[tls][K03]", every_scheduler) {
  tls_pair<TestType> pair;
  pair.client.close();
  pair.client.close();
  pair.client.cancel();
  CHECK(error_of_recv(pair, pair.client) == std::errc::bad_file_descriptor);
  CHECK(send(pair.sched, pair.client, "x").ec == std::errc::bad_file_descriptor);
  CHECK(await<rouse::loan>(pair.sched, CALL(pair.client.receive(how...))).ec ==
        std::errc::bad_file_descriptor);
  std::error_code ec;
  pair.client.shutdown(rouse::shutdown_send, ec);
  CHECK(ec == std::errc::bad_file_descriptor);
}

TEMPLATE_LIST_TEST_CASE("tls: close ends the calls that wait", "[tls][K03]", every_scheduler) {
  tls_pair<TestType> pair;
  std::array<char, 8> room;
  const std::string block = large_block();
  auto receiving = start(pair.sched, CALL(pair.client.recv(room, 30s, how...)));
  auto sending = start(pair.sched, CALL(pair.client.send_all(block, 30s, how...)));
  until_pending(pair.sched, 4);
  pair.client.close();
  CHECK(receiving.wait().ec == std::errc::operation_canceled);
  CHECK(sending.wait().ec == std::errc::operation_canceled);
}

TEMPLATE_LIST_TEST_CASE("tls: wait tells when recv and send need not wait", "[tls][K19]",
                        every_scheduler) {
  tls_pair<TestType> pair;
  auto& sched = pair.sched;
  CHECK(!await<rouse::done>(sched, CALL(pair.server.wait(rouse::writable, 30s, how...))).ec);
  auto waiting = start<rouse::done>(sched, CALL(pair.server.wait(rouse::readable, 30s, how...)));
  until_pending(sched, 2); // the call and the request of the connection
  CHECK(!waiting.finished());
  send(sched, pair.client, "now");
  CHECK(!waiting.wait().ec);
  CHECK(receive(sched, pair.server, 3) == "now");
  pair.client.close();
  CHECK(!await<rouse::done>(sched, CALL(pair.server.wait(rouse::readable, 30s, how...))).ec);
  CHECK(!error_of_recv(pair, pair.server));
}

TEMPLATE_LIST_TEST_CASE("tls: a socket can be moved", "[tls][K01]", every_scheduler) {
  tls_pair<TestType> pair;
  send(pair.sched, pair.client, "moved");
  tls::socket<TestType> other = std::move(pair.server);
  CHECK(!pair.server.is_open());
  CHECK(pair.server.scheduler() == nullptr);
  CHECK(receive(pair.sched, other, 5) == "moved");
  pair.server = std::move(other);
  send(pair.sched, pair.client, "back");
  CHECK(receive(pair.sched, pair.server, 4) == "back");
}

TEMPLATE_LIST_TEST_CASE("tls: a limit ends a call, and the connection goes on", "[tls][K05][B32]",
                        every_scheduler) {
  tls_pair<TestType> pair;
  std::array<char, 8> room;
  CHECK(await(pair.sched, CALL(pair.server.recv(room, 1ms, how...))).ec == std::errc::timed_out);
  pair.server.timeout(1ms);
  CHECK(pair.server.timeout() == 1ms);
  CHECK(await(pair.sched, CALL(pair.server.recv(room, how...))).ec == std::errc::timed_out);
  send(pair.sched, pair.client, "late");
  CHECK(receive(pair.sched, pair.server, 4) == "late");
}

TEMPLATE_LIST_TEST_CASE("tls: cancel ends all calls, and the connection goes on", "[tls][K05]",
                        every_scheduler) {
  tls_pair<TestType> pair;
  std::array<char, 8> room;
  auto receiving = start(pair.sched, CALL(pair.server.recv(room, 30s, how...)));
  until_pending(pair.sched, 2); // the call and the request of the connection
  pair.server.cancel();
  CHECK(receiving.wait().ec == std::errc::operation_canceled);
  send(pair.sched, pair.client, "late");
  CHECK(receive(pair.sched, pair.server, 4) == "late");
}

TEMPLATE_LIST_TEST_CASE("tls: a peer that speaks something else is not_tls", "[tls][K09]",
                        every_scheduler) {
  TestType sched;
  const auto site = server_with("good");
  const auto web = trusting_client();
  for (const bool as_server : {false, true}) {
    auto [here, there] = rouse::socket_pair(sched);
    send(sched, there, "HTTP/1.1 400 Bad Request\r\n\r\n");
    auto& plain = here;
    const auto got =
        as_server
            ? await<tls::socket<TestType>>(sched,
                                           CALL(tls::accept(site, std::move(plain), 30s, how...)))
            : await<tls::socket<TestType>>(
                  sched, CALL(tls::handshake(web, std::move(plain), "localhost", 30s, how...)));
    CHECK(got.ec == tls::error::not_tls);
    CHECK(!got.value.is_open());
  }
}

TEMPLATE_LIST_TEST_CASE("tls: an idle connection holds no operation of the engine", "[tls][K08]",
                        every_single) {
  tls_pair<TestType> pair;
  send(pair.sched, pair.client, "x");
  CHECK(receive(pair.sched, pair.server, 1) == "x");
  until_pending(pair.sched, 0);
}

TEMPLATE_LIST_TEST_CASE("tls: connect looks up, connects and shakes hands", "[tls][K01]",
                        every_scheduler) {
  TestType sched;
  auto listener = listening(sched);
  const auto site = server_with("good");
  const auto web = trusting_client();
  auto accepted = start<rouse::socket<TestType>>(sched, CALL(listener.accept(30s, how...)));
  auto connecting = start<tls::socket<TestType>>(
      sched,
      CALL(tls::connect(sched, web, "localhost", listener.local_endpoint().port(), 30s, how...)));
  auto plain = std::move(accepted.wait().value);
  auto server =
      await<tls::socket<TestType>>(sched, CALL(tls::accept(site, std::move(plain), 30s, how...)));
  REQUIRE(!server.ec);
  auto client = std::move(connecting.wait());
  REQUIRE(!client.ec);
  send(sched, client.value, "hello");
  CHECK(receive(sched, server.value, 5) == "hello");
}

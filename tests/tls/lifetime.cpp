// Sockets that outlive their schedulers, calls that end in the middle, handlers that destroy what
// called them.
#include <tls/support/scripted_peer.hpp>
#include <tls/support/tls_testing.hpp>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>

using namespace testing;

namespace {

/// Both ends of a connection, which can outlive their scheduler.
template <class S>
struct outliving_pair {
  std::unique_ptr<S> sched = std::make_unique<S>();
  tls::socket<S> server, client;

  outliving_pair() {
    auto made = meet(*sched, server_with("good"), trusting_client());
    REQUIRE(!made.client.ec);
    REQUIRE(!made.server.ec);
    server = std::move(made.server.value);
    client = std::move(made.client.value);
  }
};

/// The next call that would be done at once is deferred to the next turn.
void spend_budget(rouse::callbacks& sched) {
  rouse::socket<rouse::callbacks> closed{sched};
  closed.close();
  for (int i = 0; i != 100; ++i) closed.send_all("x", [](std::error_code, std::size_t) {});
}

} // namespace

TEMPLATE_LIST_TEST_CASE("tls: a socket that outlives its scheduler is closed", "[tls]",
                        every_scheduler) {
  outliving_pair<TestType> pair;
  std::array<char, 8> room;
  auto reading = start(*pair.sched, CALL(pair.server.recv(room, 30s, how...)));
  const std::string block = large_block();
  auto sending = start(*pair.sched, CALL(pair.client.send_all(block, 30s, how...)));
  if constexpr (!is_threads<TestType>) pair.sched->poll();
  pair.sched.reset();
  for (auto* s : {&pair.server, &pair.client}) {
    CHECK(!s->is_open());
    CHECK(s->scheduler() == nullptr);
    std::error_code ec;
    for (auto how : {rouse::shutdown_recv, rouse::shutdown_send, rouse::shutdown_both}) {
      s->shutdown(how, ec);
      CHECK(ec == std::errc::bad_file_descriptor);
    }
    s->cancel();
    s->timeout(1s);
    CHECK(s->version() == "TLSv1.3");
  }
  pair.client.close();
}

TEST_CASE("tls: the end of a scheduler ends a call that is about to wait", "[tls]") {
  tls_pair<rouse::threads> pair;
  auto waiting = rouse::detail::stream_access<tls::socket<rouse::threads>>::waiting(
      pair.server, rouse::readable);
  rouse::threads::engine_type::operation op(nullptr);
  REQUIRE(waiting.prepare(op));
  pair.sched.engine().shut_down();
  CHECK(waiting.advance(op));
}

TEST_CASE("tls: cancel ends a call that has just begun", "[tls]") {
  tls_pair<rouse::callbacks> pair;
  std::array<char, 8> room;
  spend_budget(pair.sched);
  std::optional<std::error_code> ended;
  pair.server.recv(room, patience / 2, [&](std::error_code ec, std::size_t) { ended = ec; });
  pair.server.cancel();
  run_until(pair.sched, [&] { return ended.has_value(); });
  CHECK(*ended == std::errc::operation_canceled);
}

TEST_CASE("tls: cancel ends a call of another thread that is about to wait", "[tls]") {
  tls_pair<rouse::threads> pair;
  auto waiting = rouse::detail::stream_access<tls::socket<rouse::threads>>::waiting(
      pair.server, rouse::readable);
  rouse::threads::engine_type::operation op(nullptr);
  REQUIRE(waiting.prepare(op));
  REQUIRE(!waiting.advance(op));
  pair.server.cancel();
  bool waits = false;
  pair.sched.engine().with_completions([&](rouse::completions& completed) {
    waits = !op.awaited->enter(op, completed);
    if (waits) op.awaited->leave(op);
  });
  CHECK(!waits);
  CHECK(waiting.advance(op));
  CHECK(op.error == std::errc::operation_canceled);
  pair.server.close();
  run_until(pair.sched, [&] { return pair.sched.engine().active() == 0; });
}

TEMPLATE_LIST_TEST_CASE("tls: shutdown(recv) leaves no operation of the engine", "[tls]",
                        every_single) {
  tls_pair<TestType> pair;
  std::array<char, 8> room;
  auto waiting = start(pair.sched, CALL(pair.server.recv(room, 30s, how...)));
  until_pending(pair.sched, 2); // the call and the request of the connection
  pair.server.shutdown(rouse::shutdown_recv);
  CHECK(waiting.wait().value == 0);
  until_pending(pair.sched, 0);
}

TEST_CASE("tls: a handler may destroy, close, cancel or call the socket", "[tls]") {
  rouse::callbacks sched;
  const auto site = server_with("good");
  const auto web = trusting_client();
  auto made = meet(sched, site, web);
  auto server = std::make_unique<tls::socket<rouse::callbacks>>(std::move(made.server.value));
  auto& client = made.client.value;
  std::array<char, 4> room;
  std::string got;
  bool ended = false;
  const char* const what = GENERATE("destroy", "close", "cancel", "again");
  CAPTURE(what);
  server->recv(room, 30s, [&](std::error_code, std::size_t n) {
    got.append(room.data(), n);
    if (what == std::string("destroy")) server.reset();
    if (what == std::string("close")) server->close();
    if (what == std::string("cancel")) server->cancel();
    if (what == std::string("again"))
      server->recv(room, 30s, [&](std::error_code, std::size_t m) {
        got.append(room.data(), m);
        server->send_all("ok", [&](std::error_code, std::size_t) { server.reset(); });
      });
    ended = true;
  });
  send(sched, client, "first");
  run_until(sched, [&] { return ended; });
  if (what == std::string("again")) CHECK(receive(sched, client, 2) == "ok");
  CHECK(got.substr(0, 4) == "firs");
  server.reset();
  run_until(sched, [&] { return sched.engine().active() == 0; });
}

TEMPLATE_LIST_TEST_CASE("tls: a scheduler ends with calls of each kind in progress", "[tls]",
                        every_scheduler) {
  auto sched = std::make_unique<TestType>();
  TestType& at = *sched; // a thread may begin its call while the scheduler ends
  const auto site = server_with("good");
  const auto web = trusting_client();
  auto listener = listening(*sched);
  const auto port = listener.local_endpoint().port();
  auto made = meet(*sched, site, web);
  auto made2 = meet(*sched, site, web);
  auto [here, there] = rouse::socket_pair(*sched);
  std::array<char, 8> room, room2;
  const std::string block = large_block();
  auto& server = made.server.value;
  auto& client = made.client.value;
  rouse::reader in{made2.client.value};
  auto& plain = here;
  auto c1 = start(*sched, CALL(server.recv(room, 30s, how...)));
  auto c2 = start(*sched, CALL(client.send_all(block, 30s, how...)));
  auto c3 = start<rouse::loan>(*sched, CALL(client.receive(30s, how...)));
  auto c4 = start<std::string_view>(*sched, CALL(in.read_line(30s, how...)));
  auto c5 = start<rouse::done>(*sched, CALL(made2.server.value.wait(rouse::readable, 30s, how...)));
  auto c6 = start<tls::socket<TestType>>(
      *sched, CALL(tls::connect(at, web, "localhost", port, 30s, how...)));
  auto c7 =
      start<tls::socket<TestType>>(*sched, CALL(tls::accept(site, std::move(plain), 30s, how...)));
  auto c8 = start(*sched, CALL(server.recv_exactly(room2, how...)));
  if constexpr (is_threads<TestType>)
    run_until(*sched, [&] { return sched->engine().active() >= 8; });
  else
    for (int i = GENERATE(0, 1, 2, 3, 5); i > 0; --i) sched->poll();
  sched.reset();
  CHECK(!server.is_open());
  CHECK(!client.is_open());
}

TEMPLATE_LIST_TEST_CASE("tls: two receives at once, and two sends, lose nothing", "[tls]",
                        every_scheduler) {
  tls_pair<TestType> pair;
  std::array<std::array<char, 4>, 2> rooms;
  auto one = start(pair.sched, CALL(pair.server.recv_exactly(rooms[0], 30s, how...)));
  auto two = start(pair.sched, CALL(pair.server.recv_exactly(rooms[1], 30s, how...)));
  until_pending(pair.sched, 3);
  auto first = start(pair.sched, CALL(pair.client.send_all("aaaa", 30s, how...)));
  auto second = start(pair.sched, CALL(pair.client.send_all("bbbb", 30s, how...)));
  CHECK(one.wait().value == 4);
  CHECK(two.wait().value == 4);
  CHECK(first.wait().value == 4);
  CHECK(second.wait().value == 4);
  std::string all = std::string(rooms[0].data(), 4) + std::string(rooms[1].data(), 4);
  std::sort(all.begin(), all.end());
  CHECK(all == "aaaabbbb");
}

TEMPLATE_LIST_TEST_CASE("tls: a reset is connection_reset, after the bytes before it", "[tls]",
                        every_scheduler) {
  TestType sched;
  auto listener = listening(sched);
  auto accepting = start<rouse::socket<TestType>>(sched, CALL(listener.accept(30s, how...)));
  rouse::socket<TestType> plain{sched};
  REQUIRE(!await<rouse::done>(sched, CALL(plain.connect(listener.local_endpoint(), how...))).ec);
  auto made = shake(sched, server_with("good"), std::move(accepting.wait().value),
                    trusting_client(), std::move(plain));
  REQUIRE(!made.client.ec);
  REQUIRE(!made.server.ec);
  const bool waits = GENERATE(true, false);
  if (ROUSE_WINDOWS && !waits) {
    WARN("skipped: Wine 8 reports the end of the stream to a recv after the reset");
    return;
  }
  auto& server = made.server.value;
  auto& client = made.client.value.transport();
  client.set_option(rouse::linger{true, 0s});
  std::array<char, 8> room;
  if (!waits) client.close();
  auto first = start(sched, CALL(server.recv(room, 30s, how...)));
  if (waits) {
    until_pending(sched, 2); // the call and the request of the connection
    client.close();
  }
  const auto again = [&] { return await(sched, CALL(server.recv(room, 30s, how...))); };
  for (const auto& got : {first.wait(), again()}) {
    CHECK(got.value == 0);
    CHECK(got.ec == std::errc::connection_reset);
  }
}

TEMPLATE_LIST_TEST_CASE("tls: no call meets an error in OpenSSL's queue, or leaves one", "[tls]",
                        every_single) {
  tls_pair<TestType> pair;
  std::array<char, 8> room;
  ERR_raise(ERR_LIB_SSL, SSL_R_BAD_SIGNATURE);
  CHECK(send(pair.sched, pair.client, "text").value == 4);
  ERR_raise(ERR_LIB_SSL, SSL_R_BAD_SIGNATURE);
  CHECK(receive(pair.sched, pair.server, 4) == "text");
  ERR_raise(ERR_LIB_SSL, SSL_R_BAD_SIGNATURE);
  CHECK(await(pair.sched, CALL(pair.server.recv(room, 0s, how...))).ec == std::errc::timed_out);
  ERR_raise(ERR_LIB_SSL, SSL_R_BAD_SIGNATURE);
  pair.client.close();
  ERR_raise(ERR_LIB_SSL, SSL_R_BAD_SIGNATURE);
  CHECK(!await(pair.sched, CALL(pair.server.recv(room, 30s, how...))).ec);
  CHECK(ERR_peek_error() == 0);
  CHECK(meet(pair.sched, server_with("stranger"), trusting_client()).client.ec ==
        tls::error::certificate_rejected);
  CHECK(ERR_peek_error() == 0);
}

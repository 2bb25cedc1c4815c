// Servers: a flow for each connection, a limit, a stop with a deadline, errors of one connection.
#include <support/testing.hpp>

#include <stdexcept>

using namespace testing;

namespace {

// A server of S that serves connections with `handler`, and clients of it.
template <class S>
struct service {
  S sched;
  rouse::socket<S> listener = listening(sched);
  rouse::endpoint where = listener.local_endpoint();

  rouse::socket<S> connect() {
    rouse::socket client{sched};
    CHECK(!await<rouse::done>(sched, CALL(client.connect(where, how...))).ec);
    return client;
  }
};

// Echoes until the peer has ended; for every scheduler with flows.
struct echo {
  template <class S>
  rouse::task<> operator()(rouse::socket<S> conn) const {
    std::array<char, 64> buf;
    while (auto n = co_await conn.recv(buf)) co_await conn.send_all({buf.data(), n});
  }
};

struct oops : std::runtime_error {
  oops() : std::runtime_error("oops") {}
};

// Throws at the first byte.
struct thrower {
  template <class S>
  rouse::task<> operator()(rouse::socket<S> conn) const {
    std::array<char, 1> buf;
    if (co_await conn.recv(buf)) throw oops();
  }
};

} // namespace

TEMPLATE_LIST_TEST_CASE("serve: each connection is a flow, and join waits for the last one",
                        "[serve][L12]", every_flowing) {
  service<TestType> s;
  auto server = rouse::serve(s.sched, std::move(s.listener), echo());
  auto one = s.connect(), two = s.connect();
  send(s.sched, two, "second");
  send(s.sched, one, "first");
  CHECK(receive(s.sched, one, 5) == "first");
  CHECK(receive(s.sched, two, 6) == "second");
  CHECK(server.connections() == 2);
  server.stop(1h);
  auto joined = start<rouse::done>(s.sched, CALL(server.join(how...)));
  one.close();
  run_until(s.sched, [&] { return server.connections() == 1; });
  CHECK(!joined.finished());
  // The listener is closed; the remaining connection continues.
  run_until(s.sched, [&] {
    rouse::socket late{s.sched};
    return await<rouse::done>(s.sched, CALL(late.connect(s.where, how...))).ec ==
           std::errc::connection_refused;
  });
  send(s.sched, two, "still here");
  CHECK(receive(s.sched, two, 10) == "still here");
  two.close();
  CHECK(!joined.wait().ec);
  CHECK(server.ended());
  CHECK(server.connections() == 0);
}

TEMPLATE_LIST_TEST_CASE("serve: remaining connections are cancelled at the earliest deadline",
                        "[serve][L12][O4]", every_flowing) {
  service<TestType> s;
  auto server = rouse::serve(s.sched, std::move(s.listener), echo());
  auto client = s.connect();
  send(s.sched, client, "x");
  CHECK(receive(s.sched, client, 1) == "x");
  auto joined = start<rouse::done>(s.sched, CALL(server.join(how...)));
  SECTION("at once") { server.stop(); }
  SECTION("a little later") { server.stop(2ms); }
  SECTION("earlier than the first deadline") {
    server.stop(1h);
    s.sched.poll();
    server.stop(2ms);
    server.stop(1h); // too late to matter
  }
  CHECK(!joined.wait().ec);
  CHECK(server.connections() == 0);
  CHECK(receive(s.sched, client, 1).empty()); // closed
  s.sched.run(); // run() throws nothing
}

TEMPLATE_LIST_TEST_CASE("serve: no more connections are open than its limit", "[serve]",
                        every_flowing) {
  service<TestType> s;
  auto server = rouse::serve(s.sched, std::move(s.listener), echo(), {.connections = 1});
  auto one = s.connect(), two = s.connect(); // `two` waits in the listener's queue
  send(s.sched, one, "1");
  send(s.sched, two, "2");
  CHECK(receive(s.sched, one, 1) == "1");
  auto second =
      start(s.sched, [&, buf = std::make_shared<char>()](auto&&... how) -> decltype(auto) {
        return two.recv({buf.get(), 1}, how...);
      });
  s.sched.poll();
  CHECK(server.connections() == 1);
  CHECK(!second.finished());
  one.close();
  CHECK(second.wait().value == 1);
  CHECK(server.connections() == 1);
  server.stop();
  CHECK(!await<rouse::done>(s.sched, CALL(server.join(how...))).ec);
}

TEMPLATE_LIST_TEST_CASE(
    "serve: on_error gets the exception of a connection, and the others continue", "[serve][L07]",
    every_flowing) {
  service<TestType> s;
  std::atomic<int> reported{0};
  rouse::endpoint peer_of_last;
  auto server = rouse::serve(s.sched, std::move(s.listener), thrower(), {},
                             [&](std::exception_ptr e, const rouse::endpoint& peer) {
                               CHECK_THROWS_AS(std::rethrow_exception(e), oops);
                               peer_of_last = peer;
                               ++reported;
                             });
  auto one = s.connect(), two = s.connect();
  send(s.sched, one, "x");
  run_until(s.sched, [&] { return reported == 1; });
  CHECK(peer_of_last == one.local_endpoint());
  run_until(s.sched, [&] { return server.connections() == 1; });
  send(s.sched, two, "x");
  run_until(s.sched, [&] { return reported == 2; });
  server.stop();
  CHECK(!await<rouse::done>(s.sched, CALL(server.join(how...))).ec);
}

TEMPLATE_LIST_TEST_CASE("serve: without on_error run throws the exception, and can be called again",
                        "[serve][O7]", every_flowing) {
  service<TestType> s;
  auto server = rouse::serve(s.sched, std::move(s.listener), thrower());
  auto one = s.connect(), two = s.connect();
  for (auto* client : {&one, &two}) {
    CHECK(client->try_send("x") == 1);
    CHECK_THROWS_AS(s.sched.run(), oops);
  }
  server.stop();
  CHECK(!await<rouse::done>(s.sched, CALL(server.join(how...))).ec);
}

TEMPLATE_LIST_TEST_CASE("serve: continues when its handle is dropped, and ends with its scheduler",
                        "[serve][O5]", every_flowing) {
  auto s = std::make_unique<service<TestType>>();
  (void)rouse::serve(s->sched, std::move(s->listener), echo());
  auto client = s->connect();
  send(s->sched, client, "x");
  CHECK(receive(s->sched, client, 1) == "x");
  s.reset();
  CHECK(!client.is_open());
}

TEMPLATE_LIST_TEST_CASE("serve: run throws the error that ended accepting", "[serve][L07]",
                        every_flowing) {
  TestType sched;
  const auto of_a_closed_one = Catch::Predicate<std::system_error>(
      [](const std::system_error& e) { return e.code() == std::errc::bad_file_descriptor; });
  (void)rouse::serve(sched, rouse::socket<TestType>(), echo());
  CHECK_THROWS_MATCHES(sched.run(), std::system_error, of_a_closed_one);
}

// Servers of TLS connections: the handshake is in the connection's flow, and under a limit.
#include <tls/support/tls_testing.hpp>

#include <array>
#include <mutex>
#include <set>
#include <stdexcept>

using namespace testing;

namespace {

// Echoes until the peer has ended, plain or encrypted.
struct echo {
  template <rouse::byte_stream Stream>
  rouse::task<> operator()(Stream conn) const {
    std::array<char, 64> buf;
    while (auto n = co_await conn.recv(buf)) co_await conn.send_all({buf.data(), n});
    conn.close();
  }
};

struct oops : std::runtime_error {
  oops() : std::runtime_error("oops") {}
};

// A listener of S, and clients of its server.
template <class S>
struct service {
  S sched;
  rouse::socket<S> listener = listening(sched);
  rouse::endpoint where = listener.local_endpoint();
  tls::server_context site = server_with("good");
  tls::client_context web = trusting_client();

  rouse::socket<S> connect() {
    rouse::socket client{sched};
    CHECK(!await<rouse::done>(sched, CALL(client.connect(where, how...))).ec);
    return client;
  }
  tls::socket<S> encrypt(rouse::socket<S> client) {
    auto made = await<tls::socket<S>>(
        sched, CALL(tls::handshake(web, std::move(client), "localhost", patience, how...)));
    CHECK(!made.ec);
    return std::move(made.value);
  }
  template <class Stream>
  bool echoes(Stream& client) {
    send(sched, client, "hello");
    return receive(sched, client, 5) == "hello";
  }
};

template <class S>
void check_joined(S& sched, rouse::server<S>& server) {
  server.stop();
  CHECK(!await<rouse::done>(sched, CALL(server.join(how...))).ec);
  CHECK(server.connections() == 0);
}

// What a plain client receives until the server closes.
template <class S>
void check_closed(S& sched, rouse::socket<S>& client) {
  std::array<char, 64> buf;
  for (;;) {
    const auto got = await(sched, CALL(client.recv(buf, patience, how...)));
    CHECK(got.ec != std::errc::timed_out);
    if (got.value == 0) return;
  }
}

} // namespace

TEMPLATE_LIST_TEST_CASE("tls: serve calls one handler for plain and for TLS connections",
                        "[tls][serve][K21]", every_flowing) {
  service<TestType> s;
  auto plain_listener = listening(s.sched);
  const auto plain_where = plain_listener.local_endpoint();
  auto plain = rouse::serve(s.sched, std::move(plain_listener), echo());
  auto server = rouse::serve(s.sched, std::move(s.listener), s.site, echo());
  auto one = s.encrypt(s.connect());
  s.where = plain_where;
  auto two = s.connect();
  CHECK(s.echoes(one));
  CHECK(s.echoes(two));
  CHECK(server.connections() == 1);
  one.shutdown(rouse::shutdown_send);
  CHECK(receive(s.sched, one, 1).empty());
  run_until(s.sched, [&] { return server.connections() == 0; });
  check_joined(s.sched, server);
  check_joined(s.sched, plain);
}

TEMPLATE_LIST_TEST_CASE("tls: a silent peer delays no other, and a limit ends its handshake",
                        "[tls][serve][K21]", every_flowing) {
  service<TestType> s;
  SECTION("while it is silent, others are served") {
    auto server = rouse::serve(s.sched, std::move(s.listener), s.site, echo(), {.handshake = 1h});
    auto silent = s.connect();
    run_until(s.sched, [&] { return server.connections() == 1; });
    auto client = s.encrypt(s.connect());
    CHECK(s.echoes(client));
    CHECK(server.connections() == 2);
    check_joined(s.sched, server); // in the middle of a handshake
    check_closed(s.sched, silent);
  }
  SECTION("the limit ends it") {
    auto server = rouse::serve(s.sched, std::move(s.listener), s.site, echo(), {.handshake = 1ms});
    auto silent = s.connect();
    check_closed(s.sched, silent);
    run_until(s.sched, [&] { return server.connections() == 0; });
    check_joined(s.sched, server);
  }
  SECTION("it counts as a connection") {
    auto server = rouse::serve(s.sched, std::move(s.listener), s.site, echo(),
                               {.connections = 1, .handshake = 1h});
    auto silent = s.connect();
    run_until(s.sched, [&] { return server.connections() == 1; });
    auto second = s.connect(); // waits in the listener's queue
    auto encrypting = start<tls::socket<TestType>>(
        s.sched, CALL(tls::handshake(s.web, std::move(second), "localhost", patience, how...)));
    s.sched.poll();
    CHECK(server.connections() == 1);
    CHECK(!encrypting.finished());
    silent.close();
    CHECK(!encrypting.wait().ec);
    check_joined(s.sched, server);
  }
}

TEMPLATE_LIST_TEST_CASE("tls: a handshake that fails ends its connection only, without a report",
                        "[tls][serve][K21]", every_flowing) {
  service<TestType> s;
  std::atomic<int> reports{0};
  auto server = rouse::serve(s.sched, std::move(s.listener), s.site, echo(), {},
                             [&](std::exception_ptr, const rouse::endpoint&) { ++reports; });
  auto plain = s.connect();
  send(s.sched, plain, "GET / HTTP/1.1\r\n\r\n");
  check_closed(s.sched, plain);
  auto misled = s.connect();
  auto distrusting = await<tls::socket<TestType>>(
      s.sched, CALL(tls::handshake(s.web, std::move(misled), "other.test", patience, how...)));
  CHECK(distrusting.ec == tls::error::certificate_rejected);
  run_until(s.sched, [&] { return server.connections() == 0; });
  auto client = s.encrypt(s.connect());
  CHECK(s.echoes(client));
  check_joined(s.sched, server);
  CHECK(reports == 0);
}

TEMPLATE_LIST_TEST_CASE("tls: on_error gets the exception of a handler, and the peer",
                        "[tls][serve][K21]", every_flowing) {
  service<TestType> s;
  std::atomic<int> reported{0};
  rouse::endpoint peer_of_last;
  auto server = rouse::serve(
      s.sched, std::move(s.listener), s.site,
      [](tls::socket<TestType> conn) -> rouse::task<> {
        std::array<char, 1> buf;
        if (co_await conn.recv(buf)) throw oops();
      },
      {},
      [&](std::exception_ptr e, const rouse::endpoint& peer) {
        CHECK_THROWS_AS(std::rethrow_exception(e), oops);
        peer_of_last = peer;
        ++reported;
      });
  auto client = s.encrypt(s.connect());
  send(s.sched, client, "x");
  run_until(s.sched, [&] { return reported == 1; });
  CHECK(peer_of_last == client.local_endpoint());
  check_joined(s.sched, server);
}

TEMPLATE_LIST_TEST_CASE("tls: a reload reaches a server, and a context without a certificate is "
                        "refused",
                        "[tls][serve][K18]", every_flowing) {
  service<TestType> s;
  CHECK_THROWS_AS(rouse::serve(s.sched, listening(s.sched), tls::server_context(), echo()),
                  std::system_error);
  auto server = rouse::serve(s.sched, std::move(s.listener), s.site, echo());
  auto before = s.encrypt(s.connect());
  s.site.reload(certificate("ip.pem"), certificate("ip.key"));
  auto later = s.connect();
  auto after = await<tls::socket<TestType>>(
      s.sched, CALL(tls::handshake(s.web, std::move(later), "127.0.0.1", patience, how...)));
  CHECK(!after.ec);
  CHECK(s.echoes(before));
  CHECK(s.echoes(after.value));
  check_joined(s.sched, server);
}

// ---- on several cores

namespace {

// The contexts that the connections of a server have had.
struct contexts {
  std::mutex mutex;
  std::set<const void*> seen;

  void note(SSL* ssl) {
    const std::lock_guard lock(mutex);
    seen.insert(SSL_get_SSL_CTX(ssl));
  }
  std::size_t count() {
    const std::lock_guard lock(mutex);
    return seen.size();
  }
};

// A connection of callbacks that echoes.
struct session {
  tls::socket<rouse::callbacks> conn;
  std::array<char, 64> buf{};
  void begin(std::shared_ptr<session> self) {
    conn.recv(buf, [self](std::error_code, std::size_t n) {
      if (n == 0) return self->conn.close();
      self->conn.send_all({self->buf.data(), n}, [self](std::error_code ec, std::size_t) {
        if (!ec) self->begin(self);
      });
    });
  }
};

template <class S>
void run(rouse::per_core<S>& cores, const tls::server_context& site, contexts& seen) {
  rouse::serve(cores, site,
               [&seen](tls::socket<S> conn) {
                 seen.note(conn.native_handle());
                 if constexpr (calls_back<S>) {
                   auto s = std::make_shared<session>(std::move(conn));
                   s->begin(s);
                 } else {
                   return echo()(std::move(conn));
                 }
               },
               {.handshake = patience});
}

bool ask(rouse::fibers& sched, const tls::client_context& web, const rouse::endpoint& where) {
  rouse::socket plain{sched};
  plain.connect(where, patience);
  auto s = tls::handshake(web, std::move(plain), "localhost", patience);
  s.send_all("hello");
  std::array<char, 5> buf;
  const std::size_t n = s.recv_exactly(buf, patience);
  s.close();
  return std::string_view(buf.data(), n) == "hello";
}

} // namespace

TEMPLATE_LIST_TEST_CASE("tls: each core has a context of its own", "[tls][per_core][K21]",
                        every_scheduler) {
  rouse::per_core<TestType> cores{{"127.0.0.1", 0}, 2};
  const tls::server_context site = server_with("good");
  const tls::client_context web = trusting_client();
  const auto where = cores.local_endpoint();
  contexts seen;
  std::thread serving([&] { run(cores, site, seen); });
  rouse::fibers sched;
  // The system chooses the core of a connection; in the end each core has had one.
  int asked = 0;
  bool right = true;
  while (right && seen.count() != 2 && asked++ != 1000) right = ask(sched, web, where);
  CHECK(right);
  CHECK(seen.count() == 2);
  rouse::socket silent{sched}; // in the handshake when the server stops
  silent.connect(where, patience);
  cores.stop();
  serving.join();
  CHECK_THROWS_AS(ask(sched, web, where), std::system_error);
}

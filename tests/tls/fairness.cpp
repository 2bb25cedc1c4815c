// Fairness: TLS calls that never have to wait let other flows run (O2).
#include <tls/support/tls_testing.hpp>

#include <array>
#include <string>
#include <thread>
#include <tuple>
#include <utility>

using namespace testing;

namespace {

using every_looped = std::tuple<rouse::coroutines, rouse::fibers>;
// More calls than other flows may have to wait for.
constexpr int most = 20'000;

// While a flow makes one such call after the other, another flow must run.
template <class S, class Call>
void check_fair(S& sched, const char* what, Call call) {
  INFO(what);
  bool done = false;
  int calls = 0;
  if constexpr (awaits<S>) {
    sched.spawn([&]() -> rouse::task<> {
      for (std::error_code ec; !done && calls != most; ++calls) (void)co_await call(ec);
    });
    sched.spawn([&]() -> rouse::task<> {
      co_await sched.yield();
      done = true;
    });
  } else {
    sched.spawn([&] {
      for (std::error_code ec; !done && calls != most; ++calls) (void)call(ec);
    });
    sched.spawn([&] {
      sched.yield();
      done = true;
    });
  }
  sched.run();
  CHECK(done);
  CHECK(calls < most);
}

/// The peer of a TLS connection, which a thread of its own serves as fast as it can.
template <class S>
class fast_peer {
public:
  /// @param serve  called there with the peer's socket.
  template <class Serve>
  fast_peer(S& sched, Serve serve) {
    rouse::socket<S> plain{sched};
    const auto where = listener_.local_endpoint();
    thread_ = std::thread([this, serve] {
      auto s = tls::accept(server_with("good"), listener_.accept());
      serve(s);
    });
    REQUIRE(!await<rouse::done>(sched, CALL(plain.connect(where, how...))).ec);
    auto made = await<tls::socket<S>>(
        sched, CALL(tls::handshake(trusting_client(), std::move(plain), "localhost", how...)));
    REQUIRE(!made.ec);
    socket = std::move(made.value);
  }
  ~fast_peer() {
    socket.close();
    thread_.join();
  }
  tls::socket<S> socket;

private:
  rouse::threads own_;
  rouse::socket<rouse::threads> listener_ = listening(own_);
  std::thread thread_;
};

// While one call moves 64 MiB, another flow must run.
template <class S, class Call>
void check_fair_within(S& sched, Call call) {
  int turns = 0;
  auto moving = start(sched, call);
  if constexpr (awaits<S>)
    sched.spawn([&]() -> rouse::task<> {
      for (; !moving.finished(); ++turns) co_await sched.yield();
    });
  else
    sched.spawn([&] {
      for (; !moving.finished(); ++turns) sched.yield();
    });
  CHECK(!moving.wait().ec);
  sched.run();
  CHECK(turns > 10);
}

} // namespace

TEMPLATE_LIST_TEST_CASE("tls: a flow with calls that never wait lets other flows run", "[tls][O2]",
                        every_looped) {
  tls_pair<TestType> pair;
  std::array<char, 1> room;
  send(pair.sched, pair.client, std::string(100'000, 'x'));
  check_fair(pair.sched, "a recv", CALL(pair.server.recv(room, how...)));
  check_fair(pair.sched, "a wait", CALL(pair.server.wait(rouse::writable, how...)));
  check_fair(pair.sched, "an empty send", CALL(pair.server.send_all(std::string_view(), how...)));
  rouse::reader in{pair.server};
  check_fair(pair.sched, "a piece", CALL(in.read_exactly(1, how...)));
  pair.server.close();
  check_fair(pair.sched, "a recv of a closed socket", CALL(pair.server.recv(room, how...)));
  tls::socket<TestType> none;
  check_fair(pair.sched, "a recv of no socket", CALL(none.recv(room, how...)));
}

TEMPLATE_LIST_TEST_CASE("tls: a long transfer lets other flows run", "[tls][O2]", every_looped) {
  TestType sched;
  static constexpr std::size_t size = std::size_t{64} << 20;
  std::string block(size, 'x');
  SECTION("send_all") {
    fast_peer<TestType> peer(sched, [](auto& s) {
      std::error_code ec;
      while (!s.receive(ec).empty()) {
      }
    });
    check_fair_within(sched, CALL(peer.socket.send_all(block, how...)));
  }
  SECTION("recv_exactly") {
    fast_peer<TestType> peer(sched, [](auto& s) {
      std::error_code ec;
      s.send_all(std::string(size, 'x'), ec);
    });
    check_fair_within(sched, CALL(peer.socket.recv_exactly(block, how...)));
  }
}

// No call of a TLS socket allocates after a warm-up. OpenSSL's own memory does not come from
// operator new. (Not under ThreadSanitizer: its own operator new cannot be replaced.)
#include <tls/support/tls_testing.hpp>

#if !ROUSE_TSAN
#include <support/counted_allocations.hpp>

#include <array>
#include <string>

using namespace testing;

namespace {

constexpr int warm_up = 50, measured = 500;

// Each kind of call once.
template <class S>
rouse::task<> one_of_each(tls_pair<S>& pair, std::string_view block) {
  std::array<char, 16> buf;
  std::error_code ec;
  (void)co_await pair.client.send_all("ping");
  (void)co_await pair.server.recv_exactly(std::span(buf).first(4), 1h);
  const std::array<rouse::const_buffer, 2> parts{rouse::const_buffer("po"),
                                                 rouse::const_buffer("ng")};
  (void)co_await pair.server.send(parts, 1h);
  (void)co_await pair.client.recv(buf);
  (void)co_await pair.client.send_all(block); // as a record of its own
  for (std::size_t got = 0; got != block.size();) {
    const rouse::loan part = co_await pair.server.receive();
    got += part.size();
  }
  (void)co_await pair.client.recv(buf, 0s, ec);
  CHECK(ec == std::errc::timed_out);
  (void)co_await pair.client.wait(rouse::writable);
}

template <class S>
rouse::task<> count(tls_pair<S>& pair, std::size_t& counted) {
  const std::string block(10'000, 'x');
  for (int i = 0; i != warm_up; ++i) co_await one_of_each(pair, block);
  const std::size_t before = allocations;
  for (int i = 0; i != measured; ++i) co_await one_of_each(pair, block);
  counted = allocations - before;
}

// The same as a chain of handlers.
struct handlers {
  tls_pair<rouse::callbacks>& pair;
  std::array<char, 16> buf{};
  int rounds = 0;
  std::size_t before = 0, counted = 0;

  void ping() {
    if (rounds == warm_up) before = allocations;
    if (rounds++ == warm_up + measured) {
      counted = allocations - before;
      return;
    }
    pair.client.send_all("ping", [this](std::error_code, std::size_t) { pong(); });
  }
  void pong() {
    pair.server.recv(buf, 1h, [this](std::error_code, std::size_t n) {
      pair.server.send_all(std::span(buf).first(n), [this](std::error_code, std::size_t) {
        pair.client.receive([this](std::error_code, rouse::loan) { time_out(); });
      });
    });
  }
  void time_out() {
    pair.client.recv(buf, 0s, [this](std::error_code ec, std::size_t) {
      CHECK(ec == std::errc::timed_out);
      ping();
    });
  }
};

} // namespace

TEMPLATE_LIST_TEST_CASE("tls: no call allocates after a warm-up", "[tls][allocations]",
                        every_flowing) {
  tls_pair<TestType> pair;
  std::size_t counted = 1;
  pair.sched.spawn(count(pair, counted));
  pair.sched.run();
  CHECK(counted == 0);
}

TEST_CASE("tls: no call allocates after a warm-up: handlers", "[tls][allocations]") {
  tls_pair<rouse::callbacks> pair;
  handlers h{pair};
  h.ping();
  pair.sched.run();
  CHECK(h.rounds == warm_up + measured + 1);
  CHECK(h.counted == 0);
}

TEST_CASE("tls: a cache that memory is too short to add to is as before", "[tls][allocations]") {
  tls::detail::session_store kept(8);
  bool enough = false;
  for (std::size_t n = 0; !enough; ++n) {
    const std::string peer(100, static_cast<char>('a' + n));
    std::string name = peer;
    tls::detail::session_ptr made(SSL_SESSION_new());
    left = n;
    enough = rouse::detail::guarded(
        [&] {
          kept.put(std::move(name), std::move(made));
          return true;
        },
        [] { return false; });
    left = std::size_t(-1);
    CHECK((kept.take(peer) != nullptr) == enough);
  }
}
#endif

// No byte is lost: calls that are cancelled or reach their limits, keys that change all the time.
#include <tls/support/scripted_peer.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <thread>

using namespace testing;

namespace {

/// How much is moved in parts. A call takes longest with threads, and longer under Wine.
template <class S>
constexpr std::size_t much = std::size_t{1} << (is_threads<S> ? 13 : ROUSE_WINDOWS ? 17 : 20);

/// Moves a text through calls, most of which are stopped before they complete.
template <class S>
class interrupted_transfer {
public:
  explicit interrupted_transfer(S& sched) : sched_(sched) {}

  /// One call of `begin(stop_token)`, which is stopped after that many turns. Returns its value.
  template <class Begin>
  std::size_t call(unsigned turns, Begin begin) {
    std::stop_source stop;
    const std::size_t others = sched_.engine().active();
    auto running = begin(stop.get_token());
    if constexpr (is_threads<S>) { // or most calls would be stopped before their threads have begun
      for (int i = 0; i != 1000 && !running.finished() && sched_.engine().active() == others; ++i)
        std::this_thread::yield();
    }
    while (turns-- != 0 && !running.finished()) sched_.poll();
    stop.request_stop();
    const auto& ended = running.wait();
    if (ended.ec) {
      REQUIRE(ended.ec == std::errc::operation_canceled);
      ++stopped;
    }
    return ended.value;
  }
  unsigned stopped = 0; ///< calls

private:
  S& sched_;
};

template <class S>
std::size_t recv_some(interrupted_transfer<S>& t, S& sched, tls::socket<S>& s, char* to,
                      std::size_t size, unsigned turns) {
  return t.call(turns, [&](std::stop_token token) {
    return start(sched, [&s, to, size, token](auto&&... how) -> decltype(auto) {
      return s.recv(rouse::mutable_buffer(to, size), token, how...);
    });
  });
}
template <class S>
std::size_t send_some(interrupted_transfer<S>& t, S& sched, tls::socket<S>& s,
                      std::string_view text, unsigned turns) {
  return t.call(turns, [&](std::stop_token token) {
    return start(sched, [&s, text, token](auto&&... how) -> decltype(auto) {
      return s.send_all(text, token, how...);
    });
  });
}

} // namespace

TEMPLATE_LIST_TEST_CASE("tls, lossless: receives that are stopped lose no byte", "[tls][K05]",
                        every_scheduler) {
  scripted_connection<TestType> c(GENERATE(role::client, role::server),
                                  GENERATE(TLS1_2_VERSION, TLS1_3_VERSION));
  c.connect();
  const std::string text = pattern(much<TestType>);
  interrupted_transfer<TestType> transfer(c.sched);
  std::string got(text.size(), '\0');
  // Nothing has been sent yet, so this call can only be stopped.
  REQUIRE(recv_some(transfer, c.sched, c.socket, got.data(), got.size(), 2) == 0);
  REQUIRE(transfer.stopped == 1);
  std::size_t written = 0, size = 0;
  unsigned round = 0;
  while (size != text.size()) {
    REQUIRE(round < 1000000);
    if (c.peer.outgoing.empty() && written != text.size()) {
      const std::size_t part =
          std::min<std::size_t>(1 + round * 977 % 16384, text.size() - written);
      c.peer.write(std::string_view(text).substr(written, part));
      written += part;
    }
    c.peer.deliver(1 + round * 7919 % 9000);
    const std::size_t room = std::min<std::size_t>(1 + round * 31 % 5000, text.size() - size);
    size += recv_some(transfer, c.sched, c.socket, &got[size], room, round % 4);
    ++round;
  }
  CHECK(got == text);
}

TEMPLATE_LIST_TEST_CASE("tls, lossless: sends that are stopped tell how much was accepted",
                        "[tls][K05]", every_scheduler) {
  scripted_connection<TestType> c(GENERATE(role::client, role::server),
                                  GENERATE(TLS1_2_VERSION, TLS1_3_VERSION));
  c.ends.first.set_option(rouse::send_buffer_size{8192}); // otherwise no send of this test waits
  c.peer.plain().set_option(rouse::receive_buffer_size{8192});
  c.connect();
  const std::string text = pattern(std::size_t{1} << 20);
  interrupted_transfer<TestType> transfer(c.sched);
  // The peer does not read yet, so this call can only be stopped.
  std::size_t sent = send_some(transfer, c.sched, c.socket, text, 2);
  REQUIRE(transfer.stopped == 1);
  const std::size_t end = std::min(text.size(), sent + much<TestType>);
  for (unsigned round = 0; sent != end; ++round) {
    REQUIRE(round < 1000000);
    // The peer reads only now and then, so that the sends have to wait.
    const std::size_t part = std::min<std::size_t>(1 + round * 7919 % 200000, end - sent);
    const std::string_view next = std::string_view(text).substr(sent, part);
    sent += send_some(transfer, c.sched, c.socket, next, round % 4);
    if (round % 5 == 0) c.peer.turn();
  }
  c.exchange([&] { return c.peer.text.size() == end; });
  CHECK(c.peer.text == std::string_view(text).substr(0, end));
}

TEMPLATE_LIST_TEST_CASE("tls, lossless: a limit that passes at once takes what is there",
                        "[tls][K05]", every_scheduler) {
  tls_pair<TestType> pair;
  send(pair.sched, pair.client, "one");
  std::array<char, 8> room;
  std::size_t size = 0;
  while (size != 3) {
    const auto got = await(pair.sched, CALL(pair.server.recv(room, 0s, how...)));
    if (got.ec) CHECK(got.ec == std::errc::timed_out);
    size += got.value;
  }
  CHECK(std::string_view(room.data(), 3) == "one");
}

TEMPLATE_LIST_TEST_CASE("tls, lossless: an exact receive that is stopped tells what it has",
                        "[tls][K05]", every_scheduler) {
  tls_pair<TestType> pair;
  std::array<char, 8> room;
  std::stop_source stop;
  const auto token = stop.get_token();
  auto reading = start(pair.sched, CALL(pair.server.recv_exactly(room, token, how...)));
  send(pair.sched, pair.client, "half");
  std::array<char, 1> next;
  // The connection receives again as soon as the four bytes have been taken.
  run_until(pair.sched, [&] { return pair.sched.engine().active() == 2; });
  stop.request_stop();
  CHECK(reading.wait().ec == std::errc::operation_canceled);
  send(pair.sched, pair.client, "!");
  const std::size_t before = reading.wait().value;
  CHECK(std::string_view(room.data(), before) == std::string_view("half").substr(0, before));
  CHECK(await(pair.sched, CALL(pair.server.recv(next, 30s, how...))).value == 1);
  CHECK(next[0] == "half!"[before]);
}

TEMPLATE_LIST_TEST_CASE("tls, lossless: 1 MiB each way while the peer changes its keys",
                        "[tls][K07]", every_scheduler) {
  scripted_connection<TestType> c(GENERATE(role::client, role::server));
  c.connect();
  const std::string there = pattern(std::size_t{1} << 20), &back = there;
  std::string got(back.size(), '\0');
  auto sending = start(c.sched, CALL(c.socket.send_all(there, 30s, how...)));
  auto reading = start(c.sched, CALL(c.socket.recv_exactly(got, 30s, how...)));
  std::size_t written = 0;
  c.exchange([&] {
    if (c.peer.outgoing.size() < 10000 && written != back.size()) {
      SSL_key_update(c.peer.ssl(), SSL_KEY_UPDATE_REQUESTED);
      const std::size_t part = std::min<std::size_t>(3001, back.size() - written);
      c.peer.write(std::string_view(back).substr(written, part));
      written += part;
    }
    return sending.finished() && reading.finished() && c.peer.text.size() == there.size();
  });
  CHECK(!sending.wait().ec);
  CHECK(!reading.wait().ec);
  CHECK(got == back);
  CHECK(c.peer.text == there);
}

TEMPLATE_LIST_TEST_CASE("tls, lossless: 1 MiB each way while both sides change their keys",
                        "[tls][K07]", every_single) {
  tls_pair<TestType> pair;
  const std::string text = pattern(std::size_t{1} << 20);
  std::string at_server(text.size(), '\0'), at_client(text.size(), '\0');
  auto server = start(pair.sched, CALL(pair.server.recv_exactly(at_server, 30s, how...)));
  auto client = start(pair.sched, CALL(pair.client.recv_exactly(at_client, 30s, how...)));
  for (std::string_view left = text; !left.empty(); left.remove_prefix(1 << 12)) {
    const std::string_view part = left.substr(0, 1 << 12);
    for (auto* s : {&pair.server, &pair.client})
      SSL_key_update(s->native_handle(), SSL_KEY_UPDATE_REQUESTED);
    auto sending = start(pair.sched, CALL(pair.client.send_all(part, 30s, how...)));
    auto answering = start(pair.sched, CALL(pair.server.send_all(part, 30s, how...)));
    CHECK(!sending.wait().ec);
    CHECK(!answering.wait().ec);
  }
  CHECK(server.wait().value == text.size());
  CHECK(client.wait().value == text.size());
  CHECK(at_server == text);
  CHECK(at_client == text);
}

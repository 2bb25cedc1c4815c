// Ciphertext that arrives in pieces, is cut off, damaged, or never read.
#include <tls/support/scripted_peer.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

using namespace testing;

namespace {

struct handshake_kind {
  role peer;
  int version;
};
handshake_kind any_handshake() {
  return GENERATE(
      handshake_kind{role::server, TLS1_3_VERSION}, handshake_kind{role::client, TLS1_3_VERSION},
      handshake_kind{role::server, TLS1_2_VERSION}, handshake_kind{role::client, TLS1_2_VERSION});
}

// A handshake for each offset costs seconds, so only callbacks try all of them, and only with TLS
// 1.3 against a server, and without sanitizers.
template <class S>
std::size_t stride(handshake_kind k) {
  constexpr std::size_t slow = ROUSE_ASAN || ROUSE_TSAN ? 5 : 1;
  return !calls_back<S>                                          ? 97
         : k.peer == role::server && k.version == TLS1_3_VERSION ? slow
                                                                 : 5 * slow;
}

/// What arrived, and how it ended.
template <class S>
outcome<std::string> read_all(scripted_connection<S>& c) {
  outcome<std::string> all;
  while (true) {
    std::array<char, 64> room;
    auto reading = start(c.sched, CALL(c.socket.recv(room, 30s, how...)));
    c.exchange([&] { return reading.finished(); }, 0);
    all.value.append(room.data(), reading.wait().value);
    all.ec = reading.wait().ec;
    if (all.ec || reading.wait().value == 0) return all;
  }
}

/// Three records and a goodbye; `ends` gets the offset after each.
template <class S>
void write_records(scripted_peer<S>& peer, std::vector<std::size_t>& ends) {
  for (const char* record : {"one", "two", "three"}) {
    peer.write(record);
    ends.push_back(peer.written());
  }
  peer.write_goodbye();
  ends.push_back(peer.written());
}
std::string records_before(const std::vector<std::size_t>& ends, std::size_t offset) {
  std::string text;
  const char* const records[] = {"one", "two", "three"};
  for (std::size_t n = 0; n != 3; ++n)
    if (ends[n] <= offset) text += records[n];
  return text;
}

} // namespace

TEMPLATE_LIST_TEST_CASE("tls, cut: a handshake and records that arrive byte by byte", "[tls][K02]",
                        every_scheduler) {
  const handshake_kind k = any_handshake();
  scripted_connection<TestType> c(k.peer, k.version);
  auto shaking = c.shake(30s);
  c.exchange([&] { return shaking.finished() && c.peer.handshake_end != 0; }, 1);
  REQUIRE(!shaking.wait().ec);
  c.socket = std::move(shaking.wait().value);
  std::vector<std::size_t> ends;
  write_records(c.peer, ends);
  std::string text(12, '\0');
  auto reading = start(c.sched, CALL(c.socket.recv_exactly(text, 30s, how...)));
  c.exchange([&] { return reading.finished(); }, 1);
  CHECK(!reading.wait().ec);
  CHECK(reading.wait().value == 11);
  text.resize(11);
  CHECK(text == "onetwothree");
}

TEMPLATE_LIST_TEST_CASE("tls, cut: one cut at any offset, the rest at once", "[tls][K02]",
                        every_scheduler) {
  const handshake_kind k = any_handshake();
  bool cut_all = false;
  for (std::size_t offset = 1; !cut_all; offset += stride<TestType>(k)) {
    scripted_connection<TestType> c(k.peer, k.version);
    auto shaking = c.shake(30s);
    bool wrote = false;
    std::vector<std::size_t> ends;
    c.exchange(
        [&] {
          if (c.peer.handshake_end != 0 && !wrote) {
            write_records(c.peer, ends); // sent together with the end of the handshake
            wrote = true;
          }
          if (c.peer.delivered < offset)
            c.peer.deliver(offset - c.peer.delivered);
          else
            c.peer.deliver();
          return shaking.finished() && wrote && c.peer.outgoing.empty();
        },
        0);
    REQUIRE(!shaking.wait().ec);
    c.socket = std::move(shaking.wait().value);
    const auto got = read_all(c);
    REQUIRE(!got.ec);
    REQUIRE(got.value == "onetwothree");
    cut_all = offset >= c.peer.delivered;
  }
}

TEMPLATE_LIST_TEST_CASE("tls, cut: a stream that ends at any offset", "[tls][K04]",
                        every_scheduler) {
  const handshake_kind k = any_handshake();
  bool tried_all = false;
  for (std::size_t offset = 0; !tried_all; offset += stride<TestType>(k)) {
    scripted_connection<TestType> c(k.peer, k.version);
    auto shaking = c.shake(30s);
    std::vector<std::size_t> ends;
    bool cut = false, whole = false;
    c.exchange(
        [&] {
          if (c.peer.handshake_end != 0 && ends.empty()) write_records(c.peer, ends);
          whole = !ends.empty() && offset >= c.peer.written();
          c.peer.deliver((whole ? c.peer.written() : offset) - c.peer.delivered);
          if (!cut && (whole ? c.peer.outgoing.empty() : c.peer.delivered == offset)) {
            c.peer.cut();
            cut = true;
          }
          return cut && shaking.finished();
        },
        0);
    tried_all = whole;
    auto& shaken = shaking.wait();
    CAPTURE(offset, c.peer.handshake_end, shaken.ec.message());
    // The peer learns that its handshake is complete only after it has written the last message.
    c.exchange([&] { return shaken.ec || c.peer.handshake_end != 0; }, 0);
    if (c.peer.handshake_end == 0 || offset < c.peer.handshake_end) {
      REQUIRE(shaken.ec == tls::error::handshake_failed);
      REQUIRE(shaken.ec.message() == "TLS handshake failed: unexpected eof while reading");
      continue;
    }
    REQUIRE(!shaken.ec);
    c.socket = std::move(shaken.value);
    const auto got = read_all(c);
    if (whole)
      REQUIRE(!got.ec);
    else
      REQUIRE(got.ec == tls::error::truncated);
    if (!ends.empty()) REQUIRE(got.value == records_before(ends, offset));
  }
}

TEMPLATE_LIST_TEST_CASE("tls, cut: a handshake can be cancelled wherever it waits", "[tls][K06]",
                        every_scheduler) {
  const handshake_kind k = any_handshake();
  bool tried_all = false;
  for (std::size_t offset = 0; !tried_all; offset += stride<TestType>(k)) {
    scripted_connection<TestType> c(k.peer, k.version);
    std::stop_source stop;
    bool complete = false;
    auto shaking = c.shake(stop.get_token());
    c.exchange(
        [&] {
          c.peer.deliver(offset - c.peer.delivered);
          complete = shaking.finished();
          return complete || c.peer.delivered == offset;
        },
        0);
    tried_all = complete;
    stop.request_stop();
    const auto& shaken = shaking.wait();
    if (!complete && shaken.ec) REQUIRE(shaken.ec == std::errc::operation_canceled);
    if (shaken.ec) c.exchange([&] { return c.peer.ended; }, 0); // the connection is closed
  }
}

TEMPLATE_LIST_TEST_CASE("tls, cut: a handshake that a limit ends closes the connection",
                        "[tls][K06]", every_scheduler) {
  const handshake_kind k = any_handshake();
  scripted_connection<TestType> c(k.peer, k.version);
  auto shaking = c.shake(1ms);
  CHECK(shaking.wait().ec == std::errc::timed_out);
  CHECK(!shaking.wait().value.is_open());
  c.exchange([&] { return c.peer.ended; }, 0);
}

TEMPLATE_LIST_TEST_CASE("tls, cut: a damaged record ends the stream with its reason", "[tls][K09]",
                        every_scheduler) {
  const handshake_kind k = any_handshake();
  scripted_connection<TestType> c(k.peer, k.version);
  c.connect();
  c.peer.write("good");
  c.peer.deliver();
  c.peer.write("bad");
  c.peer.outgoing.back() ^= 1;
  c.peer.deliver();
  auto got = read_all(c);
  CHECK(got.value == "good");
  CHECK(got.ec == tls::error::protocol_violated);
  CHECK(got.ec.message() == "TLS protocol error: decryption failed or bad record mac");
  got = read_all(c);
  CHECK(got.value.empty());
  CHECK(got.ec == tls::error::protocol_violated);
  CHECK(send(c.sched, c.socket, "x").ec); // the alert has been sent, so nothing may follow it
}

TEMPLATE_LIST_TEST_CASE("tls, cut: a peer that refuses is told by its alert", "[tls][K09]",
                        every_scheduler) {
  scripted_connection<TestType> c(role::client);
  SSL_set_verify(c.peer.ssl(), SSL_VERIFY_PEER, nullptr); // and it knows no root
  auto shaking = c.shake(30s);
  c.exchange([&] { return shaking.finished(); });
  CHECK(shaking.wait().ec == tls::error::handshake_failed);
  CHECK(shaking.wait().ec.message() == "TLS handshake failed: tlsv1 alert unknown ca");
}

TEMPLATE_LIST_TEST_CASE("tls, cut: renegotiation is refused, and the stream goes on", "[tls][K07]",
                        every_scheduler) {
  scripted_connection<TestType> c(role::server, TLS1_2_VERSION);
  c.connect();
  SSL_renegotiate(c.peer.ssl());
  SSL_do_handshake(c.peer.ssl());
  std::array<char, 8> room;
  auto reading = start(c.sched, CALL(c.socket.recv(room, 30s, how...)));
  c.exchange([&] { return !c.peer.text.empty() || c.peer.outgoing.empty(); });
  c.peer.write("on");
  c.exchange([&] { return reading.finished(); });
  CHECK(!reading.wait().ec);
  CHECK(reading.wait().value == 2);
}

TEMPLATE_LIST_TEST_CASE("tls, cut: a peer that never reads stops only what is sent to it",
                        "[tls][K08]", every_scheduler) {
  const handshake_kind k = any_handshake();
  scripted_connection<TestType> c(k.peer, k.version);
  c.connect();
  c.peer.reads = false;
  const std::string block = large_block();
  auto sending = start(c.sched, CALL(c.socket.send_all(block, 50ms, how...)));
  c.peer.write("still here");
  c.peer.deliver();
  CHECK(receive(c.sched, c.socket, 10) == "still here");
  CHECK(sending.wait().ec == std::errc::timed_out);
  CHECK(sending.wait().value < block.size());
  // What was accepted is sent when the peer reads at last.
  std::error_code ec;
  c.socket.shutdown(rouse::shutdown_send, ec);
  CHECK(!ec);
  c.peer.reads = true;
  c.exchange([&] { return c.peer.goodbye; });
  CHECK(c.peer.text == block.substr(0, sending.wait().value));
}

TEMPLATE_LIST_TEST_CASE("tls, cut: a peer that wants answers and reads none is refused",
                        "[tls][K08]", every_scheduler) {
  scripted_connection<TestType> c(GENERATE(role::client, role::server));
  c.connect();
  c.peer.reads = false;
  std::array<char, 8> room;
  auto reading = start(c.sched, CALL(c.socket.recv(room, 30s, how...)));
  c.exchange([&] {
    for (int i = 0; i != 100 && c.peer.outgoing.size() < 10000; ++i) {
      SSL_key_update(c.peer.ssl(), SSL_KEY_UPDATE_REQUESTED);
      SSL_do_handshake(c.peer.ssl());
    }
    return reading.finished();
  });
  CHECK(reading.wait().ec == tls::error::protocol_violated);
  CHECK(reading.wait().value == 0);
}

TEMPLATE_LIST_TEST_CASE("tls, cut: a server can close before its client has read anything",
                        "[tls][K03]", every_scheduler) {
  scripted_connection<TestType> c(role::client);
  c.connect();
  c.peer.reads = false;
  CHECK(send(c.sched, c.socket, "hello").value == 5);
  c.socket.close();
  c.peer.reads = true;
  c.exchange([&] { return c.peer.ended; });
  CHECK(c.peer.text == "hello");
  CHECK(c.peer.goodbye);
}

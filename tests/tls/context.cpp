// The settings of TLS connections: what two contexts agree on, and what they refuse.
#include <tls/support/tls_testing.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using namespace testing;

namespace {

/// Shakes hands, lets a message of the server bring its tickets, and ends the connection. Returns
/// whether a session was taken up.
template <class S>
bool resumed(S& sched, const tls::server_context& site, const tls::client_context& web,
             std::string_view name = "localhost") {
  auto made = meet(sched, site, web, name);
  REQUIRE(!made.client.ec);
  REQUIRE(!made.server.ec);
  send(sched, made.server.value, "x");
  CHECK(receive(sched, made.client.value, 1) == "x");
  CHECK(made.client.value.resumed() == made.server.value.resumed());
  CHECK(made.server.value.server_name() == name);
  return made.client.value.resumed();
}

/// The name of the certificate that a server presents.
template <class S>
std::string presented(S& sched, const tls::server_context& site, const tls::client_context& web,
                      std::string_view name = "localhost") {
  const auto made = meet(sched, site, web, name);
  if (made.client.ec) return made.client.ec.message();
  return tls::detail::subject_of(made.client.value.peer_certificate());
}

/// What an impossible setting says, before the words for invalid_argument.
template <class F>
std::string refusal(F setting) {
  try {
    setting();
  } catch (const std::system_error& e) {
    CHECK(e.code() == std::errc::invalid_argument);
    const std::string words = e.what();
    return words.substr(0, words.rfind(": "));
  }
  FAIL("nothing was thrown");
  return "";
}

} // namespace

// ---- protocols

TEMPLATE_LIST_TEST_CASE("tls: the server's order of protocols decides", "[tls][K14]",
                        every_scheduler) {
  auto site = server_with("good");
  auto web = trusting_client();
  site.alpn({"h2", "http/1.1"});
  web.alpn({"http/1.0", "http/1.1", "h2"});
  const tls_pair<TestType> pair{site, web};
  CHECK(pair.client.alpn() == "h2");
  CHECK(pair.server.alpn() == "h2");
}

TEST_CASE("tls: without a common protocol the handshake fails on both sides", "[tls][K14]") {
  rouse::fibers sched;
  auto site = server_with("good");
  auto web = trusting_client();
  site.alpn({"h2"});
  web.alpn({"http/1.1"});
  const auto made = meet(sched, site, web);
  CHECK(made.server.ec == tls::error::handshake_failed);
  CHECK(made.server.ec.message() == "TLS handshake failed: no application protocol");
  CHECK(made.client.ec == tls::error::handshake_failed);
  CHECK(made.client.ec.message() == "TLS handshake failed: tlsv1 alert no application protocol");
}

TEST_CASE("tls: no protocol is agreed on if one side names none", "[tls][K14]") {
  rouse::fibers sched;
  auto site = server_with("good");
  auto web = trusting_client();
  web.alpn({"h2"});
  const auto first = meet(sched, site, web);
  REQUIRE(!first.client.ec);
  CHECK(first.client.value.alpn().empty());
  site.alpn({"h2"});
  const auto second = meet(sched, site, trusting_client());
  REQUIRE(!second.client.ec);
  CHECK(second.server.value.alpn().empty());
}

TEST_CASE("tls: a list of protocols that cannot be sent is refused", "[tls][K14]") {
  tls::client_context web;
  CHECK(refusal([&] { web.alpn({}); }) == "rouse: tls: alpn: the list is empty");
  CHECK(refusal([&] { web.alpn({"h2", ""}); }) == "rouse: tls: alpn: a name is empty");
  web.alpn({std::string(255, 'x')});
  const std::string words = refusal([&] { web.alpn({std::string(256, 'x')}); });
  CHECK(words.find("alpn: a name is longer than 255 bytes: xxx") != std::string::npos);
  const std::vector<std::string> many(300, std::string(255, 'x'));
  CHECK(refusal([&] { web.alpn(many); }) ==
        "rouse: tls: alpn: the list is longer than 65535 bytes");
}

// ---- versions and ciphers

TEST_CASE("tls: versions below min_version are refused, by either side", "[tls][K15]") {
  rouse::fibers sched;
  auto strict = trusting_client();
  strict.min_version(tls::version::tls1_3);
  const auto made = meet(sched, up_to(TLS1_2_VERSION, server_with("good")), strict);
  CHECK(made.client.ec.message() == "TLS handshake failed: tlsv1 alert protocol version");
  CHECK(made.server.ec.message() == "TLS handshake failed: unsupported protocol");
  CHECK(!meet(sched, up_to(TLS1_2_VERSION, server_with("good")), trusting_client()).client.ec);
  CHECK(!meet(sched, server_with("good"), strict).client.ec);
  CHECK(meet(sched, up_to(TLS1_1_VERSION, server_with("good")), trusting_client()).client.ec ==
        tls::error::handshake_failed);
}

TEST_CASE("tls: the ciphers are those that were asked for", "[tls][K15]") {
  rouse::fibers sched;
  auto web = trusting_client();
  web.ciphers("ECDHE+CHACHA20:!PSK");
  web.cipher_suites("TLS_CHACHA20_POLY1305_SHA256");
  const auto older = meet(sched, up_to(TLS1_2_VERSION, server_with("good")), web);
  REQUIRE(!older.client.ec);
  CHECK(older.client.value.version() == "TLSv1.2");
  CHECK(older.client.value.cipher() == "ECDHE-ECDSA-CHACHA20-POLY1305");
  auto site = server_with("good");
  const auto newer = meet(sched, site, web);
  REQUIRE(!newer.client.ec);
  CHECK(newer.client.value.cipher() == "TLS_CHACHA20_POLY1305_SHA256");
  site.cipher_suites("TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256");
  CHECK(meet(sched, site, web).server.ec.message() == "TLS handshake failed: no shared cipher");
}

TEST_CASE("tls: a cipher that OpenSSL does not have is named", "[tls][K15]") {
  tls::client_context web;
  CHECK(refusal([&] { web.ciphers("HIGH:ECDHE-RSA-AES128-GCM-SHA265"); }) ==
        "rouse: tls: ciphers: OpenSSL has no \"ECDHE-RSA-AES128-GCM-SHA265\"");
  CHECK(refusal([&] { web.cipher_suites("TLS_AES_128_GCM_SHA256:TLS_AES_512"); }) ==
        "rouse: tls: cipher_suites: OpenSSL has no \"TLS_AES_512\"");
  CHECK(refusal([&] { web.ciphers(""); }) == "rouse: tls: ciphers: the list is empty");
  CHECK(refusal([&] { web.cipher_suites(""); }) == "rouse: tls: cipher_suites: the list is empty");
  CHECK(refusal([&] { web.ciphers("HIGH:!HIGH"); }).find("HIGH:!HIGH") != std::string::npos);
}

// ---- the choice by name

TEMPLATE_LIST_TEST_CASE("tls: the name that a client asks for chooses the certificate",
                        "[tls][K16]", every_scheduler) {
  TestType sched;
  auto site = server_with("good");
  std::vector<std::string> asked;
  {
    const auto other = server_with("wildcard");
    site.on_server_name([&asked, other](std::string_view name) {
      asked.emplace_back(name);
      return name == "www.server.test" ? &other : nullptr;
    });
  }
  const auto web = trusting_client();
  CHECK(presented(sched, site, web, "www.server.test") == "CN = wildcard");
  CHECK(presented(sched, site, web, "localhost") == "CN = good");
  CHECK(presented(sched, site, web, "127.0.0.1") == "certificate rejected: IP address mismatch");
  CHECK(asked == std::vector<std::string>{"www.server.test", "localhost", ""});
}

TEST_CASE("tls: a connection keeps the settings that were chosen for it", "[tls][K16]") {
  rouse::fibers sched;
  tls::server_context front; // has no certificate of its own
  auto chosen = std::make_unique<tls::server_context>(server_with("good"));
  chosen->alpn({"h2"});
  front.on_server_name([&](std::string_view) { return chosen.get(); });
  auto web = trusting_client();
  web.alpn({"h2"});
  auto made = meet(sched, front, web);
  REQUIRE(!made.client.ec);
  chosen.reset();
  CHECK(made.server.value.alpn() == "h2");
  send(sched, made.server.value, "still here");
  CHECK(receive(sched, made.client.value, 10) == "still here");
}

TEST_CASE("tls: all settings are those of the chosen context", "[tls][K16]") {
  rouse::fibers sched;
  auto site = server_with("good");
  auto inner = server_with("good");
  site.on_server_name(
      [&](std::string_view name) { return name == "localhost" ? &inner : nullptr; });
  const auto server_says = [&](const tls::client_context& web) {
    return meet(sched, site, web).server.ec.message();
  };
  auto web = trusting_client();
  inner.cipher_suites("TLS_CHACHA20_POLY1305_SHA256");
  CHECK(meet(sched, site, web).client.value.cipher() == "TLS_CHACHA20_POLY1305_SHA256");
  inner.verify_clients(certificate("root.pem"));
  CHECK(server_says(web) == "TLS handshake failed: peer did not return a certificate");
  inner = server_with("good");
  inner.min_version(tls::version::tls1_3);
  web.ciphers("ECDHE+AESGCM");
  CHECK(server_says(up_to(TLS1_2_VERSION, web)) == "TLS handshake failed: unsupported protocol");
  CHECK(!meet(sched, site, web, "server.test").client.ec);
}

TEST_CASE("tls: the choice is made once, also if the client has to begin again", "[tls][K16]") {
  rouse::fibers sched;
  auto site = server_with("good"), other = server_with("wildcard");
  int asked = 0;
  const auto choose = [&](std::string_view) { return ++asked == 1 ? &other : &site; };
  other.on_server_name(choose);
  site.on_server_name(choose);
  // The client's first message has no key for these curves.
  for (tls::server_context* each : {&site, &other})
    adjust(*each, [](SSL_CTX* c) { return SSL_CTX_set1_groups_list(c, "P-521"); });
  CHECK(presented(sched, site, trusting_client(), "www.server.test") == "CN = wildcard");
  CHECK(asked == 1);
}

TEST_CASE("tls: an exception of the function that chooses fails the handshake", "[tls][K16]") {
  rouse::fibers sched;
  auto site = server_with("good");
  site.on_server_name(
      [](std::string_view) -> const tls::server_context* { throw std::runtime_error("no"); });
  const auto made = meet(sched, site, trusting_client());
  CHECK(made.server.ec == tls::error::handshake_failed);
  CHECK(made.client.ec.message() == "TLS handshake failed: tlsv1 alert internal error");
}

// ---- sessions

TEMPLATE_LIST_TEST_CASE("tls: a session is taken up again", "[tls][K17]", every_scheduler) {
  TestType sched;
  const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
  const auto site = up_to(version, server_with("good"));
  auto web = trusting_client();
  CHECK(!resumed(sched, site, web));
  CHECK(!resumed(sched, site, web)); // nothing is kept without a cache
  const tls::session_cache kept;
  web.sessions(kept);
  CHECK(!resumed(sched, site, web));
  CHECK(resumed(sched, site, web));
  CHECK(resumed(sched, site, tls::client_context(web)));
  CHECK(!resumed(sched, site, web, "server.test"));
}

TEMPLATE_LIST_TEST_CASE("tls: a ticket of TLS 1.3 is used once", "[tls][K17]", every_scheduler) {
  TestType sched;
  const auto site = server_with("good");
  auto web = trusting_client();
  const tls::session_cache kept;
  web.sessions(kept);
  CHECK(!resumed(sched, site, web));
  CHECK(kept.size() == 2);
  // No message brings new tickets.
  CHECK(meet(sched, site, web).client.value.resumed());
  CHECK(kept.size() == 1);
  CHECK(meet(sched, site, web).client.value.resumed());
  CHECK(kept.size() == 0);
  CHECK(!meet(sched, site, web).client.value.resumed());
}

TEMPLATE_LIST_TEST_CASE("tls: tickets wait for the server's first bytes", "[tls][K17]",
                        every_scheduler) {
  TestType sched;
  auto web = trusting_client();
  const tls::session_cache kept;
  web.sessions(kept);
  auto made = meet(sched, server_with("good"), web);
  REQUIRE(!made.client.ec);
  send(sched, made.client.value, "only the client sends");
  CHECK(receive(sched, made.server.value, 21) == "only the client sends");
  char c = 0;
  const auto none =
      await(sched, CALL(made.client.value.recv(rouse::mutable_buffer(&c, 1), 20ms, how...)));
  CHECK(none.ec == std::errc::timed_out);
  CHECK(kept.size() == 0);
  send(sched, made.server.value, "x");
  CHECK(receive(sched, made.client.value, 1) == "x");
  CHECK(kept.size() == 2);
}

TEST_CASE("tls: a session of TLS 1.2 serves several connections", "[tls][K17]") {
  rouse::fibers sched;
  const auto site = up_to(TLS1_2_VERSION, server_with("good"));
  auto web = trusting_client();
  const tls::session_cache kept;
  web.sessions(kept);
  CHECK(!resumed(sched, site, web));
  const auto one = meet(sched, site, web), two = meet(sched, site, web);
  CHECK(one.client.value.resumed());
  CHECK(two.client.value.resumed());
  CHECK(kept.size() == 1);
}

TEST_CASE("tls: a cache of sessions is bounded, and forgets the oldest name", "[tls][K17]") {
  rouse::fibers sched;
  const auto site = server_with("wildcard");
  auto web = trusting_client();
  const tls::session_cache kept(2);
  web.sessions(kept);
  CHECK(!resumed(sched, site, web, "a.server.test"));
  CHECK(!resumed(sched, site, web, "b.server.test"));
  CHECK(kept.size() == 4);
  CHECK(!resumed(sched, site, web, "c.server.test"));
  CHECK(kept.size() == 4);
  CHECK(resumed(sched, site, web, "b.server.test"));
  CHECK(!resumed(sched, site, web, "a.server.test"));
  const tls::session_cache none(0);
  web.sessions(none);
  CHECK(!resumed(sched, site, web, "a.server.test"));
  CHECK(none.size() == 0);
}

TEST_CASE("tls: a cache keeps four sessions of a name", "[tls][K17]") {
  rouse::fibers sched;
  const auto site = server_with("good");
  auto web = trusting_client();
  const tls::session_cache kept(1);
  web.sessions(kept);
  shaken<rouse::fibers> at_once[3];
  for (auto& each : at_once) each = meet(sched, site, web);
  for (auto& each : at_once) {
    REQUIRE(!each.client.ec);
    send(sched, each.server.value, "x"); // brings two tickets
    CHECK(receive(sched, each.client.value, 1) == "x");
  }
  CHECK(kept.size() == 4);
}

TEST_CASE("tls: no session is taken up under other settings", "[tls][K17]") {
  rouse::fibers sched;
  const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
  const auto site = up_to(version, server_with("stranger")); // that verification would refuse
  const tls::session_cache kept;
  tls::client_context odd;
  odd.insecure_accept_any_certificate();
  odd.sessions(kept);
  CHECK(!resumed(sched, site, odd));
  CHECK(resumed(sched, site, odd));
  auto web = trusting_client();
  web.sessions(kept);
  CHECK(meet(sched, site, web).client.ec == tls::error::certificate_rejected);
  odd.alpn({"h2"});
  CHECK(!resumed(sched, site, odd));
}

TEST_CASE("tls: a server that demands certificates refuses tickets from before",
          "[tls][K17][K12]") {
  rouse::fibers sched;
  const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
  auto site = up_to(version, server_with("good")), inner = server_with("good");
  auto web = trusting_client();
  const tls::session_cache kept;
  web.sessions(kept);
  CHECK(!resumed(sched, site, web));
  SECTION("of the same context") {
    site.verify_clients(certificate("root.pem"));
    up_to(version, site);
  }
  SECTION("that chooses another one by the name") {
    inner.verify_clients(certificate("root.pem"));
    up_to(version, inner);
    site.on_server_name([&](std::string_view) { return &inner; });
    up_to(version, site);
  }
  CHECK(meet(sched, site, web).server.ec.message() ==
        "TLS handshake failed: peer did not return a certificate");
}

TEST_CASE("tls: a resumed session knows the client's certificate", "[tls][K17][K12]") {
  rouse::fibers sched;
  const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
  auto site = server_with("good");
  site.verify_clients(certificate("root.pem"));
  up_to(version, site);
  auto web = trusting_client();
  web.certificate(certificate("client.pem"), certificate("client.key"));
  const tls::session_cache kept;
  web.sessions(kept);
  CHECK(!resumed(sched, site, web));
  const auto again = meet(sched, site, web);
  REQUIRE(again.server.value.resumed());
  REQUIRE(again.server.value.peer_certificate() != nullptr);
  CHECK(tls::detail::subject_of(again.server.value.peer_certificate()) == "CN = client");
}

TEMPLATE_LIST_TEST_CASE("tls: a clone has the same settings, and accepts tickets of the original",
                        "[tls][K17]", every_scheduler) {
  TestType sched;
  auto site = server_with("good");
  site.alpn({"h2"});
  auto twin = site.clone();
  auto web = trusting_client();
  web.alpn({"http/1.1", "h2"});
  const tls::session_cache kept;
  web.sessions(kept);
  CHECK(!resumed(sched, site, web));
  CHECK(resumed(sched, twin, web));
  CHECK(resumed(sched, site, web));
  CHECK(meet(sched, twin, web).client.value.alpn() == "h2");
  twin.reload(certificate("chained.pem"), certificate("chained.key"));
  CHECK(resumed(sched, site, web)); // the tickets outlive a certificate
  CHECK(resumed(sched, twin, web));
  CHECK(presented(sched, site, trusting_client()) == "CN = good");
  CHECK(presented(sched, twin, trusting_client()) == "CN = incomplete");
}

TEST_CASE("tls: servers that are not clones refuse each other's tickets", "[tls][K17]") {
  rouse::fibers sched;
  auto web = trusting_client();
  const tls::session_cache kept;
  web.sessions(kept);
  CHECK(!resumed(sched, server_with("good"), web));
  CHECK(!resumed(sched, server_with("good"), web));
}

TEST_CASE("tls: sessions outlive neither their cache nor the contexts wrongly", "[tls][K17]") {
  rouse::fibers sched;
  const auto site = server_with("good");
  auto kept = std::make_unique<tls::session_cache>();
  auto web = std::make_unique<tls::client_context>(trusting_client());
  web->sessions(*kept);
  auto open = meet(sched, site, *web);
  REQUIRE(!open.client.ec);
  web.reset();
  kept.reset();
  send(sched, open.server.value, "x"); // brings the tickets
  CHECK(receive(sched, open.client.value, 1) == "x");
}

// ---- a change while connections are made

TEMPLATE_LIST_TEST_CASE("tls: a reload concerns later handshakes only", "[tls][K18]",
                        every_scheduler) {
  TestType sched;
  auto site = server_with("good");
  const auto copy = site;
  const auto web = trusting_client();
  auto open = meet(sched, site, web);
  REQUIRE(!open.client.ec);
  site.reload(certificate("chained.pem"), certificate("chained.key"));
  CHECK(presented(sched, copy, web) == "CN = incomplete");
  CHECK(tls::detail::subject_of(open.client.value.peer_certificate()) == "CN = good");
  send(sched, open.client.value, "on");
  CHECK(receive(sched, open.server.value, 2) == "on");
  CHECK_THROWS_AS(site.reload(certificate("expired.pem"), certificate("expired.key")),
                  std::system_error);
  CHECK(presented(sched, site, web) == "CN = incomplete");
}

TEST_CASE("tls: a clone follows the changes of the original until it is changed itself",
          "[tls][K18]") {
  rouse::fibers sched;
  auto site = server_with("good");
  auto twin = site.clone(), second = twin.clone();
  auto web = trusting_client();
  web.alpn({"h2"});
  const tls::session_cache kept;
  web.sessions(kept);
  CHECK(!resumed(sched, site, web));
  site.reload(certificate("chained.pem"), certificate("chained.key"));
  for (const auto* each : {&site, &twin, &second}) {
    CHECK(presented(sched, *each, trusting_client()) == "CN = incomplete");
    CHECK(resumed(sched, *each, web));
  }
  twin.alpn({"h2"});
  site.reload(certificate("good.pem"), certificate("good.key"));
  CHECK(presented(sched, twin, trusting_client()) == "CN = incomplete");
  CHECK(presented(sched, second, trusting_client()) == "CN = good");
  CHECK(meet(sched, twin, web).client.value.alpn() == "h2");
}

TEMPLATE_LIST_TEST_CASE("tls: a reload may come from any thread", "[tls][K18]", every_scheduler) {
  TestType sched;
  auto site = server_with("good");
  const auto web = trusting_client();
  std::atomic<bool> enough{false};
  std::thread other([&, copy = site]() mutable {
    while (!enough) {
      copy.reload(certificate("chained.pem"), certificate("chained.key"));
      copy.reload(certificate("good.pem"), certificate("good.key"));
    }
  });
  for (int i = 0; i != 20; ++i) {
    const std::string name = presented(sched, site, web);
    CHECK((name == "CN = good" || name == "CN = incomplete"));
  }
  enough = true;
  other.join();
}

// ---- the rest

TEST_CASE("tls: a key log has the secrets of each connection", "[tls][K15]") {
  rouse::fibers sched;
  const std::string path = certificate("keys." + std::to_string(::getpid()));
  std::remove(path.c_str()); // of a run that crashed: numbers of processes repeat
  const bool by_server = GENERATE(false, true);
  {
    auto site = server_with("good");
    auto web = trusting_client();
    if (by_server)
      site.key_log(path);
    else
      web.key_log(path);
    REQUIRE(!meet(sched, site, web).client.ec);
    REQUIRE(!meet(sched, up_to(TLS1_2_VERSION, server_with("good")), trusting_client())
                 .client.ec); // has none
  }
  std::ifstream in(path);
  std::string word, line;
  std::vector<std::string> kinds;
  while (in >> word && std::getline(in, line)) kinds.push_back(word);
  in.close(); // because Windows removes no open file
  std::remove(path.c_str());
  std::sort(kinds.begin(), kinds.end());
  CHECK(kinds == std::vector<std::string>{"CLIENT_HANDSHAKE_TRAFFIC_SECRET",
                                          "CLIENT_TRAFFIC_SECRET_0", "EXPORTER_SECRET",
                                          "SERVER_HANDSHAKE_TRAFFIC_SECRET",
                                          "SERVER_TRAFFIC_SECRET_0"});
}

TEMPLATE_LIST_TEST_CASE("tls: connect refuses an empty name before it connects", "[tls][K10]",
                        every_scheduler) {
  TestType sched;
  auto listener = listening(sched);
  const auto port = listener.local_endpoint().port();
  const auto web = trusting_client();
  for (const char* name : {"", ".", "%eth0", "localhost%eth0", "127.0.0.1%eth0"}) {
    const auto made = await<tls::socket<TestType>>(
        sched, CALL(tls::connect(sched, web, name, port, 30s, how...)));
    CHECK(made.ec == std::errc::invalid_argument);
  }
  auto accepting = start<rouse::socket<TestType>>(sched, CALL(listener.accept(30s, how...)));
  until_pending(sched, 1);
  CHECK(!accepting.finished());
  listener.cancel();
  CHECK(accepting.wait().ec == std::errc::operation_canceled);
}

TEST_CASE("tls: what is no name is verified against no certificate", "[tls]") {
  rouse::fibers sched;
  const auto site = server_with("wildcard");
  const auto web = trusting_client();
  REQUIRE(!meet(sched, site, web, "www.server.test").client.ec);
  using namespace std::string_view_literals;
  for (const auto name : {".server.test"sv, "www.server.test\0.example"sv, "\0"sv}) {
    CAPTURE(name);
    CHECK(meet(sched, site, web, name).client.ec == std::errc::invalid_argument);
  }
  CHECK(meet(sched, site, web, std::string(300, 'x')).client.ec == std::errc::invalid_argument);
}

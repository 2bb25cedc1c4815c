// Shared by the tests of TLS: certificates, and a connection under any scheduler.
#pragma once
#include <rouse/tls.hpp>
#include <support/testing.hpp>

#include <string>
#include <string_view>
#include <utility>

namespace testing {

namespace tls = rouse::tls;

/// The path of a file that certificates.sh has made.
inline std::string certificate(std::string_view file) {
  return std::string(ROUSE_TEST_CERTIFICATES "/").append(file);
}
/// A server with a certificate of that name.
inline tls::server_context server_with(const std::string& name) {
  return {certificate(name + ".pem"), certificate(name + ".key")};
}
/// A client that trusts the tests' root.
inline tls::client_context trusting_client() {
  tls::client_context made;
  made.trust_file(certificate("root.pem"));
  return made;
}

/// The two of most tests, which a test does not change: to make them takes as long as a handshake.
inline const tls::server_context& shared_site() {
  static const tls::server_context made = server_with("good");
  return made;
}
inline const tls::client_context& shared_web() {
  static const tls::client_context made = trusting_client();
  return made;
}

/// Changes what the library has no setting for, until a setting changes.
template <class Context, class F>
void adjust(const Context& c, F change) {
  struct opened : Context {
    explicit opened(const Context& of) : Context(of) {}
    using Context::current;
  };
  REQUIRE(change(opened(c).current().get()) == 1);
}
/// Allows no later version: TLS1_2_VERSION or TLS1_3_VERSION.
template <class Context>
Context up_to(int newest, Context c) {
  adjust(c, [=](SSL_CTX* s) { return SSL_CTX_set_max_proto_version(s, newest); });
  return c;
}

/// The two results of a handshake over a pair of connected sockets.
template <class S>
struct shaken {
  outcome<tls::socket<S>> server, client;
};
template <class S>
shaken<S> shake(S& sched, const tls::server_context& site, rouse::socket<S> server,
                const tls::client_context& web, rouse::socket<S> client,
                std::string_view name = "localhost") {
  auto accepting =
      start<tls::socket<S>>(sched, CALL(tls::accept(site, std::move(server), 30s, how...)));
  auto connecting =
      start<tls::socket<S>>(sched, CALL(tls::handshake(web, std::move(client), name, 30s, how...)));
  shaken<S> made;
  made.client = std::move(connecting.wait());
  made.server = std::move(accepting.wait());
  return made;
}

/// The same, over a pair of its own.
template <class S>
shaken<S> meet(S& sched, const tls::server_context& site, const tls::client_context& web,
               std::string_view name = "localhost") {
  auto [there, here] = rouse::socket_pair(sched);
  return shake(sched, site, std::move(there), web, std::move(here), name);
}

/// Both ends of a TLS connection.
template <class S>
struct tls_pair {
  S sched;
  tls::socket<S> server, client;

  explicit tls_pair(const tls::server_context& site = shared_site(),
                    const tls::client_context& web = shared_web()) {
    auto made = meet(sched, site, web);
    REQUIRE(!made.client.ec);
    REQUIRE(!made.server.ec);
    server = std::move(made.server.value);
    client = std::move(made.client.value);
  }
};

/// Bytes that differ from place to place, and from seed to seed.
inline std::string pattern(std::size_t size, unsigned seed = 1) {
  std::string made(size, '\0');
  for (char& c : made) c = static_cast<char>((seed = seed * 1664525 + 1013904223) >> 24);
  return made;
}

} // namespace testing

// Certificates: which ones a peer's verification refuses, and which files cannot be used.
#include <tls/support/tls_testing.hpp>

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using namespace testing;

namespace {

/// A server with a certificate that `server_context` itself would refuse to use.
tls::server_context faulty_server(const std::string& name, int newest) {
  const std::string chain = certificate(name + ".pem"), key = certificate(name + ".key");
  auto made = up_to(newest, server_with("good"));
  adjust(made, [&](SSL_CTX* c) { return SSL_CTX_use_certificate_chain_file(c, chain.c_str()); });
  adjust(made,
         [&](SSL_CTX* c) { return SSL_CTX_use_PrivateKey_file(c, key.c_str(), SSL_FILETYPE_PEM); });
  return made;
}
/// A client with a certificate.
tls::client_context client_with(const std::string& name, int newest = TLS1_3_VERSION) {
  auto made = trusting_client();
  made.certificate(certificate(name + ".pem"), certificate(name + ".key"));
  return up_to(newest, made);
}

/// What a client that trusts the tests' root says of a server's certificate; "" if it is accepted.
std::string verdict(const std::string& server, std::string_view name, int version,
                    const tls::client_context& web = trusting_client()) {
  rouse::fibers sched;
  const auto made = meet(sched, faulty_server(server, version), web, name);
  if (!made.client.ec) return "";
  CHECK(made.client.ec == tls::error::certificate_rejected);
  CHECK(made.server.ec == tls::error::handshake_failed);
  const std::string words = made.client.ec.message(), begin = "certificate rejected: ";
  REQUIRE(words.substr(0, begin.size()) == begin);
  return words.substr(begin.size());
}

std::string text_of(const std::string& file) {
  std::ifstream in(certificate(file), std::ios::binary);
  REQUIRE(in);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A file of the test, which is removed at its end.
struct temporary_file {
  explicit temporary_file(const std::string& content)
      : path(certificate("temporary." + std::to_string(::getpid()))) {
    std::ofstream(path, std::ios::binary) << content;
  }
  ~temporary_file() { std::remove(path.c_str()); }
  std::string path;
};

/// What a setting throws.
template <class F>
std::system_error refusal(F setting) {
  try {
    setting();
  } catch (const std::system_error& e) {
    return e;
  }
  FAIL("nothing was thrown");
  return std::system_error(std::error_code());
}
/// The same, of a file that is unusable: the reason after the name of the file.
template <class F>
std::string reason(const std::string& path, F setting) {
  const std::system_error e = refusal(setting);
  CHECK(e.code() == tls::error::bad_certificate_file);
  const std::string words = e.what(), begin = "rouse: tls: " + path + ": ",
                    end = ": unusable certificate";
  INFO(words);
  REQUIRE(words.size() > begin.size() + end.size());
  CHECK(words.substr(0, begin.size()) == begin);
  CHECK(words.substr(words.size() - end.size()) == end);
  return words.substr(begin.size(), words.size() - begin.size() - end.size());
}

bool begins_with(const std::string& text, const std::string& with) {
  return text.substr(0, with.size()) == with;
}

} // namespace

TEST_CASE("tls: a client refuses each faulty certificate, and says why", "[tls][K10]") {
  const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
  const auto says = [&](const char* server, const char* name = "localhost") {
    return verdict(server, name, version);
  };
  CHECK(says("expired") == "certificate has expired");
  CHECK(says("early") == "certificate is not yet valid");
  CHECK(says("purpose") == "unsuitable certificate purpose");
  CHECK(says("self") == "self-signed certificate");
  CHECK(says("stranger") == "unable to get local issuer certificate");
  CHECK(says("incomplete") == "unable to get local issuer certificate");
  CHECK(says("outside") == "permitted subtree violation");
  CHECK(says("good", "elsewhere.test") == "hostname mismatch");
  CHECK(says("good", "127.0.0.1") == "IP address mismatch");
  CHECK(says("ip", "127.0.0.2") == "IP address mismatch");
  CHECK(says("ip", "localhost") == "hostname mismatch");
  CHECK(says("wildcard", "server.test") == "hostname mismatch");
  CHECK(says("wildcard", "a.b.server.test") == "hostname mismatch");
  CHECK(says("partial", "some.server.test") == "hostname mismatch");
  CHECK(says("common", "common") == "hostname mismatch");
}

TEST_CASE("tls: a client accepts a certificate for its name or address", "[tls][K10]") {
  const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
  for (const char* name : {"localhost", "LOCALHOST", "localhost.", "server.test"})
    CHECK(verdict("good", name, version) == "");
  for (const char* name : {"127.0.0.1", "::1", "0:0:0:0:0:0:0:1", "::1%lo"})
    CHECK(verdict("ip", name, version) == "");
  CHECK(verdict("wildcard", "any.server.test", version) == "");
  CHECK(verdict("chained", "localhost", version) == "");
}

TEST_CASE("tls: own roots are trusted instead of the system's, and add up", "[tls][K11]") {
  tls::client_context web;
  CHECK(verdict("good", "localhost", TLS1_3_VERSION, web) ==
        "unable to get local issuer certificate");
  web.trust_file(certificate("other.pem"));
  CHECK(verdict("stranger", "localhost", TLS1_3_VERSION, web) == "");
  CHECK(verdict("good", "localhost", TLS1_3_VERSION, web) != "");
  web.trust_pem(text_of("root.pem"));
  CHECK(verdict("stranger", "localhost", TLS1_3_VERSION, web) == "");
  CHECK(verdict("good", "localhost", TLS1_3_VERSION, web) == "");
}

#if !ROUSE_WINDOWS
/// Until it is destroyed, the system's roots are those of a file alone.
struct system_roots {
  explicit system_roots(const std::string& file) {
    ::setenv("SSL_CERT_FILE", certificate(file).c_str(), 1);
    ::setenv("SSL_CERT_DIR", certificate("no_directory").c_str(), 1);
  }
  ~system_roots() {
    ::unsetenv("SSL_CERT_FILE");
    ::unsetenv("SSL_CERT_DIR");
  }
};

TEST_CASE("tls: the system's roots are read by the first connection", "[tls][K11]") {
  tls::client_context web;
  const tls::client_context copy = web;
  const system_roots now("root.pem");
  CHECK(verdict("good", "localhost", TLS1_3_VERSION, copy) == "");
  const system_roots later("other.pem");
  CHECK(verdict("good", "localhost", TLS1_3_VERSION, web) == "");
  web.alpn({"h2"}); // says nothing about roots
  CHECK(verdict("good", "localhost", TLS1_3_VERSION, web) == "");
  CHECK(verdict("stranger", "localhost", TLS1_3_VERSION, web) != "");
}

TEST_CASE("tls: the system's roots are never read where own ones replace them", "[tls][K11]") {
  const system_roots none("missing.pem");
  const auto web = trusting_client();
  CHECK(verdict("good", "localhost", TLS1_3_VERSION, web) == "");
  const system_roots some("other.pem");
  CHECK(verdict("good", "localhost", TLS1_3_VERSION, web) == "");
  CHECK(verdict("stranger", "localhost", TLS1_3_VERSION, web) != "");
  adjust(web, [](SSL_CTX* c) { return tls::detail::size_of(SSL_CTX_get_cert_store(c)); }); // 1
}

TEST_CASE("tls: a client without any roots says so, and looks for them again", "[tls][K11]") {
  rouse::fibers sched;
  const auto site = server_with("good");
  const tls::client_context web;
  {
    const system_roots none("missing.pem");
    const auto made = meet(sched, site, web);
    CHECK(made.client.ec == tls::error::no_roots);
    CHECK(made.client.ec.message() == "no root certificates were found");
    tls::client_context both, odd; // which need none of the system's
    both.trust_file(certificate("root.pem"));
    both.trust_system();
    CHECK(!meet(sched, site, both).client.ec);
    odd.insecure_accept_any_certificate();
    CHECK(!meet(sched, site, odd).client.ec);
  }
  const system_roots some("root.pem");
  CHECK(!meet(sched, site, web).client.ec);
}

TEST_CASE("tls: several threads may make the first connections", "[tls][K11]") {
  const system_roots some("root.pem");
  const tls::client_context web;
  const auto site = server_with("good");
  std::vector<std::thread> threads;
  std::atomic<int> made{0};
  for (int i = 0; i != 4; ++i)
    threads.emplace_back([&] {
      rouse::failure why;
      if (web.prepare("localhost", why)) ++made;
    });
  for (auto& t : threads) t.join();
  CHECK(made == 4);
  CHECK(verdict("good", "localhost", TLS1_3_VERSION, web) == "");
}

TEST_CASE("tls: the system's roots are trusted alone or beside others", "[tls][K11]") {
  ::setenv("SSL_CERT_FILE", certificate("root.pem").c_str(), 1);
  tls::client_context web;
  CHECK(verdict("good", "localhost", TLS1_3_VERSION, web) == "");
  web.trust_file(certificate("other.pem"));
  CHECK(verdict("good", "localhost", TLS1_3_VERSION, web) != "");
  web.trust_system();
  CHECK(verdict("good", "localhost", TLS1_3_VERSION, web) == "");
  CHECK(verdict("stranger", "localhost", TLS1_3_VERSION, web) == "");
  tls::client_context both; // in the other order
  both.trust_system();
  both.trust_file(certificate("other.pem"));
  CHECK(verdict("good", "localhost", TLS1_3_VERSION, both) == "");
  ::unsetenv("SSL_CERT_FILE");
}
#else
TEST_CASE("tls: the roots that Windows trusts are in a client's store", "[tls][K11]") {
  ::_putenv_s("SSL_CERT_FILE", "");
  ::_putenv_s("SSL_CERT_DIR", "");
  int roots = 0;
  CHECK(rouse::os::each_root_certificate([&](std::span<const unsigned char> der) {
    CHECK(!der.empty());
    ++roots;
  }));
  CHECK(roots > 0);
  const auto store = tls::detail::make_store({});
  CHECK(tls::detail::size_of(store->get()) == 0);
  CHECK(store->complete());
  CHECK(tls::detail::size_of(store->get()) > 0);
}
#endif

TEST_CASE("tls: only insecure_accept_any_certificate switches verification off", "[tls][K11]") {
  tls::client_context odd = trusting_client();
  odd.insecure_accept_any_certificate();
  for (const char* server : {"good", "expired", "self", "stranger", "purpose"})
    CHECK(verdict(server, "elsewhere.test", TLS1_3_VERSION, odd) == "");
}

TEST_CASE("tls: a revoked certificate is refused", "[tls][K11]") {
  const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
  tls::client_context web = trusting_client();
  CHECK(verdict("revoked", "localhost", version, web) == "");
  web.revocations_file(certificate("root.crl"));
  CHECK(verdict("revoked", "localhost", version, web) == "certificate revoked");
  CHECK(verdict("good", "localhost", version, web) == "");
  CHECK(verdict("chained", "localhost", version, web) == "unable to get certificate CRL");
}

TEST_CASE("tls: a revocation list that is out of date is refused, and can be replaced",
          "[tls][K11]") {
  tls::client_context web = trusting_client();
  const temporary_file list(text_of("outdated.crl"));
  web.revocations_file(list.path);
  CHECK(verdict("good", "localhost", TLS1_3_VERSION, web) == "CRL has expired");
  std::ofstream(list.path, std::ios::binary) << text_of("root.crl");
  web.revocations_file(list.path);
  CHECK(verdict("good", "localhost", TLS1_3_VERSION, web) == "");
  CHECK(verdict("revoked", "localhost", TLS1_3_VERSION, web) == "certificate revoked");
}

// ---- certificates of clients

TEMPLATE_LIST_TEST_CASE("tls: a server can demand a certificate", "[tls][K12]", every_scheduler) {
  const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
  TestType sched;
  auto site = server_with("good");
  site.verify_clients(certificate("root.pem"));
  const auto made = meet(sched, site, client_with("client", version));
  REQUIRE(!made.server.ec);
  REQUIRE(!made.client.ec);
  REQUIRE(made.server.value.peer_certificate() != nullptr);
  CHECK(tls::detail::subject_of(made.server.value.peer_certificate()) == "CN = client");
}

TEST_CASE("tls: a server refuses clients with a bad certificate or none, and says why",
          "[tls][K12]") {
  rouse::fibers sched;
  auto site = server_with("good");
  site.verify_clients(certificate("root.pem"));
  tls::client_context without = trusting_client();
  const auto says = [&](const tls::client_context& web) {
    return meet(sched, site, web).server.ec.message();
  };
  CHECK(says(without) == "TLS handshake failed: peer did not return a certificate");
  const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
  CHECK(says(client_with("foreign", version)) ==
        "certificate rejected: unable to get local issuer certificate");
  CHECK(says(client_with("good", version)) ==
        "certificate rejected: unsuitable certificate purpose");
  site.verify_clients(certificate("root.pem"), tls::client_certificates::required,
                      certificate("outdated.crl"));
  CHECK(says(client_with("client", version)) == "certificate rejected: CRL has expired");
}

TEST_CASE("tls: a client learns at once, or by TLS 1.3 later, that it is refused", "[tls][K12]") {
  rouse::fibers sched;
  auto site = server_with("good");
  site.verify_clients(certificate("root.pem"));
  const auto earlier = meet(sched, site, client_with("foreign", TLS1_2_VERSION));
  CHECK(earlier.client.ec == tls::error::handshake_failed);
  CHECK(earlier.client.ec.message() == "TLS handshake failed: tlsv1 alert unknown ca");
  auto later = meet(sched, site, client_with("foreign"));
  CHECK(later.server.ec == tls::error::certificate_rejected);
  REQUIRE(!later.client.ec);
  char c = 0;
  const auto got =
      await(sched, CALL(later.client.value.recv(rouse::mutable_buffer(&c, 1), 30s, how...)));
  CHECK(got.ec == tls::error::protocol_violated);
  CHECK(got.ec.message() == "TLS protocol error: tlsv1 alert unknown ca");
}

TEST_CASE("tls: where a client's certificate is optional, a bad one is refused still",
          "[tls][K12]") {
  rouse::fibers sched;
  auto site = server_with("good");
  site.verify_clients(certificate("root.pem"), tls::client_certificates::optional);
  const auto without = meet(sched, site, trusting_client());
  CHECK(!without.server.ec);
  CHECK(!without.client.ec);
  CHECK(!meet(sched, site, client_with("client")).server.ec);
  CHECK(meet(sched, site, client_with("foreign")).server.ec == tls::error::certificate_rejected);
}

// ---- files

TEST_CASE("tls: a server's certificate may come from text or from PKCS#12", "[tls][K13]") {
  rouse::fibers sched;
  tls::server_context site;
  const auto peer = [&] {
    const auto made = meet(sched, site, trusting_client());
    REQUIRE(!made.client.ec);
    return tls::detail::subject_of(made.client.value.peer_certificate());
  };
  CHECK(meet(sched, site, trusting_client()).server.ec == std::errc::invalid_argument); // none yet
  site.certificate_pem(text_of("good.pem"), text_of("good.key"));
  CHECK(peer() == "CN = good");
  site.certificate_pkcs12(certificate("chained.p12"), "secret"); // with its issuer
  CHECK(peer() == "CN = incomplete");
  site.certificate(certificate("good.pem"), certificate("encrypted.key"), "secret");
  CHECK(peer() == "CN = good");
}

TEST_CASE("tls: a missing file is named", "[tls][K13]") {
  const std::string path = certificate("missing.pem");
  tls::client_context web;
  tls::server_context site;
  const auto named = [&](const std::system_error& e) {
    CHECK(e.code() == std::errc::no_such_file_or_directory);
    CHECK(begins_with(e.what(), "rouse: tls: " + path + ": "));
  };
  named(refusal([&] { web.trust_file(path); }));
  named(refusal([&] { web.revocations_file(path); }));
  named(refusal([&] { web.certificate_pkcs12(path, ""); }));
  named(refusal([&] { site.certificate(path, certificate("good.key")); }));
  named(refusal([&] { site.certificate(certificate("good.pem"), path); }));
  named(refusal([&] { site.verify_clients(path); }));
  named(refusal([&] { tls::server_context(path, path); }));
}

TEST_CASE("tls: a file without what it should contain is refused", "[tls][K13]") {
  const std::string pem = certificate("good.pem"), key = certificate("good.key");
  tls::client_context web;
  tls::server_context site;
  CHECK(reason(key, [&] { web.trust_file(key); }) == "no certificate in it (in PEM format)");
  CHECK(reason("trust_pem", [&] { web.trust_pem(""); }) == "no certificate in it (in PEM format)");
  CHECK(reason(pem, [&] { web.revocations_file(pem); }) ==
        "no revocation list in it (in PEM format)");
  CHECK(reason(key, [&] { site.certificate(key, key); }) == "no certificate in it (in PEM format)");
  CHECK(reason(pem, [&] { site.certificate(pem, pem); }) == "no key in it (in PEM format)");
  CHECK(reason(pem, [&] { site.certificate_pkcs12(pem, ""); }) == "not a PKCS#12 file");
  const std::string half = text_of("good.pem").substr(0, 200);
  CHECK(begins_with(reason("certificate", [&] { site.certificate_pem(half, ""); }),
                    "damaged certificate: "));
  std::string spoiled = text_of("good.key");
  spoiled.replace(spoiled.find('\n') + 1, 4, "AAAA");
  CHECK(begins_with(reason("key", [&] { site.certificate_pem(text_of("good.pem"), spoiled); }),
                    "damaged key: "));
}

TEST_CASE("tls: an encrypted key needs its password", "[tls][K13]") {
  const std::string pem = certificate("good.pem"), key = certificate("encrypted.key"),
                    p12 = certificate("chained.p12");
  tls::server_context site;
  CHECK(reason(key, [&] { site.certificate(pem, key); }) ==
        "the key is encrypted, and no password was given");
  CHECK(reason(key, [&] { site.certificate(pem, key, "wrong"); }) == "wrong password");
  CHECK(reason(p12, [&] { site.certificate_pkcs12(p12, ""); }) ==
        "it is encrypted, and no password was given");
  CHECK(reason(p12, [&] { site.certificate_pkcs12(p12, "wrong"); }) == "wrong password");
}

TEST_CASE("tls: a certificate that peers would refuse is refused when it is set", "[tls][K13]") {
  tls::server_context site;
  const std::string pem = certificate("good.pem"), other = certificate("other.key"),
                    expired = certificate("expired.pem"), early = certificate("early.pem");
  CHECK(reason(other, [&] { site.certificate(pem, other); }) ==
        "the key does not fit the certificate in " + pem);
  CHECK(begins_with(reason(expired, [&] { site.certificate(expired, certificate("expired.key")); }),
                    "CN = expired expired on 20"));
  CHECK(reason(early, [&] { site.certificate(early, certificate("early.key")); }) ==
        "CN = early is not yet valid: it starts on 2090-01-01 00:00:00 UTC");
}

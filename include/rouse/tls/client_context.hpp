// The settings of clients: which servers are trusted.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/detail/guarded.hpp>
#include <rouse/tls/basic_context.hpp>
#include <rouse/tls/certificates.hpp>
#include <rouse/tls/openssl.hpp>
#include <rouse/tls/session_cache.hpp>
#include <rouse/tls/settings.hpp>
#include <rouse/tls/trust.hpp>

#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace tls {
namespace detail {

// A name as certificates have it: without the dot at its end, or the zone of an IPv6 address.
// Empty: it is no name. OpenSSL would take one that begins with a dot for all names that end like
// it, and one with a zero byte for what is before that.
inline std::string name_to_verify(std::string_view name) {
  const std::string_view before_zone = name.substr(0, name.find('%'));
  if (before_zone.find(':') != std::string_view::npos) name = before_zone;
  if (!name.empty() && name.back() == '.') name.remove_suffix(1);
  const bool none = name.starts_with('.') || name.size() > TLSEXT_MAXLEN_host_name ||
                    name.find_first_of(std::string_view("%\0", 2)) != std::string_view::npos;
  return none ? std::string() : std::string(name);
}

// The peer has to prove that it is `name`. False: that is no name, or memory is short. Certificates
// have their names in subjectAltName: RFC 9525 rules out the common name, which OpenSSL would fall
// back to.
inline bool verify_name(SSL* ssl, const std::string& name) noexcept {
  X509_VERIFY_PARAM* const how = SSL_get0_param(ssl);
  X509_VERIFY_PARAM_set_hostflags(how, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                           X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  if (name.empty()) return false;
  if (X509_VERIFY_PARAM_set1_ip_asc(how, name.c_str()) == 1) return true;
  return SSL_set1_host(ssl, name.c_str()) == 1 && SSL_set_tlsext_host_name(ssl, name.c_str()) == 1;
}

struct client_settings : settings {
  bool insecure = false;
  std::shared_ptr<session_store> sessions; // null: none are kept
  // Sessions are only taken up under the settings that made them.
  std::uint64_t number = unique_number();

  void renew() noexcept { number = unique_number(); } // after each change

  static const SSL_METHOD* method() noexcept { return TLS_client_method(); }

  // False: memory is short.
  [[nodiscard]] bool apply(SSL_CTX* to) const noexcept {
    SSL_CTX_set_verify(to, insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_session_cache_mode(to, sessions ? SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL
                                                : SSL_SESS_CACHE_OFF);
    SSL_CTX_sess_set_new_cb(to, &keep_session);
    return alpn.empty() ||
           SSL_CTX_set_alpn_protos(to, reinterpret_cast<const unsigned char*>(alpn.data()),
                                   static_cast<unsigned>(alpn.size())) == 0;
  }

  // What sessions are kept by: the name that was verified, and how.
  [[nodiscard]] std::string peer_of(SSL* ssl) const {
    std::string peer = std::to_string(number) + ' ';
    X509_VERIFY_PARAM* const how = SSL_get0_param(ssl);
    if (const char* const name = X509_VERIFY_PARAM_get0_host(how, 0)) return peer + name;
    const std::unique_ptr<char, freed_by<free_text>> address{X509_VERIFY_PARAM_get1_ip_asc(how)};
    return address ? peer + address.get() : peer;
  }

private:
  static void free_text(char* owned) noexcept { OPENSSL_free(owned); }

  // Takes the session over, even if memory is too short to keep it.
  static int keep_session(SSL* ssl, SSL_SESSION* made) noexcept {
    session_ptr session{made};
    rouse::detail::guarded(
        [&] {
          const auto& s = settings_of<client_settings>(ssl);
          s.sessions->put(s.peer_of(ssl), std::move(session));
        },
        [] {});
    return 1;
  }
};

} // namespace detail

/// The settings of TLS clients.
///
///     rouse::tls::client_context web; // for the public web: nothing else is needed
///     rouse::tls::client_context own;
///     own.trust_file("our_ca.pem"); // for servers with certificates of a private authority
///
/// Always verified, by every connection: that the server's certificate leads to a trusted root,
/// that all certificates on the way are valid now and meant for servers, and that the certificate
/// is for the name or the IP address to which the client connects (subjectAltName; a common name
/// does not count: RFC 9525). A failure is tls::error::certificate_rejected, with the reason in
/// words. Not verified unless `revocations_file` is called: whether the certificate has been
/// revoked.
///
/// The roots are the system's: those of OpenSSL's files (SSL_CERT_FILE and SSL_CERT_DIR name other
/// ones), or of the bundle that the system keeps elsewhere, and on Windows those of its store. The
/// first connection reads them, which takes some 25 milliseconds; so does the first one of a clone,
/// and after a change of what is trusted. If there are none, that connection fails with
/// tls::error::no_roots, and the next one looks again. With roots of your own, the system's are
/// never read unless `trust_system` is called.
class client_context : public basic_context<detail::client_settings> {
  using settings = detail::client_settings;

public:
  client_context() : basic_context(first()) {}

  /// Trusts the root certificates of a file, and no longer the system's. Several calls add up.
  void trust_file(const std::string& path) { add_roots(detail::from_file(path)); }
  /// The same, from the contents of a file.
  void trust_pem(std::string roots) { add_roots({"trust_pem", std::move(roots)}); }
  /// Trusts the system's roots beside those of a file.
  void trust_system() {
    change_trust([](detail::trust& t) { t.ask_system = true; });
  }
  /// Refuses servers with a certificate that is in a revocation list of the file. Several calls add
  /// up; the same file again replaces its lists. From now on there must be a list of the authority
  /// that signed a server's certificate: without one, or after its next update was due, the server
  /// is refused.
  void revocations_file(const std::string& path) {
    auto lists = detail::revocation_lists_in(detail::from_file(path));
    auto kept = std::make_shared<const detail::crl_list>(std::move(lists));
    change_trust([&](detail::trust& t) { t.revocations[path] = std::move(kept); });
  }
  /// Accepts whatever certificate the server has, for any name: an attacker on the way can read and
  /// change everything. For tests.
  void insecure_accept_any_certificate() {
    change([](settings& s) { s.insecure = true; });
  }

  /// Keeps the sessions of connections in `cache`, and takes them up for later connections to the
  /// same name: see `socket::resumed()`. A server's certificate is not verified again then, but a
  /// change of any setting above counts: sessions from before, and those of other contexts, are
  /// not taken up. Copies of a context share their sessions.
  void sessions(const session_cache& cache) {
    change([&](settings& s) { s.sessions = cache.store_; });
  }

  /// For the library: an SSL object for a connection to `name`. Null: see `why`.
  [[nodiscard]] detail::ssl_ptr prepare(std::string_view name, failure& why) const noexcept {
    const detail::error_scope errors;
    const detail::ssl_ctx_ptr context = current();
    detail::ssl_ptr made{SSL_new(context.get())};
    why = std::errc::not_enough_memory;
    if (!made) return nullptr;
    SSL_set_connect_state(made.get());
    const bool ready = rouse::detail::guarded(
        [&] {
          const std::string verified = detail::name_to_verify(name);
          if (verified.empty()) why = std::errc::invalid_argument;
          if (!detail::verify_name(made.get(), verified)) return false;
          const auto& s = detail::settings_of<settings>(context.get());
          const bool trusts = s.insecure || s.store->complete();
          if (!trusts) why = detail::failed(error::no_roots);
          return trusts && resume(made.get());
        },
        [] { return false; });
    if (!ready) return nullptr;
    why = {};
    return made;
  }

private:
  static settings first() {
    settings s;
    s.store = detail::make_store(s.trusted);
    return s;
  }
  void add_roots(const detail::source& from) {
    auto list = std::make_shared<const detail::certificate_list>(detail::certificates_in(from));
    change_trust([&](detail::trust& t) { t.roots.push_back(std::move(list)); });
  }
  template <class F>
  void change_trust(F what) {
    change([&](settings& s) {
      what(s.trusted);
      s.store = detail::make_store(s.trusted);
    });
  }
  // False: memory is short.
  static bool resume(SSL* ssl) {
    const auto& s = detail::settings_of<settings>(ssl);
    const detail::session_ptr session = s.sessions ? s.sessions->take(s.peer_of(ssl)) : nullptr;
    return !session || SSL_set_session(ssl, session.get()) == 1;
  }
};

}}} // namespace rouse::ROUSE_ABI::tls

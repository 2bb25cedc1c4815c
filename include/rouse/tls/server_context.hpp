// The settings of servers: their certificate, and what they demand of clients.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/detail/guarded.hpp>
#include <rouse/tls/basic_context.hpp>
#include <rouse/tls/certificates.hpp>
#include <rouse/tls/openssl.hpp>
#include <rouse/tls/settings.hpp>
#include <rouse/tls/trust.hpp>

#include <openssl/crypto.h>
#include <openssl/ssl.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace tls {

class server_context;

/// Chooses the settings for a client that asks for a name. Null: those that it belongs to.
using server_name_chooser = std::function<const server_context*(std::string_view)>;

/// Whether a client must have a certificate. One that it sends is verified in either case.
enum class client_certificates : unsigned char { required, optional };

namespace detail {

// The name of the client's first message (SNI); empty: there is none. RFC 6066, section 3: the
// length of the list, then, for each name, a type (0), its length and the name.
inline std::string_view name_in_hello(SSL* ssl) noexcept {
  const unsigned char* list = nullptr;
  std::size_t size = 0;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &list, &size) != 1 || size < 5 ||
      list[2] != TLSEXT_NAMETYPE_host_name)
    return {};
  const std::size_t length = std::size_t{list[3]} << 8 | list[4];
  if (length > size - 5) return {};
  return {reinterpret_cast<const char*>(list) + 5, length};
}

struct server_settings : settings {
  server_name_chooser by_name;
  int verify = SSL_VERIFY_NONE;
  std::uint64_t number = unique_number(); // of what is demanded of clients

  static const SSL_METHOD* method() noexcept { return TLS_server_method(); }
  void renew() noexcept {}

  // False: memory is short.
  [[nodiscard]] bool apply(SSL_CTX* to) const noexcept {
    SSL_CTX_set_verify(to, verify, nullptr);
    for (const auto& list : trusted.roots) {
      for (const x509_ptr& root : *list)
        if (SSL_CTX_add_client_CA(to, root.get()) != 1) return false;
    }
    // OpenSSL keeps the name that the client asked for in a session of TLS 1.2 if it was accepted.
    SSL_CTX_set_tlsext_servername_callback(
        to, +[](SSL*, int*, void*) { return SSL_TLSEXT_ERR_OK; });
    SSL_CTX_set_session_cache_mode(to, SSL_SESS_CACHE_OFF); // the tickets contain all
    if (!alpn.empty()) SSL_CTX_set_alpn_select_cb(to, &choose_protocol, nullptr);
    if (by_name) SSL_CTX_set_client_hello_cb(to, &choose_settings, nullptr);
    return SSL_CTX_set_session_id_context(to, reinterpret_cast<const unsigned char*>(&number),
                                          sizeof number) == 1;
  }

private:
  static int choose_protocol(SSL* ssl, const unsigned char** chosen, unsigned char* size,
                             const unsigned char* offered, unsigned offered_size, void*) noexcept {
    const std::string& ours = settings_of<server_settings>(ssl).alpn;
    unsigned char* found = nullptr;
    const int how =
        SSL_select_next_proto(&found, size, reinterpret_cast<const unsigned char*>(ours.data()),
                              static_cast<unsigned>(ours.size()), offered, offered_size);
    *chosen = found;
    return how == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  static int choose_settings(SSL* ssl, int* alert, void*) noexcept;
};

} // namespace detail

/// The settings of TLS servers.
///
///     rouse::tls::server_context site{"fullchain.pem", "key.pem"};
///     site.alpn({"h2", "http/1.1"});
///
/// Clients are not verified unless `verify_clients` is called. Sessions can be taken up again: the
/// server issues tickets (by TLS 1.3 with the first bytes that it sends), and keeps nothing. Their
/// keys are made once for a context and its copies, and for its clones.
class server_context : public basic_context<detail::server_settings> {
  using settings = detail::server_settings;

public:
  /// Without a certificate: `certificate` adds one, or `on_server_name` chooses other settings.
  server_context() : basic_context(settings()) {}
  /// With the certificate of the files: see `certificate`.
  server_context(const std::string& chain, const std::string& key, std::string_view password = {})
      : server_context() {
    certificate(chain, key, password);
  }

  /// Replaces the certificate while connections are made; the same as `certificate`. Later
  /// handshakes use the new one, and open connections keep the old one. If it throws, the old one
  /// stays. Tickets stay valid. It reaches clones too.
  void reload(const std::string& chain, const std::string& key, std::string_view password = {}) {
    certificate(chain, key, password);
  }

  /// Chooses other settings by the name that the client asks for (SNI), before anything else is
  /// decided: certificate, versions, ciphers, protocols, and what is demanded of the client are
  /// those of the chosen ones. Without a name, the function is called with "". Its result is only
  /// used during the call: a connection shares what it needs of the settings.
  ///
  ///     site.on_server_name([&](std::string_view name) {
  ///       return name == "example.net" ? &other : nullptr;
  ///     });
  ///
  /// @param choose  called within handshakes, by any thread that runs one, maybe by several at the
  /// same time; copied by `clone`. It must not wait, nor own a copy of these settings, which would
  /// then never be freed. If it throws, that handshake fails.
  void on_server_name(server_name_chooser choose) {
    change([&](settings& s) { s.by_name = std::move(choose); });
  }

  /// Demands a certificate of clients, which must lead to one of the roots in a file and be meant
  /// for clients. `socket::peer_certificate()` tells which one it was; its names are not verified.
  /// Called again, it replaces the earlier demand. Tickets from before are no longer accepted.
  ///
  /// @param revocations  a file with revocation lists, or "". As in
  /// `client_context::revocations_file`.
  void verify_clients(const std::string& roots,
                      client_certificates how = client_certificates::required,
                      const std::string& revocations = {}) {
    detail::trust t;
    t.roots.push_back(std::make_shared<const detail::certificate_list>(
        detail::certificates_in(detail::from_file(roots))));
    if (!revocations.empty())
      t.revocations[revocations] = std::make_shared<const detail::crl_list>(
          detail::revocation_lists_in(detail::from_file(revocations)));
    change([&](settings& s) {
      s.store = detail::make_store(t);
      s.trusted = std::move(t);
      s.verify = SSL_VERIFY_PEER;
      if (how == client_certificates::required) s.verify |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
      s.number = detail::unique_number();
    });
  }

  /// The same settings with an SSL_CTX of their own, for another core: shared by several cores, its
  /// counters and locks would be what they wait for. Later changes of these settings, with `reload`
  /// among them, reach the clone; a change of the clone itself ends that. Each accepts the other's
  /// tickets, unless `verify_clients` is called on the clone.
  [[nodiscard]] server_context clone() const {
    server_context made(*this);
    made.become_clone_of(*this);
    return made;
  }

  /// For the library: an SSL object for an accepted connection. Null: see `why`.
  [[nodiscard]] detail::ssl_ptr prepare(failure& why) const noexcept {
    const detail::error_scope errors;
    const detail::ssl_ctx_ptr context = current();
    const settings& s = detail::settings_of<settings>(context.get());
    if (!s.own && !s.by_name) {
      why = std::errc::invalid_argument;
      return nullptr;
    }
    detail::ssl_ptr made{SSL_new(context.get())};
    if (made)
      SSL_set_accept_state(made.get());
    else
      why = std::errc::not_enough_memory;
    return made;
  }

private:
  friend struct detail::server_settings;
};

namespace detail {

// The index of a mark in SSL objects: the settings have been chosen. After a HelloRetryRequest the
// client's first message comes a second time.
inline int index_of_choice() noexcept {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

// SSL_set_SSL_CTX leaves the versions and the verification of the SSL object as they are.
inline int server_settings::choose_settings(SSL* ssl, int* alert, void*) noexcept {
  *alert = SSL_AD_INTERNAL_ERROR;
  if (SSL_get_ex_data(ssl, index_of_choice())) return SSL_CLIENT_HELLO_SUCCESS;
  const auto& s = settings_of<server_settings>(ssl);
  SSL_CTX* const first = SSL_get_SSL_CTX(ssl);
  if (SSL_set_ex_data(ssl, index_of_choice(), first) != 1) return SSL_CLIENT_HELLO_ERROR;
  return rouse::detail::guarded(
      [&] {
        const server_context* const chosen = s.by_name(name_in_hello(ssl));
        if (!chosen) return SSL_CLIENT_HELLO_SUCCESS;
        const ssl_ctx_ptr c = chosen->current();
        SSL_set_verify(ssl, SSL_CTX_get_verify_mode(c.get()), nullptr);
        const bool taken =
            SSL_set_min_proto_version(ssl, SSL_CTX_get_min_proto_version(c.get())) == 1 &&
            SSL_set_SSL_CTX(ssl, c.get());
        return taken ? SSL_CLIENT_HELLO_SUCCESS : SSL_CLIENT_HELLO_ERROR;
      },
      [] { return SSL_CLIENT_HELLO_ERROR; });
}

} // namespace detail

}}} // namespace rouse::ROUSE_ABI::tls

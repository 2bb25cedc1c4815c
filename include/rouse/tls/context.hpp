// The settings of TLS connections: certificates, and what is trusted.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/detail/guarded.hpp>
#include <rouse/tls/certificates.hpp>
#include <rouse/tls/error.hpp>
#include <rouse/tls/openssl.hpp>
#include <rouse/tls/trust.hpp>

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace tls {
namespace detail {

/// An SSL object that is ready for its handshake, and what its callbacks refer to.
struct prepared {
  ssl_ptr ssl;
  std::shared_ptr<const void> keep;
};

/// The tickets for later sessions of a server's TLS 1.3 connection. They are sent with its first
/// bytes: a client that never reads must not block the server.
inline void issue_tickets(SSL* ssl) noexcept {
  if (SSL_version(ssl) != TLS1_3_VERSION) return;
  for (int left = SSL_session_reused(ssl) ? 1 : 2; left != 0; --left)
    (void)SSL_new_session_ticket(ssl);
  ERR_clear_error();
}

// What is the same for clients and servers. Throws not_enough_memory.
inline ssl_ctx_ptr make_context(const SSL_METHOD* how) {
  ssl_ctx_ptr made{SSL_CTX_new(how)};
  if (!made || SSL_CTX_set_min_proto_version(made.get(), TLS1_2_VERSION) != 1) throw_no_memory();
  SSL_CTX_set_options(made.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(made.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                   SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  return made;
}

// A name as certificates have it: without the dot at its end, or the zone of an address.
inline std::string name_to_verify(std::string_view name) {
  name = name.substr(0, name.find('%'));
  if (!name.empty() && name.back() == '.') name.remove_suffix(1);
  return std::string(name);
}

// The peer has to prove that it is `name`. False: that is no name, or memory is short.
inline bool verify_name(SSL* ssl, const std::string& name) noexcept {
  X509_VERIFY_PARAM* const how = SSL_get0_param(ssl);
  X509_VERIFY_PARAM_set_hostflags(how, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (name.empty()) return false;
  if (X509_VERIFY_PARAM_set1_ip_asc(how, name.c_str()) == 1) return true;
  return SSL_set1_host(ssl, name.c_str()) == 1 && SSL_set_tlsext_host_name(ssl, name.c_str()) == 1;
}

} // namespace detail

/// What a client trusts: the system's root certificates, or those that `trust_file` adds instead.
/// The peer's certificate and its name are verified, always. TLS 1.2 and later.
///
/// Copies share the settings, which must not change while connections are made. Threads: any, for
/// connecting.
class client_context {
public:
  client_context() : context_(detail::make_context(TLS_client_method())) {
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
    detail::trust system;
    system.system = true;
    trust(system);
  }

  /// Trusts the root certificates of a file (PEM), and no longer the system's.
  ///
  /// Errors: those of the file; tls::error::bad_certificate_file.
  void trust_file(const std::string& path) {
    detail::trust own;
    own.add_roots(detail::from_file(path));
    trust(own);
  }

  /// For the library: an SSL object for a connection to `name`.
  [[nodiscard]] detail::prepared prepare(std::string_view name, failure& why) const noexcept {
    const detail::error_scope errors;
    detail::prepared made{detail::ssl_ptr(SSL_new(context_.get())), context_};
    if (!made.ssl) {
      why = std::errc::not_enough_memory;
      return {};
    }
    SSL_set_connect_state(made.ssl.get());
    const bool named = rouse::detail::guarded(
        [&] { return detail::verify_name(made.ssl.get(), detail::name_to_verify(name)); },
        [] { return false; });
    if (named) return made;
    why = std::errc::invalid_argument;
    return {};
  }

private:
  void trust(const detail::trust& what) {
    detail::store_ptr store{X509_STORE_new()};
    if (!store || !detail::add_to(store.get(), what)) detail::throw_no_memory();
    SSL_CTX_set_cert_store(context_.get(), store.release());
  }

  std::shared_ptr<SSL_CTX> context_;
};

/// The certificate of a server, with its key. TLS 1.2 and later.
///
/// Copies share it. Threads: any, for accepting.
class server_context {
public:
  /// @param chain  a file with the certificate, followed by its issuers' without the root (PEM).
  /// @param key    a file with the key of the certificate (PEM).
  ///
  /// Errors: those of the files; tls::error::bad_certificate_file, with the reason: it has expired,
  /// the key does not fit, and so on.
  server_context(const std::string& chain, const std::string& key)
      : context_(detail::make_context(TLS_server_method())) {
    const detail::identity_ptr id =
        detail::identity_of(detail::from_file(chain), detail::from_file(key), {});
    SSL_CTX_set_num_tickets(context_.get(), 0); // see issue_tickets
    if (SSL_CTX_use_cert_and_key(context_.get(), id->leaf.get(), id->key.get(), id->chain.get(),
                                 1) != 1)
      detail::throw_unusable(chain, detail::newest_reason());
  }

  /// For the library: an SSL object for an accepted connection.
  [[nodiscard]] detail::prepared prepare(failure& why) const noexcept {
    const detail::error_scope errors;
    detail::prepared made{detail::ssl_ptr(SSL_new(context_.get())), context_};
    if (made.ssl)
      SSL_set_accept_state(made.ssl.get());
    else
      why = std::errc::not_enough_memory;
    return made;
  }

private:
  std::shared_ptr<SSL_CTX> context_;
};

}}} // namespace rouse::ROUSE_ABI::tls

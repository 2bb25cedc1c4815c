// The settings that clients and servers have in common.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/detail/guarded.hpp>
#include <rouse/os/file.hpp>
#include <rouse/tls/certificates.hpp>
#include <rouse/tls/openssl.hpp>
#include <rouse/tls/pkcs12.hpp>
#include <rouse/tls/settings.hpp>
#include <rouse/tls/trust.hpp>
#include <rouse/tls/version.hpp>

#include <openssl/crypto.h>
#include <openssl/ssl.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rouse { inline namespace ROUSE_ABI { namespace tls {

/// What `client_context` and `server_context` have in common.
///
/// Copies share the settings. Threads: any, also for changing the settings while connections are
/// made. A change concerns later connections; those that are open or in the handshake keep the
/// settings that they began with. A change that throws changes nothing.
///
/// Files are read as a whole by the call that names them, and not watched. All are in PEM format
/// unless said otherwise.
///
/// Errors of all settings: std::system_error with
/// - the error of a file: no_such_file_or_directory, permission_denied, and so on;
/// - tls::error::bad_certificate_file: a file has nothing of the kind in it, is damaged, needs a
///   (different) password, has expired or is not valid yet; a key that does not fit;
/// - invalid_argument: a list that is empty, or that OpenSSL cannot satisfy as a whole;
/// - not_enough_memory.
/// what() names the file and the reason.
///
/// Cost of a change: some 100 microseconds.
template <class Settings>
class basic_context {
public:
  /// The certificate to present: a server's own, or a client's for servers that ask for one.
  ///
  /// @param chain     the certificate, followed by its issuers' without the root.
  /// @param key       the private key of the certificate.
  /// @param password  of the key, if it is encrypted.
  void certificate(const std::string& chain, const std::string& key,
                   std::string_view password = {}) {
    present(detail::identity_of(detail::from_file(chain), detail::from_file(key), password));
  }
  /// The same, from the contents of the files.
  void certificate_pem(std::string chain, std::string key, std::string_view password = {}) {
    present(
        detail::identity_of({"certificate", std::move(chain)}, {"key", std::move(key)}, password));
  }
  /// The same, from one file in PKCS#12 format.
  void certificate_pkcs12(const std::string& file, std::string_view password) {
    present(detail::identity_of_pkcs12(detail::from_file(file), password));
  }

  /// The protocols that may follow the handshake, such as "h2", in order of preference. A client
  /// offers them. A server chooses the first of its own that the client offers; if there is none,
  /// the handshake fails (RFC 7301), but a client that offers nothing is let in. See
  /// `socket::alpn()` for the result: empty if the peer does not take part.
  ///
  /// @param names  each 1 to 255 bytes.
  void alpn(const std::vector<std::string>& names) {
    std::string list = detail::alpn_list(names);
    change([&](Settings& s) { s.alpn = std::move(list); });
  }

  /// The oldest version that is accepted; TLS 1.2 by default.
  void min_version(version oldest) {
    change([&](Settings& s) { s.oldest = oldest; });
  }
  /// The ciphers of TLS 1.2, as a list for OpenSSL: "ECDHE+AESGCM:!RSA". By default OpenSSL's own.
  void ciphers(const std::string& list) {
    detail::check_names("ciphers", detail::split(list, ":,; "), &SSL_CTX_set_cipher_list);
    change([&](Settings& s) { s.ciphers = list; });
  }
  /// The ciphers of TLS 1.3, by their full names: "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256".
  void cipher_suites(const std::string& list) {
    detail::check_names("cipher_suites", detail::split(list, ":"), &SSL_CTX_set_ciphersuites);
    change([&](Settings& s) { s.cipher_suites = list; });
  }

  /// For debugging: appends the secrets of each connection to a file, in the format of NSS that
  /// Wireshark reads. With that file anyone can decrypt the connections.
  void key_log(const std::string& path) {
    failure why;
    auto file = std::make_shared<const os::file>(os::file::to_append(path, why));
    if (why) rouse::detail::throw_error(why.code(), "rouse: tls: " + path);
    change([&](Settings& s) { s.key_log = std::move(file); });
  }

protected:
  explicit basic_context(const Settings& first) : shared_(std::make_shared<shared>()) {
    shared_->current = detail::make_context(std::make_unique<const Settings>(first));
  }
  ~basic_context() = default;
  basic_context(const basic_context&) = default;
  basic_context& operator=(const basic_context&) = default;

  // Makes a new SSL_CTX of the changed settings.
  template <class F>
  void change(F what) {
    detail::ssl_ctx_ptr made; // then the earlier one, which is freed without the lock
    const std::lock_guard lock(shared_->mutex);
    if (shared_->is_behind()) follow(*shared_);
    auto next = std::make_unique<Settings>(settings());
    what(*next);
    next->renew();
    made = detail::make_context<Settings>(std::move(next));
    copy_ticket_keys(shared_->current.get(), made.get());
    shared_->current.swap(made);
    shared_->original = nullptr;
    shared_->changes.fetch_add(1, std::memory_order_release);
  }

  [[nodiscard]] detail::ssl_ctx_ptr current() const noexcept {
    const std::lock_guard lock(shared_->mutex);
    // If memory is too short for that, the next call tries it again.
    if (shared_->is_behind()) rouse::detail::guarded([this] { follow(*shared_); }, [] {});
    return shared_->hold();
  }

  // Gets an SSL_CTX of its own, with the settings that `other` has now and later.
  void become_clone_of(const basic_context& other) {
    auto own = std::make_shared<shared>();
    {
      const std::lock_guard lock(other.shared_->mutex);
      own->original = other.shared_->original ? other.shared_->original : other.shared_;
    }
    follow(*own);
    shared_ = std::move(own);
  }

private:
  struct shared {
    std::mutex mutex; // guards what follows
    detail::ssl_ctx_ptr current; // never changed, only replaced
    std::shared_ptr<shared> original; // of a clone that has not been changed itself
    unsigned seen = 0; // changes of the original
    std::atomic<unsigned> changes{0};

    [[nodiscard]] bool is_behind() const noexcept {
      return original && original->changes.load(std::memory_order_acquire) != seen;
    }
    [[nodiscard]] detail::ssl_ctx_ptr hold() const noexcept {
      SSL_CTX_up_ref(current.get());
      return detail::ssl_ctx_ptr(current.get());
    }
  };

  // Takes over the settings and the tickets of the original.
  static void follow(shared& clone) {
    detail::ssl_ctx_ptr from;
    unsigned seen = 0;
    {
      const std::lock_guard lock(clone.original->mutex);
      from = clone.original->hold();
      seen = clone.original->changes;
    }
    auto same = std::make_unique<Settings>(detail::settings_of<Settings>(from.get()));
    if (same->store) same->store = detail::make_store(same->trusted);
    clone.current = detail::make_context<Settings>(std::move(same));
    copy_ticket_keys(from.get(), clone.current.get());
    clone.seen = seen;
  }

  [[nodiscard]] const Settings& settings() const noexcept {
    return detail::settings_of<Settings>(shared_->current.get());
  }
  void present(detail::identity_ptr id) {
    change([&](Settings& s) { s.own = std::move(id); });
  }
  static void copy_ticket_keys(const SSL_CTX* from, SSL_CTX* to) noexcept {
    unsigned char keys[80];
    auto* const source = const_cast<SSL_CTX*>(from); // the macro takes no const
    SSL_CTX_get_tlsext_ticket_keys(source, keys, sizeof keys);
    SSL_CTX_set_tlsext_ticket_keys(to, keys, sizeof keys);
    OPENSSL_cleanse(keys, sizeof keys);
  }

  std::shared_ptr<shared> shared_;
};

}}} // namespace rouse::ROUSE_ABI::tls

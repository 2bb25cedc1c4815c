// What the settings of clients and servers have in common, and the SSL_CTX that is made of them.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/file.hpp>
#include <rouse/tls/certificates.hpp>
#include <rouse/tls/openssl.hpp>
#include <rouse/tls/trust.hpp>
#include <rouse/tls/version.hpp>

#include <openssl/ssl.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace rouse { inline namespace ROUSE_ABI { namespace tls { namespace detail {

struct settings {
  identity_ptr own; // null: no certificate
  trust trusted;
  shared_store store; // made of `trusted`; null: the peer is not verified
  std::string alpn; // each name after a byte with its length; empty: none
  version oldest = version::tls1_2;
  std::string ciphers, cipher_suites; // empty: OpenSSL's
  std::shared_ptr<const os::file> key_log;
};

[[noreturn]] inline void refuse(const std::string& what) {
  ERR_clear_error();
  rouse::detail::throw_error(failure(std::errc::invalid_argument).code(), "rouse: tls: " + what);
}

// Each call gives a new number.
inline std::uint64_t unique_number() noexcept {
  static constinit std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

// ---- the SSL_CTX of settings, which it owns: its callbacks refer to them as long as it lives

template <class Settings>
int index_of_settings() noexcept {
  static const int index = SSL_CTX_get_ex_new_index(
      0, nullptr, nullptr, nullptr, [](void*, void* owned, CRYPTO_EX_DATA*, int, long, void*) {
        delete static_cast<const Settings*>(owned);
      });
  return index;
}
template <class Settings>
const Settings& settings_of(const SSL_CTX* c) noexcept {
  return *static_cast<const Settings*>(SSL_CTX_get_ex_data(c, index_of_settings<Settings>()));
}
template <class Settings>
const Settings& settings_of(const SSL* s) noexcept {
  return settings_of<Settings>(SSL_get_SSL_CTX(s));
}

template <class Settings>
void log_key(const SSL* ssl, const char* line) noexcept {
  char whole[512]; // the longest line has 208
  const int size = std::snprintf(whole, sizeof whole, "%s\n", line);
  if (size > 0 && size < static_cast<int>(sizeof whole))
    settings_of<Settings>(ssl).key_log->append({whole, static_cast<std::size_t>(size)});
}

template <class Settings>
ssl_ctx_ptr make_context(std::unique_ptr<const Settings> from) {
  const error_scope scope;
  ssl_ctx_ptr made{SSL_CTX_new(Settings::method())};
  if (!made) throw_no_memory();
  SSL_CTX* const c = made.get();
  const Settings& s = *from;
  if (SSL_CTX_set_ex_data(c, index_of_settings<Settings>(), const_cast<Settings*>(&s)) != 1)
    throw_no_memory();
  (void)from.release();
  SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                          SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
  if (SSL_CTX_set_min_proto_version(c, static_cast<int>(s.oldest)) != 1) throw_no_memory();
  if (!s.ciphers.empty() && SSL_CTX_set_cipher_list(c, s.ciphers.c_str()) != 1)
    refuse("ciphers: " + s.ciphers + ": " + newest_reason());
  if (!s.cipher_suites.empty() && SSL_CTX_set_ciphersuites(c, s.cipher_suites.c_str()) != 1)
    refuse("cipher_suites: " + s.cipher_suites + ": " + newest_reason());
  if (s.own &&
      SSL_CTX_use_cert_and_key(c, s.own->leaf.get(), s.own->key.get(), s.own->chain.get(), 1) != 1)
    throw_unusable(s.own->file, newest_reason());
  if (s.store) SSL_CTX_set1_cert_store(c, s.store->get());
  if (s.key_log) SSL_CTX_set_keylog_callback(c, &log_key<Settings>);
  if (!s.apply(c)) throw_no_memory();
  return made;
}

// ---- checks of what OpenSSL would ignore

inline std::vector<std::string> split(std::string_view list, const char* separators) {
  std::vector<std::string> names;
  while (!list.empty()) {
    const std::size_t end = list.find_first_of(separators);
    if (end != 0) names.emplace_back(list.substr(0, end));
    list.remove_prefix(end < list.size() ? end + 1 : list.size());
  }
  return names;
}

// Each name must mean something on its own; OpenSSL refuses a list only if all of it is unknown.
// Names that take away or reorder ("!MD5", "+RSA", "@STRENGTH") may be without effect.
inline void check_names(const std::string& what, const std::vector<std::string>& names,
                        int (*set)(SSL_CTX*, const char*)) {
  const error_scope scope;
  const ssl_ctx_ptr scratch{SSL_CTX_new(TLS_method())};
  if (!scratch) throw_no_memory();
  if (names.empty()) refuse(what + ": the list is empty");
  for (const std::string& name : names) {
    const bool adds = std::string_view("!-+@").find(name.front()) == std::string_view::npos;
    if (adds && set(scratch.get(), name.c_str()) != 1)
      refuse(what + ": OpenSSL has no \"" + name + "\"");
  }
}

inline std::string alpn_list(const std::vector<std::string>& names) {
  std::string list;
  if (names.empty()) refuse("alpn: the list is empty");
  for (const std::string& name : names) {
    if (name.empty()) refuse("alpn: a name is empty");
    if (name.size() > 255) refuse("alpn: a name is longer than 255 bytes: " + name);
    list += static_cast<char>(static_cast<unsigned char>(name.size()));
    list += name;
  }
  if (list.size() > 65535) refuse("alpn: the list is longer than 65535 bytes");
  return list;
}

}}}} // namespace rouse::ROUSE_ABI::tls::detail

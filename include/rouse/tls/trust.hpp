// Which certificates are trusted: roots, and revocation lists.
#pragma once
#include <rouse/config.hpp>
#include <rouse/os/file.hpp>
#include <rouse/os/root_certificates.hpp>
#include <rouse/tls/certificates.hpp>
#include <rouse/tls/openssl.hpp>

#include <openssl/x509_vfy.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace rouse { inline namespace ROUSE_ABI { namespace tls { namespace detail {

using shared_store = std::shared_ptr<X509_STORE>;

// Copies share the certificates.
struct trust {
  std::vector<std::shared_ptr<const certificate_list>> roots; // in addition to the system's, or
  bool ask_system = false; // instead of them
  std::map<std::string, std::shared_ptr<const crl_list>> revocations; // by their files

  [[nodiscard]] bool system() const noexcept { return ask_system || roots.empty(); }
};

// Where systems keep their bundles, for an OpenSSL that was built for another place.
inline constexpr const char* well_known_bundles[] = {
    "/etc/ssl/certs/ca-certificates.crt", // Debian, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt", // Fedora
    "/etc/ssl/ca-bundle.pem", // openSUSE
    "/etc/ssl/cert.pem", // the BSDs, macOS
    "/usr/local/etc/ssl/cert.pem",
    "/opt/homebrew/etc/ca-certificates/cert.pem",
};

inline bool environment_names_roots() noexcept {
  return std::getenv(X509_get_default_cert_file_env()) ||
         std::getenv(X509_get_default_cert_dir_env());
}

// Adds the system's roots. Where there are none, verification will fail, and says so.
//
// OpenSSL's own paths were chosen when it was built. Where the system has a store they are not
// read, since any user may be able to write there (CVE-2019-1552).
inline void add_system_roots(X509_STORE* to) noexcept {
  const bool kept = os::each_root_certificate([to](std::span<const unsigned char> der) {
    const unsigned char* bytes = der.data();
    const x509_ptr root{d2i_X509(nullptr, &bytes, static_cast<long>(der.size()))};
    if (root) X509_STORE_add_cert(to, root.get());
  });
  if (!kept || environment_names_roots()) X509_STORE_set_default_paths(to);
  if (kept || environment_names_roots() || os::exists(X509_get_default_cert_file()) ||
      os::exists(X509_get_default_cert_dir()))
    return;
  for (const char* bundle : well_known_bundles) {
    if (os::exists(bundle) && X509_STORE_load_file(to, bundle) == 1) return;
  }
}

// Reads the system's roots if they count.
inline shared_store make_store(const trust& from) {
  const error_scope scope;
  store_ptr store{X509_STORE_new()};
  bool made = store != nullptr;
  if (made && from.system()) add_system_roots(store.get());
  for (const auto& list : from.roots) {
    for (const x509_ptr& root : *list)
      made = made && X509_STORE_add_cert(store.get(), root.get()) == 1;
  }
  for (const auto& [file, list] : from.revocations) {
    for (const crl_ptr& crl : *list) made = made && X509_STORE_add_crl(store.get(), crl.get()) == 1;
  }
  if (made && !from.revocations.empty())
    made = X509_STORE_set_flags(store.get(), X509_V_FLAG_CRL_CHECK) == 1;
  if (!made) throw_no_memory();
  return shared_store(std::move(store));
}

}}}} // namespace rouse::ROUSE_ABI::tls::detail

// Which root certificates are trusted.
#pragma once
#include <rouse/config.hpp>
#include <rouse/os/file.hpp>
#include <rouse/os/root_certificates.hpp>
#include <rouse/tls/certificates.hpp>
#include <rouse/tls/openssl.hpp>

#include <openssl/x509_vfy.h>

#include <cstdlib>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace rouse { inline namespace ROUSE_ABI { namespace tls { namespace detail {

// Copies share the certificates.
struct trust {
  std::vector<std::shared_ptr<const certificate_list>> roots;
  bool system = false;

  void add_roots(const source& from) {
    roots.push_back(std::make_shared<const certificate_list>(certificates_in(from)));
  }
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

inline bool openssl_knows_roots() noexcept {
  return std::getenv(X509_get_default_cert_file_env()) ||
         std::getenv(X509_get_default_cert_dir_env()) || os::exists(X509_get_default_cert_file()) ||
         os::exists(X509_get_default_cert_dir());
}

// Adds the system's roots. Where there are none, verification will fail, and says so.
inline void add_system_roots(X509_STORE* to) noexcept {
  X509_STORE_set_default_paths(to);
  os::each_root_certificate([to](std::span<const unsigned char> der) {
    const unsigned char* bytes = der.data();
    const x509_ptr root{d2i_X509(nullptr, &bytes, static_cast<long>(der.size()))};
    if (root) X509_STORE_add_cert(to, root.get());
  });
  if (openssl_knows_roots()) return;
  for (const char* bundle : well_known_bundles) {
    if (os::exists(bundle) && X509_STORE_load_file(to, bundle) == 1) return;
  }
}

// Returns false if memory is short.
inline bool add_to(X509_STORE* store, const trust& what) noexcept {
  const error_scope scope;
  if (what.system) add_system_roots(store);
  for (const auto& list : what.roots) {
    for (const x509_ptr& root : *list)
      if (X509_STORE_add_cert(store, root.get()) != 1) return false;
  }
  return true;
}

}}}} // namespace rouse::ROUSE_ABI::tls::detail

// Which certificates are trusted: roots, and revocation lists.
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
#include <string>
#include <utility>
#include <vector>

namespace rouse { inline namespace ROUSE_ABI { namespace tls { namespace detail {

// Copies share the certificates.
struct trust {
  struct revocation_file {
    std::string path;
    std::shared_ptr<const crl_list> lists;
  };

  std::vector<std::shared_ptr<const certificate_list>> roots;
  std::vector<revocation_file> revoked;
  bool system = false;

  void add_roots(const source& from) {
    roots.push_back(std::make_shared<const certificate_list>(certificates_in(from)));
  }
  // Replaces what an earlier version of the file contained.
  void add_revoked(const std::string& path) {
    auto lists = std::make_shared<const crl_list>(revocation_lists_in(from_file(path)));
    for (revocation_file& known : revoked) {
      if (known.path != path) continue;
      known.lists = std::move(lists);
      return;
    }
    revoked.push_back({path, std::move(lists)});
  }
  [[nodiscard]] bool has_roots() const noexcept { return system || !roots.empty(); }
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
  for (const auto& file : what.revoked) {
    for (const crl_ptr& crl : *file.lists)
      if (X509_STORE_add_crl(store, crl.get()) != 1) return false;
  }
  return what.revoked.empty() || X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK) == 1;
}

// The names of the own roots, which a server sends to clients with its request for a certificate.
inline bool add_names(SSL_CTX* to, const trust& what) noexcept {
  for (const auto& list : what.roots) {
    for (const x509_ptr& root : *list)
      if (SSL_CTX_add_client_CA(to, root.get()) != 1) return false;
  }
  return true;
}

// What a context trusts, as a number: a session may be resumed only in a context where
// it is the same. Returns false if memory is short.
inline bool digest(const trust& what, sha256& into) noexcept {
  const std::unique_ptr<EVP_MD_CTX, freed_by<EVP_MD_CTX_free>> sum{EVP_MD_CTX_new()};
  if (!sum || EVP_DigestInit_ex(sum.get(), EVP_sha256(), nullptr) != 1) return false;
  const auto add = [&](int ok) {
    return ok == 1 && EVP_DigestUpdate(sum.get(), into.data(), into.size()) == 1;
  };
  for (const auto& list : what.roots) {
    for (const x509_ptr& root : *list)
      if (!add(X509_digest(root.get(), EVP_sha256(), into.data(), nullptr))) return false;
  }
  into.fill(what.system ? 1 : 2);
  if (!add(1)) return false;
  for (const auto& file : what.revoked) {
    for (const crl_ptr& crl : *file.lists)
      if (!add(X509_CRL_digest(crl.get(), EVP_sha256(), into.data(), nullptr))) return false;
  }
  return EVP_DigestFinal_ex(sum.get(), into.data(), nullptr) == 1;
}

}}}} // namespace rouse::ROUSE_ABI::tls::detail

// Which certificates are trusted: roots, and revocation lists.
#pragma once
#include <rouse/config.hpp>
#include <rouse/os/file.hpp>
#include <rouse/os/root_certificates.hpp>
#include <rouse/tls/certificates.hpp>
#include <rouse/tls/openssl.hpp>

#include <openssl/x509_vfy.h>

#include <atomic>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rouse { inline namespace ROUSE_ABI { namespace tls { namespace detail {

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

// How many certificates and lists have been read.
inline int size_of(X509_STORE* s) noexcept {
  X509_STORE_lock(s);
  const int size = sk_X509_OBJECT_num(X509_STORE_get0_objects(s));
  X509_STORE_unlock(s);
  return size;
}

inline bool environment_names_roots() noexcept {
  return std::getenv(X509_get_default_cert_file_env()) ||
         std::getenv(X509_get_default_cert_dir_env());
}

// Whether one of the directories that OpenSSL looks into has a file. They are searched by the names
// of certificates, one at a time.
inline bool directories_have_files() {
  const char* const named = std::getenv(X509_get_default_cert_dir_env());
  std::string_view left = named ? named : X509_get_default_cert_dir();
  while (!left.empty()) {
    const std::string_view first = left.substr(0, left.find(ROUSE_WINDOWS ? ';' : ':'));
    if (os::has_files(std::string(first))) return true;
    left.remove_prefix(first.size() < left.size() ? first.size() + 1 : left.size());
  }
  return false;
}

// Adds the system's roots, and returns whether there are any. It may be called again.
//
// OpenSSL's own paths were chosen when it was built. Where the system has a store they are not
// read, since any user may be able to write there (CVE-2019-1552).
inline bool add_system_roots(X509_STORE* to) {
  bool found = false;
  const bool kept = os::each_root_certificate([&](std::span<const unsigned char> der) {
    const unsigned char* bytes = der.data();
    const x509_ptr root{d2i_X509(nullptr, &bytes, static_cast<long>(der.size()))};
    if (root && X509_STORE_add_cert(to, root.get()) == 1) found = true;
  });
  const bool named = environment_names_roots();
  if (!kept || named) {
    const int before = size_of(to);
    X509_STORE_set_default_paths(to);
    found = found || size_of(to) != before || directories_have_files();
  }
  if (found || kept || named) return found;
  for (const char* bundle : well_known_bundles) {
    if (X509_STORE_load_file(to, bundle) == 1) return true;
  }
  return false;
}

// What verification looks into.
class certificate_store {
public:
  certificate_store(store_ptr made, const trust& from) noexcept
      : store_(std::move(made)), own_(!from.roots.empty()), complete_(!from.system()) {}

  [[nodiscard]] X509_STORE* get() const noexcept { return store_.get(); }

  // Called before each use. The first call reads the system's roots if they count; that takes some
  // 25 milliseconds. False: there are no roots at all.
  bool complete() {
    if (complete_.load(std::memory_order_acquire)) return true;
    const std::lock_guard lock(mutex_);
    if (complete_.load(std::memory_order_relaxed)) return true;
    const error_scope scope;
    const bool any = add_system_roots(get()) || own_;
    complete_.store(any, std::memory_order_release);
    return any;
  }

private:
  const store_ptr store_;
  const bool own_; // it has roots of the user's
  std::mutex mutex_;
  std::atomic<bool> complete_;
};
using shared_store = std::shared_ptr<certificate_store>;

// Without the system's roots.
inline shared_store make_store(const trust& from) {
  const error_scope scope;
  store_ptr store{X509_STORE_new()};
  bool made = store != nullptr;
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
  return std::make_shared<certificate_store>(std::move(store), from);
}

}}}} // namespace rouse::ROUSE_ABI::tls::detail

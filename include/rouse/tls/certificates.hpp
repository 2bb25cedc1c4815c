// Certificates, keys and revocation lists, from files and from memory.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/file.hpp>
#include <rouse/tls/error.hpp>
#include <rouse/tls/openssl.hpp>

#include <openssl/asn1.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstddef>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rouse { inline namespace ROUSE_ABI { namespace tls { namespace detail {

using certificate_list = std::vector<x509_ptr>;
using crl_list = std::vector<crl_ptr>;

// A certificate with its key, as an SSL_CTX presents it. Never changed once it is made.
struct identity {
  x509_ptr leaf;
  key_ptr key;
  x509_stack_ptr chain; // from the leaf's issuer on, without the leaf
  std::string file; // for messages
};
using identity_ptr = std::shared_ptr<const identity>;

// Text and what to call it in a message: the name of its file.
struct source {
  std::string name;
  std::string text;
  source(std::string n, std::string t) : name(std::move(n)), text(std::move(t)) {}
  source(source&&) = default;
  ~source() { OPENSSL_cleanse(text.data(), text.size()); } // it may be a key
};

[[noreturn]] inline void throw_unusable(const std::string& name, const std::string& reason) {
  ERR_clear_error();
  rouse::detail::throw_error(make_error_code(error::bad_certificate_file),
                             "rouse: tls: " + name + ": " + reason);
}
[[noreturn]] inline void throw_no_memory() {
  ERR_clear_error();
  rouse::detail::throw_error(failure(std::errc::not_enough_memory).code(), "rouse: tls");
}

inline source from_file(const std::string& path) {
  source read{path, {}};
  if (const failure why = os::read_file(path, read.text))
    rouse::detail::throw_error(why.code(), "rouse: tls: " + path);
  return read;
}
inline bio_ptr opened(const source& from) {
  bio_ptr made = reads_from(from.text);
  if (!made) throw_no_memory();
  return made;
}

// ---- passwords

struct password_request {
  std::string_view password;
  bool asked = false;
};
// Without a password it fails; OpenSSL's own function would ask at the terminal.
inline int give_password(char* into, int room, int, void* request) noexcept {
  auto& the = *static_cast<password_request*>(request);
  the.asked = true;
  const std::size_t size = the.password.size();
  if (size == 0 || room < 0 || size > static_cast<std::size_t>(room)) return -1;
  std::memcpy(into, the.password.data(), size);
  return static_cast<int>(size);
}

// ---- what a file consists of

// All blocks of one kind in a file; `read` gives the next one. `kind` is for the message.
template <class Owner, class Read>
std::vector<Owner> all_in(const source& from, const char* kind, Read read) {
  const error_scope scope;
  const bio_ptr bytes = opened(from);
  std::vector<Owner> all;
  password_request none;
  while (Owner next{read(bytes.get(), nullptr, give_password, &none)})
    all.push_back(std::move(next));
  const unsigned long last = ERR_peek_last_error();
  if (ERR_GET_LIB(last) != ERR_LIB_PEM || ERR_GET_REASON(last) != PEM_R_NO_START_LINE)
    throw_unusable(from.name, std::string("damaged ") + kind + ": " + newest_reason());
  if (all.empty()) throw_unusable(from.name, std::string("no ") + kind + " in it (in PEM format)");
  return all;
}
inline certificate_list certificates_in(const source& from) {
  return all_in<x509_ptr>(from, "certificate", PEM_read_bio_X509);
}

inline crl_list revocation_lists_in(const source& from) {
  return all_in<crl_ptr>(from, "revocation list", PEM_read_bio_X509_CRL);
}

inline key_ptr key_in(const source& from, std::string_view password) {
  const error_scope scope;
  const bio_ptr bytes = opened(from);
  password_request request{password};
  key_ptr key{PEM_read_bio_PrivateKey(bytes.get(), nullptr, give_password, &request)};
  if (key) return key;
  if (from.text.find("PRIVATE KEY-----") == std::string::npos)
    throw_unusable(from.name, "no key in it (in PEM format)");
  if (!request.asked) throw_unusable(from.name, "damaged key: " + newest_reason());
  throw_unusable(from.name, password.empty() ? "the key is encrypted, and no password was given"
                                             : "wrong password");
}

// ---- checks

inline std::string date_of(const ASN1_TIME* when) {
  std::tm t{};
  if (ASN1_TIME_to_tm(when, &t) != 1) return "an unreadable date";
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02d-%02d %02d:%02d:%02d UTC", t.tm_year + 1900,
                t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
  return text;
}

// "CN = example.org"
inline std::string subject_of(const X509* of) {
  const bio_ptr text{BIO_new(BIO_s_mem())};
  if (!text) throw_no_memory();
  X509_NAME_print_ex(text.get(), X509_get_subject_name(of), 0,
                     XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB);
  char* data = nullptr;
  const long size = BIO_get_mem_data(text.get(), &data);
  return size > 0 ? std::string(data, static_cast<std::size_t>(size))
                  : "a certificate without name";
}

inline void check_dates(const X509* of, const std::string& name) {
  const ASN1_TIME* const first = X509_get0_notBefore(of);
  const ASN1_TIME* const last = X509_get0_notAfter(of);
  if (X509_cmp_current_time(last) <= 0)
    throw_unusable(name, subject_of(of) + " expired on " + date_of(last));
  if (X509_cmp_current_time(first) >= 0)
    throw_unusable(name, subject_of(of) + " is not yet valid: it starts on " + date_of(first));
}

// Checks what can be checked without an SSL_CTX. `chain` has no leaf.
inline identity_ptr make_identity(x509_ptr leaf, key_ptr key, certificate_list chain,
                                  const std::string& certificates, const std::string& keys) {
  const error_scope scope;
  check_dates(leaf.get(), certificates);
  for (const x509_ptr& c : chain) check_dates(c.get(), certificates);
  if (X509_check_private_key(leaf.get(), key.get()) != 1)
    throw_unusable(keys, "the key does not fit the certificate in " + certificates);
  auto made = std::make_shared<identity>();
  made->chain.reset(sk_X509_new_null());
  if (!made->chain) throw_no_memory();
  for (x509_ptr& c : chain) {
    if (sk_X509_push(made->chain.get(), c.get()) <= 0) throw_no_memory();
    (void)c.release();
  }
  made->file = certificates;
  made->leaf = std::move(leaf);
  made->key = std::move(key);
  return made;
}

// ---- a certificate with its key

inline identity_ptr identity_of(const source& certificates, const source& key,
                                std::string_view password) {
  certificate_list chain = certificates_in(certificates);
  key_ptr the_key = key_in(key, password);
  x509_ptr leaf = std::move(chain.front());
  chain.erase(chain.begin());
  return make_identity(std::move(leaf), std::move(the_key), std::move(chain), certificates.name,
                       key.name);
}

}}}} // namespace rouse::ROUSE_ABI::tls::detail

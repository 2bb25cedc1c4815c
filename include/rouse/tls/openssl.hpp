// Owners of OpenSSL's objects.
#pragma once
#include <rouse/config.hpp>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pkcs12.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <climits>
#include <memory>
#include <string>
#include <string_view>

#if OPENSSL_VERSION_NUMBER < 0x30000000L
#error "rouse: tls.hpp needs OpenSSL 3.0 or later"
#endif

namespace rouse { inline namespace ROUSE_ABI { namespace tls { namespace detail {

template <auto Free>
struct freed_by {
  template <class T>
  void operator()(T* owned) const noexcept {
    Free(owned);
  }
};

inline void free_certificates(STACK_OF(X509) * all) noexcept { sk_X509_pop_free(all, X509_free); }

using bio_ptr = std::unique_ptr<BIO, freed_by<BIO_free>>;
using crl_ptr = std::unique_ptr<X509_CRL, freed_by<X509_CRL_free>>;
using key_ptr = std::unique_ptr<EVP_PKEY, freed_by<EVP_PKEY_free>>;
using pkcs12_ptr = std::unique_ptr<PKCS12, freed_by<PKCS12_free>>;
using session_ptr = std::unique_ptr<SSL_SESSION, freed_by<SSL_SESSION_free>>;
using ssl_ptr = std::unique_ptr<SSL, freed_by<SSL_free>>;
using ssl_ctx_ptr = std::unique_ptr<SSL_CTX, freed_by<SSL_CTX_free>>;
using store_ptr = std::unique_ptr<X509_STORE, freed_by<X509_STORE_free>>;
using x509_ptr = std::unique_ptr<X509, freed_by<X509_free>>;
using x509_stack_ptr = std::unique_ptr<STACK_OF(X509), freed_by<free_certificates>>;

// Empties the queue of errors, which OpenSSL keeps per thread until they are read. Most often it is
// empty, and ERR_clear_error would still cost a good part of what encrypting a short record does.
inline void clear_errors() noexcept {
  if (ERR_peek_error() != 0) ERR_clear_error();
}

// This scope leaves no error behind.
struct error_scope {
  error_scope() noexcept { clear_errors(); }
  ~error_scope() { clear_errors(); }
  error_scope(const error_scope&) = delete;
  error_scope& operator=(const error_scope&) = delete;
};

// The newest error of this thread in words.
inline std::string newest_reason() {
  const char* const words = ERR_reason_error_string(ERR_peek_last_error());
  return words ? words : "OpenSSL gives no reason";
}

// Reads from bytes that outlive it. Null: too many bytes, or memory is short.
inline bio_ptr reads_from(std::string_view bytes) noexcept {
  if (bytes.size() > INT_MAX) return nullptr;
  return bio_ptr(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
}

}}}} // namespace rouse::ROUSE_ABI::tls::detail

// The errors of TLS, and how OpenSSL's errors become one of them.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/detail/immortal.hpp>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <string>
#include <system_error>
#include <type_traits>

namespace rouse { inline namespace ROUSE_ABI { namespace tls {

/// What went wrong with TLS: `ec == rouse::tls::error::certificate_rejected`. The message of the
/// error code adds the reason: "certificate rejected: certificate has expired".
enum class error : int {
  truncated = 1, ///< the stream ended without close_notify: its end may have been cut off
  handshake_failed, ///< the two sides found no common ground, or the peer refused
  not_tls, ///< the peer does not speak TLS
  certificate_rejected, ///< the peer's certificate, or its name, did not pass verification
  protocol_violated, ///< after the handshake: a record that is damaged or out of order, an alert
  bad_certificate_file, ///< a certificate, key or revocation list of our own cannot be used
  no_roots, ///< a client has no root certificates: the system's are missing
};

/// The category of TLS errors. Its codes are those of `error`, and the ones that add a reason.
[[nodiscard]] inline const std::error_category& category() noexcept;

[[nodiscard]] inline std::error_condition make_error_condition(error what) noexcept {
  return {static_cast<int>(what), category()};
}
[[nodiscard]] inline std::error_code make_error_code(error what) noexcept {
  return {static_cast<int>(what), category()};
}

namespace detail {

// The numbers of the category: the errors themselves; from `verify` on, with X509_V_ERR_... as the
// reason; from `handshake` and `protocol` on, with a reason code of OpenSSL's library of TLS.
inline constexpr int verify = 0x1000;
inline constexpr int handshake = 0x10000;
inline constexpr int protocol = 0x20000;
inline constexpr int reasons = 0x10000;

class tls_category final : public std::error_category {
public:
  const char* name() const noexcept override { return "rouse.tls"; }
  std::string message(int number) const override {
    std::string words = words_of(kind_of(number));
    if (const char* reason = reason_of(number)) words.append(": ").append(reason);
    return words;
  }
  std::error_condition default_error_condition(int number) const noexcept override {
    return make_error_condition(kind_of(number));
  }

private:
  static error kind_of(int number) noexcept {
    if (number < verify) return static_cast<error>(number);
    if (number < handshake) return error::certificate_rejected;
    return number < protocol ? error::handshake_failed : error::protocol_violated;
  }
  static const char* words_of(error what) noexcept {
    switch (what) {
    case error::truncated:
      return "stream truncated: it ended without close_notify";
    case error::handshake_failed:
      return "TLS handshake failed";
    case error::not_tls:
      return "the peer does not speak TLS";
    case error::certificate_rejected:
      return "certificate rejected";
    case error::protocol_violated:
      return "TLS protocol error";
    case error::bad_certificate_file:
      return "unusable certificate";
    case error::no_roots:
      return "no root certificates were found";
    default:
      return "unknown error of TLS";
    }
  }
  // Null: there is none.
  static const char* reason_of(int number) noexcept {
    if (number < verify) return nullptr;
    if (number < handshake) return X509_verify_cert_error_string(number - verify);
    const int reason = number % reasons;
    return reason == 0 ? nullptr : ERR_reason_error_string(ERR_PACK(ERR_LIB_SSL, 0, reason));
  }
};

} // namespace detail

inline const std::error_category& category() noexcept {
  const std::error_category& only = rouse::detail::immortal<detail::tls_category>();
  rouse::detail::tls_category_of_failures.store(&only, std::memory_order_relaxed);
  return only;
}

namespace detail {

// A failure by its number in the category.
inline failure numbered(int number) noexcept {
  (void)category(); // a failure finds it from now on
  return failure::from_tls(number);
}
inline failure failed(error what) noexcept { return numbered(static_cast<int>(what)); }

// The oldest reason of OpenSSL's library of TLS in this thread's error queue; 0: none. Empties the
// queue.
inline int take_reason() noexcept {
  int reason = 0;
  while (const unsigned long next = ERR_get_error()) {
    if (reason == 0 && ERR_GET_LIB(next) == ERR_LIB_SSL) reason = ERR_GET_REASON(next);
  }
  return reason;
}

// Why a handshake failed.
inline failure handshake_failure(const SSL* ssl) noexcept {
  const int reason = take_reason();
  const long verified = SSL_get_verify_result(ssl);
  switch (reason) {
  case SSL_R_CERTIFICATE_VERIFY_FAILED:
    return numbered(verify + static_cast<int>(verified));
  case SSL_R_WRONG_VERSION_NUMBER:
  case SSL_R_HTTP_REQUEST:
  case SSL_R_HTTPS_PROXY_REQUEST:
    return failed(error::not_tls);
  default:
    return numbered(handshake + reason % reasons);
  }
}

// Why a read or a write after the handshake failed.
inline failure protocol_failure() noexcept { return numbered(protocol + take_reason() % reasons); }

} // namespace detail

}}} // namespace rouse::ROUSE_ABI::tls

template <>
struct std::is_error_condition_enum<rouse::tls::error> : std::true_type {};

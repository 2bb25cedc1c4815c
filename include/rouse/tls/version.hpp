// The versions of TLS.
#pragma once
#include <rouse/config.hpp>

#include <openssl/tls1.h>

namespace rouse { inline namespace ROUSE_ABI { namespace tls {

/// A version of TLS, by OpenSSL's number. Earlier versions are not safe, and not supported.
enum class version : int { tls1_2 = TLS1_2_VERSION, tls1_3 = TLS1_3_VERSION };

}}} // namespace rouse::ROUSE_ABI::tls

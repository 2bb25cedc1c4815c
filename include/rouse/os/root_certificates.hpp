// The root certificates that the operating system itself keeps.
#pragma once
#include <rouse/config.hpp>
#include <rouse/os/windows/root_certificates.hpp>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

#if !ROUSE_WINDOWS
/// Calls `f(std::span<const unsigned char>)` for each certificate, in DER, and returns whether the
/// system keeps roots at all: not here, where roots are in files that OpenSSL finds.
template <class F>
bool each_root_certificate(F) {
  return false;
}
#endif

}}} // namespace rouse::ROUSE_ABI::os

// The root certificates that the operating system itself keeps.
#pragma once
#include <rouse/config.hpp>
#include <rouse/os/windows/root_certificates.hpp>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

#if !ROUSE_WINDOWS
/// Calls `f(std::span<const unsigned char>)` for each certificate, in DER: for none here, where
/// roots are in files that OpenSSL finds.
template <class F>
void each_root_certificate(F) {}
#endif

}}} // namespace rouse::ROUSE_ABI::os

// The root certificates that Windows trusts.
#pragma once
#include <rouse/config.hpp>

#include <cstddef>
#include <span>

#if ROUSE_WINDOWS
#include <winsock2.h>

#include <windows.h>

#include <wincrypt.h>

// Macros of <wincrypt.h> that are names of types in OpenSSL.
#undef X509_NAME
#undef X509_EXTENSIONS
#undef X509_CERT_PAIR
#undef PKCS7_ISSUER_AND_SERIAL
#undef PKCS7_SIGNER_INFO
#undef OCSP_REQUEST
#undef OCSP_RESPONSE

#if defined(_MSC_VER)
#pragma comment(lib, "crypt32")
#endif

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// Calls `f(std::span<const unsigned char>)` for each certificate of the user's and the machine's
/// store of roots, in DER. Windows fetches some roots only when one of its own programs needs them.
/// True: the system keeps its roots there, and in no files.
///
/// The program links crypt32. Source: CertOpenSystemStoreW, CertEnumCertificatesInStore.
template <class F>
bool each_root_certificate(F f) {
  const HCERTSTORE store = ::CertOpenSystemStoreW(0, L"ROOT");
  if (!store) return true;
  PCCERT_CONTEXT next = nullptr;
  while ((next = ::CertEnumCertificatesInStore(store, next)))
    f(std::span<const unsigned char>{next->pbCertEncoded, std::size_t{next->cbCertEncoded}});
  ::CertCloseStore(store, 0);
  return true;
}

}}} // namespace rouse::ROUSE_ABI::os
#endif

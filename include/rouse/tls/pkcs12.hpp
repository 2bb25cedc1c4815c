// A certificate with its key and its chain in one file, PKCS#12 (".p12", ".pfx").
#pragma once
#include <rouse/config.hpp>
#include <rouse/tls/certificates.hpp>
#include <rouse/tls/openssl.hpp>

#include <openssl/pkcs12.h>
#include <openssl/x509v3.h>

#include <climits>
#include <string>
#include <string_view>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace tls { namespace detail {

// The certificates that lead from `leaf` upwards, in order; a PKCS#12 file has them in any order.
inline certificate_list ordered(const X509* leaf, STACK_OF(X509) * any_order) {
  certificate_list chain;
  X509* below = const_cast<X509*>(leaf); // X509_check_issued takes no const, and changes nothing
  for (int i = 0; i < sk_X509_num(any_order);) {
    X509* const next = sk_X509_value(any_order, i);
    const bool issued = X509_check_issued(next, below) == X509_V_OK;
    if (!issued) {
      ++i;
      continue;
    }
    chain.push_back(x509_ptr(sk_X509_delete(any_order, i)));
    below = next;
    i = 0;
  }
  return chain;
}

inline pkcs12_ptr pkcs12_in(const source& from, const std::string& password) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(from.text.data());
  pkcs12_ptr bag;
  if (from.text.size() <= INT_MAX)
    bag.reset(d2i_PKCS12(nullptr, &bytes, static_cast<long>(from.text.size())));
  if (!bag) throw_unusable(from.name, "not a PKCS#12 file");
  const int size = static_cast<int>(password.size());
  if (PKCS12_mac_present(bag.get()) && PKCS12_verify_mac(bag.get(), password.c_str(), size) != 1 &&
      !(password.empty() && PKCS12_verify_mac(bag.get(), nullptr, 0) == 1))
    throw_unusable(from.name, password.empty() ? "it is encrypted, and no password was given"
                                               : "wrong password");
  return bag;
}

inline identity_ptr identity_of_pkcs12(const source& from, std::string_view password) {
  const error_scope scope;
  source secret{{}, std::string(password)};
  const pkcs12_ptr bag = pkcs12_in(from, secret.text);
  EVP_PKEY* key = nullptr;
  X509* leaf = nullptr;
  STACK_OF(X509)* others = nullptr;
  const int parsed = PKCS12_parse(bag.get(), secret.text.c_str(), &key, &leaf, &others);
  key_ptr the_key{key};
  x509_ptr the_leaf{leaf};
  const x509_stack_ptr the_others{others};
  if (parsed != 1) throw_unusable(from.name, "cannot be decrypted: " + newest_reason());
  if (!the_key) throw_unusable(from.name, "no key in it");
  if (!the_leaf) throw_unusable(from.name, "no certificate of the key in it");
  certificate_list chain;
  if (others) chain = ordered(leaf, others);
  return make_identity(std::move(the_leaf), std::move(the_key), std::move(chain), from.name,
                       from.name);
}

}}}} // namespace rouse::ROUSE_ABI::tls::detail

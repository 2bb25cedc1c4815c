// The index of a network interface, from its name: the scope in "fe80::1%eth0".
#pragma once
#include <rouse/config.hpp>

#include <cstdint>
#include <string_view>

#if !ROUSE_WINDOWS
#include <net/if.h>
#endif

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// Returns 0 if no interface of this machine has that name, and always on Windows, where scopes are
/// written as numbers.
///
/// Cost: three system calls. Source: if_nametoindex(3).
inline std::uint32_t interface_index(std::string_view name) noexcept {
#if !ROUSE_WINDOWS
  char text[IF_NAMESIZE] = {};
  if (name.size() >= sizeof text || name.find('\0') != name.npos) return 0;
  name.copy(text, name.size());
  return ::if_nametoindex(text);
#else
  (void)name;
  return 0;
#endif
}

}}} // namespace rouse::ROUSE_ABI::os

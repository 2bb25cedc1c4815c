// The counterpart of install/linux/interruption.hpp. Windows has no signals that interrupt a call.
#pragma once
#include <rouse/config.hpp>

#if ROUSE_WINDOWS
namespace rouse { inline namespace ROUSE_ABI { namespace os {

constexpr bool inside_handler() noexcept { return false; }
inline void leave_handlers() noexcept {}

struct interruption {
  static constexpr bool is_due() noexcept { return false; }
  static constexpr const char* call() noexcept { return "blocking call"; }
};

}}} // namespace rouse::ROUSE_ABI::os
#endif

// Windows has no fork(2): nothing is ever copied into a child process.
#pragma once
#include <rouse/config.hpp>

#if ROUSE_WINDOWS
namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// What calls a function in each forked child elsewhere.
class fork_hook {
public:
  using function = void(void* owner) noexcept;
  fork_hook(function*, void*) noexcept {}
};

/// The process that made it, which is the only one that can see it.
class process_mark {
public:
  [[nodiscard]] static constexpr bool is_here() noexcept { return true; }
  static void move_here() noexcept {}
  static void nap() noexcept {}
};

}}} // namespace rouse::ROUSE_ABI::os
#endif

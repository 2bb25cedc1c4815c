// Stand-ins for the classes of os/posix/fork.hpp. Windows has no fork(2).
#pragma once
#include <rouse/config.hpp>

#if ROUSE_WINDOWS
namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// Does nothing. On Linux it calls a function in each forked child.
class fork_hook {
public:
  using function = void(void* owner) noexcept;
  fork_hook(function*, void*) noexcept {}
};

/// Does nothing. Only the process that made it can see it.
class process_mark {
public:
  [[nodiscard]] static constexpr bool is_here() noexcept { return true; }
  static void move_here() noexcept {}
  static void nap() noexcept {}
};

}}} // namespace rouse::ROUSE_ABI::os
#endif

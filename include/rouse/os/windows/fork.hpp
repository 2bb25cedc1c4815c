// Windows has no fork(2): nothing is ever copied into a child process.
#pragma once
#include <rouse/config.hpp>

#if ROUSE_WINDOWS
namespace rouse::inline ROUSE_ABI::os {

/// What calls a function in each forked child elsewhere.
class fork_hook {
public:
  using function = void(void* owner) noexcept;
  fork_hook(function*, void*) noexcept {}
};

} // namespace rouse::inline ROUSE_ABI::os
#endif

// try and catch, for builds with and without exceptions.
#pragma once
#include <rouse/config.hpp>

#include <type_traits>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// Returns `f()`. If that throws, returns `caught()`, which is called inside the handler: there
/// `throw;` and std::current_exception() refer to the exception. In a build without exceptions,
/// `caught` is never called. Inlined like a try block, since it is on the path of each call.
template <class F, class Caught>
ROUSE_ALWAYS_INLINE std::invoke_result_t<F&> guarded(F&& f, [[maybe_unused]] Caught&& caught) {
#if ROUSE_EXCEPTIONS
  try {
    return f();
  } catch (...) {
    return caught();
  }
#else
  return f();
#endif
}

}}} // namespace rouse::ROUSE_ABI::detail

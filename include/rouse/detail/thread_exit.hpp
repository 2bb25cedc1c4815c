// Objects of which each thread has its own, destroyed as the thread exits.
#pragma once
#include <rouse/config.hpp>

#include <type_traits>

#if ROUSE_EMULATED_TLS
#include <cxxabi.h>
#endif

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// The calling thread's T, made by its first call and destroyed as the thread exits.
///
/// GCC for Windows emulates thread_local and frees a thread's variables before it runs their
/// destructors. There the variable is a pointer, and the object is on the heap. A call made by a
/// destructor that runs later makes a new object, which is destroyed as well.
///
/// @param nothrow  nothing, or `std::nothrow`: null instead of std::bad_alloc when memory is short.
template <class T, class... Nothrow>
T* thread_object([[maybe_unused]] Nothrow... nothrow) noexcept(sizeof...(nothrow) != 0) {
  static_assert(std::is_nothrow_default_constructible_v<T>);
#if ROUSE_EMULATED_TLS
  static thread_local T* mine = nullptr;
  if (!mine) {
    mine = new (nothrow...) T;
    const auto destroy = [](void* object) noexcept { delete static_cast<T*>(object); };
    if (mine) abi::__cxa_thread_atexit(destroy, mine, nullptr);
  }
  return mine;
#else
  static thread_local T mine;
  return &mine;
#endif
}

}}} // namespace rouse::ROUSE_ABI::detail

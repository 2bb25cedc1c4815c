// Objects of which each thread has its own, destroyed as the thread exits.
#pragma once
#include <rouse/config.hpp>

#include <type_traits>

#if ROUSE_EMULATED_TLS
#include <cxxabi.h>
#endif

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// Returns the calling thread's T, which its first call makes and which is destroyed as the thread
/// exits.
///
/// GCC for Windows emulates thread_local: it frees a thread's variables before it runs their
/// destructors. There the variable is a pointer and the T is on the heap. If a destructor that runs
/// after that of the T calls this again, it gets a new T.
///
/// @param nothrow  nothing, or `std::nothrow`. With it, the result is null when memory is short;
/// without it, std::bad_alloc is thrown. Both happen with the emulation only.
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

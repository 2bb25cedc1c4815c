// An object of static storage duration that is never destroyed.
#pragma once
#include <rouse/config.hpp>

#include <new>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// The only object of type T, made by the first call. Destructors of other static objects may use
/// it. Since no destructor is registered, a thread that makes it while another thread is in exit()
/// does not need the C library's lock, which exit() holds.
template <class T>
T& immortal() noexcept(noexcept(T())) {
  alignas(T) static unsigned char room[sizeof(T)];
  static T* const made = ::new (static_cast<void*>(room)) T;
  return *made;
}

}}} // namespace rouse::ROUSE_ABI::detail

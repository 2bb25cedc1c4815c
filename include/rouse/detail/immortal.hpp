// An object of static storage that is never destroyed.
#pragma once
#include <rouse/config.hpp>

#include <new>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// The only T of its kind, made by the first call. It may be used by destructors of other static
/// objects; and a thread that makes it while exit() runs in another one takes no lock of the C
/// library, which exit() would hold.
template <class T>
T& immortal() noexcept(noexcept(T())) {
  alignas(T) static unsigned char room[sizeof(T)];
  static T* const made = ::new (static_cast<void*>(room)) T;
  return *made;
}

}}} // namespace rouse::ROUSE_ABI::detail

// A member that can be left alive when the object that holds it is destroyed.
#pragma once
#include <rouse/config.hpp>

#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// Holds a T and destroys it, unless `leak` was called: then the T stays usable as long as the
/// memory exists, which for a static object is until the process ends.
template <class T>
class leakable {
public:
  template <class... Args>
  explicit leakable(Args&&... args) : value(std::forward<Args>(args)...) {}
  leakable(const leakable&) = delete;
  leakable& operator=(const leakable&) = delete;
  ~leakable() {
    if (!leaked_) value.~T();
  }

  void leak() noexcept { leaked_ = true; }

  union {
    T value;
  };

private:
  bool leaked_ = false;
};

}}} // namespace rouse::ROUSE_ABI::detail

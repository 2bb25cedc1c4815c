// The loops that the calling thread currently runs.
#pragma once
#include <rouse/config.hpp>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// Marks a scope in which the calling thread runs the loop of `what`, an engine or a scheduler.
/// Scopes of one thread nest.
template <class T>
class running {
public:
  explicit running(T& what) noexcept : what_(what), outer_(innermost()) { innermost() = this; }
  running(const running&) = delete;
  running& operator=(const running&) = delete;
  ~running() { innermost() = outer_; }

  /// The T of the innermost scope of the calling thread, or null if there is none.
  [[nodiscard]] static T* here() noexcept {
    const running* const r = innermost();
    return r ? &r->what_ : nullptr;
  }
  /// Whether the calling thread runs the loop of `what`, innermost or not.
  [[nodiscard]] static bool is(const T& what) noexcept {
    const running* r = innermost();
    while (r && &r->what_ != &what) r = r->outer_;
    return r != nullptr;
  }

private:
  ROUSE_NEVER_INLINE static running*& innermost() noexcept {
    static constinit thread_local running* r = nullptr;
    return r;
  }

  T& what_;
  running* const outer_;
};

}}} // namespace rouse::ROUSE_ABI::detail

// How one thread sleeps until another one says something: a condition variable.
#pragma once
#include <rouse/config.hpp>
#include <rouse/detail/immortal.hpp>

#if ROUSE_WINDOWS
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// Bits that any thread raises, and that its owner, one thread, waits for. They stay raised.
///
/// The owner may destroy it as soon as it has seen the last bit that it knows will come. Source:
/// std::condition_variable (WaitOnAddress would want another library to link).
class thread_event {
public:
  static constexpr std::uint32_t all = 0x7fffffff; ///< the bits that may be raised

  [[nodiscard]] std::uint32_t raised() const noexcept {
    const std::lock_guard lock(mutex());
    return bits_;
  }

  /// What the raiser wrote before happens-before what the owner does once it has seen the bits.
  void raise(std::uint32_t bits) noexcept {
    const std::lock_guard lock(mutex());
    bits_ |= bits;
    wake_.notify_one(); // under the lock: the owner may destroy the event as soon as it is free
  }

  /// Sleeps until a bit is raised. The owner only.
  std::uint32_t wait() noexcept {
    std::unique_lock lock(mutex());
    while (bits_ == 0) wake_.wait(lock);
    return bits_;
  }

private:
  // One for all, since it must outlive whichever event it guards. (A static scheduler, too.)
  static std::mutex& mutex() noexcept { return rouse::detail::immortal<std::mutex>(); }

  std::uint32_t bits_ = 0;
  std::condition_variable wake_;
};

}}} // namespace rouse::ROUSE_ABI::os
#endif

// An event that one thread waits for and others raise: by futex(2) on Linux, elsewhere by a
// condition variable.
#pragma once
#include <rouse/config.hpp>
#include <rouse/detail/immortal.hpp>
#include <rouse/os/fork.hpp>
#include <rouse/os/linux/thread_event.hpp>

#if !ROUSE_LINUX
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <new>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// A set of bits. Any thread raises bits; one thread, the owner, waits for them. Raised bits stay
/// raised.
///
/// The owner may destroy the event as soon as it has seen the last bit that will be raised. Source:
/// std::condition_variable (on Windows, WaitOnAddress would require another library to link).
class thread_event {
public:
  static constexpr std::uint32_t all = 0x7fffffff; ///< the bits that may be raised

  [[nodiscard]] std::uint32_t raised() const noexcept {
    const std::lock_guard lock(mutex());
    return bits_;
  }

  /// What the caller wrote before happens-before what the owner does after it has seen the bits.
  void raise(std::uint32_t bits) noexcept {
    const std::lock_guard lock(mutex());
    bits_ |= bits;
    // Under the lock: the owner may destroy the event as soon as the lock is free.
    wake_.notify_one();
  }

  /// Sleeps until a bit is raised, and returns the raised bits. Only the owner may call it.
  std::uint32_t wait() noexcept {
    std::unique_lock lock(mutex());
    while (bits_ == 0) wake_.wait(lock);
    return bits_;
  }

private:
  // One mutex for all events, since it must outlive the event that it guards. It is never
  // destroyed, because an event may belong to a static scheduler. A forked child gets a new one: a
  // thread of the parent may have held the old one.
  struct guard {
    std::mutex mutex;
    fork_hook in_child{[](void* m) noexcept { ::new (m) std::mutex; }, &mutex};
  };
  static std::mutex& mutex() noexcept { return rouse::detail::immortal<guard>().mutex; }

  std::uint32_t bits_ = 0;
  std::condition_variable wake_;
};

}}} // namespace rouse::ROUSE_ABI::os
#endif

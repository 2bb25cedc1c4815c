// An event that one thread waits for and others raise, by futex(2).
#pragma once
#include <rouse/config.hpp>

#if ROUSE_LINUX
#include <atomic>
#include <cstdint>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// A set of bits. Any thread raises bits; one thread, the owner, waits for them. Raised bits stay
/// raised.
///
/// The owner may destroy the event as soon as it has seen the last bit that will be raised. Cost:
/// raising is a system call only while the owner sleeps. Source: futex(2), Linux 2.6.22.
class thread_event {
public:
  static constexpr std::uint32_t all = 0x7fffffff; ///< the bits that may be raised

  [[nodiscard]] std::uint32_t raised() const noexcept {
    return word_.load(std::memory_order_acquire) & all; // pairs with raise()
  }

  /// What the caller wrote before happens-before what the owner does after it has seen the bits.
  void raise(std::uint32_t bits) noexcept {
    // After the fetch_or the owner may have destroyed the event. FUTEX_WAKE uses the address only
    // as a key and does not access the memory. Another thread that sleeps on the same address by
    // then wakes spuriously and checks its word again.
    if (word_.fetch_or(bits, std::memory_order_acq_rel) & asleep)
      ::syscall(SYS_futex, &word_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }

  /// Sleeps until a bit is raised, and returns the raised bits. Only the owner may call it.
  std::uint32_t wait() noexcept {
    std::uint32_t now = 0;
    if (word_.compare_exchange_strong(now, asleep, std::memory_order_acquire)) {
      while ((now = word_.load(std::memory_order_acquire)) == asleep)
        ::syscall(SYS_futex, &word_, FUTEX_WAIT_PRIVATE, asleep, nullptr, nullptr, 0);
    }
    return now & all;
  }

private:
  static constexpr std::uint32_t asleep = 0x80000000;
  std::atomic<std::uint32_t> word_{0};
};

}}} // namespace rouse::ROUSE_ABI::os
#endif

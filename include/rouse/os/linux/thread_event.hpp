// How one thread sleeps until another one says something: futex(2).
#pragma once
#include <rouse/config.hpp>

#if ROUSE_LINUX
#include <atomic>
#include <cstdint>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// Bits that any thread raises, and that its owner, one thread, waits for. They stay raised.
///
/// The owner may destroy it as soon as it has seen the last bit that it knows will come. Cost:
/// raising is a system call only where the owner sleeps. Source: futex(2), Linux 2.6.22.
class thread_event {
public:
  static constexpr std::uint32_t all = 0x7fffffff; ///< the bits that may be raised

  [[nodiscard]] std::uint32_t raised() const noexcept {
    return word_.load(std::memory_order_acquire) & all; // partner of raise()
  }

  /// What the raiser wrote before happens-before what the owner does once it has seen the bits.
  void raise(std::uint32_t bits) noexcept {
    // From here on the event may be gone; the kernel takes its address for a name and reads nothing
    // there, and whoever else sleeps under that name looks again.
    if (word_.fetch_or(bits, std::memory_order_acq_rel) & asleep)
      ::syscall(SYS_futex, &word_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }

  /// Sleeps until a bit is raised. The owner only.
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

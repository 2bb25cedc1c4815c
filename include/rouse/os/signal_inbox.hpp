// What has come for one `signals` object, where a signal handler leaves it and the loop finds it.
//
//   handler: count of its kind + 1, was it 0?  -> writes the kind's byte into the socket
//   loop:    reads a byte, count - 1, is it 0? -> else writes the byte again
//
// So the socket holds at most one byte a kind, however many signals come: its buffer is never full,
// no kind drives another out, and kinds take turns.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/socket.hpp>

#include <atomic>
#include <cstdint>

#if ROUSE_LINUX
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace rouse { inline namespace ROUSE_ABI { namespace os {

#if ROUSE_LINUX
/// The number of the process that this code runs in, which a forked child has of its own.
inline int this_process() noexcept { return static_cast<int>(::getpid()); }

/// Writes one byte, without waiting. Safe in a signal handler: a bare system call, which is no
/// cancellation point either, as send(2) is.
inline bool send_byte(native_handle_type to, unsigned char byte) noexcept {
  return ::syscall(SYS_sendto, to, &byte, std::size_t{1}, MSG_DONTWAIT | MSG_NOSIGNAL, nullptr,
                   0) == 1;
}
#else
inline int this_process() noexcept { return 0; } // nothing copies a process
inline bool send_byte(native_handle_type to, unsigned char byte) noexcept {
  return ::send(to, reinterpret_cast<const char*>(&byte), 1, 0) == 1;
}
#endif

/// The signals of one object that have come and were not taken yet.
///
/// Threads: any. `add` is async-signal-safe.
class signal_inbox {
public:
  static constexpr int most_numbers = 64;
  static constexpr std::uint64_t bit(int n) noexcept { return std::uint64_t{1} << (n - 1); }

  signal_inbox() noexcept = default;
  signal_inbox(const signal_inbox&) = delete;
  signal_inbox& operator=(const signal_inbox&) = delete;
  ~signal_inbox() {
    if (to_ != no_handle) close_socket(to_);
  }

  /// From now on signals are announced by bytes in the socket `to`, which is the inbox's own then.
  void announce_in(native_handle_type to) noexcept { to_ = to; }
  /// Whether it was made in this process; a forked child only has a copy.
  [[nodiscard]] bool of_this_process() const noexcept { return process_ == this_process(); }

  /// Signal `n` has come.
  void add(int n) noexcept {
    if (counts_[n - 1].fetch_add(1) == 0) announce(n);
  }
  /// The byte of `n` was read, and one signal is told of.
  void take(int n) noexcept {
    if (counts_[n - 1].fetch_sub(1) != 1) announce(n);
  }
  /// The byte of `n` was read, but nothing was told of.
  void put_back(int n) noexcept { announce(n); }

  // ---- the table's
  std::uint64_t wanted = 0; ///< bit n - 1: signal n
  std::atomic<signal_inbox*> next{nullptr};
  void (*leave)(signal_inbox&) noexcept = nullptr; ///< ends the subscription, where there is one

private:
  void announce(int n) noexcept {
    if (!of_this_process()) return; // the socket is the parent's
    // Only without memory does it fail; the next one of the kind tries again.
    if (!send_byte(to_, static_cast<unsigned char>(n))) counts_[n - 1].store(0);
  }

  native_handle_type to_ = no_handle;
  const int process_ = this_process();
  std::atomic<std::uint32_t> counts_[most_numbers] = {};
};

}}} // namespace rouse::ROUSE_ABI::os

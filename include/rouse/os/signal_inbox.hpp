// The arrived signals of one `signals` object: the signal handler counts them, and bytes in a
// socket announce them to the loop. The byte is the number of the signal.
//
//   handler: increments the count of signal n; if it was 0, writes byte n into the socket
//   loop:    reads byte n, decrements the count of signal n; if it is not 0, writes byte n again
//
// So the socket holds at most one byte for each signal number, however many signals arrive. Its
// buffer is never full, no signal displaces another, and the signals take turns.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/socket.hpp>

#include <atomic>
#include <cstdint>

#if !ROUSE_WINDOWS
#include <unistd.h>
#endif
#if ROUSE_LINUX
#include <sys/syscall.h>
#endif

namespace rouse { inline namespace ROUSE_ABI { namespace os {

#if !ROUSE_WINDOWS
/// The number of the current process, which differs in a forked child.
inline int this_process() noexcept { return static_cast<int>(::getpid()); }

/// Writes one byte without waiting. Async-signal-safe. On Linux a raw system call, which unlike
/// send(2) is no cancellation point either.
inline bool send_byte(native_handle_type to, unsigned char byte) noexcept {
#if !ROUSE_LINUX
  return ::send(to, &byte, 1, MSG_DONTWAIT | no_signal) == 1;
#else
  return ::syscall(SYS_sendto, to, &byte, std::size_t{1}, MSG_DONTWAIT | MSG_NOSIGNAL, nullptr,
                   0) == 1;
#endif
}
#else
inline int this_process() noexcept { return 0; } // there is no fork
inline bool send_byte(native_handle_type to, unsigned char byte) noexcept {
  return ::send(to, reinterpret_cast<const char*>(&byte), 1, 0) == 1;
}
#endif

/// The signals of one `signals` object that have arrived and were not taken yet.
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

  /// Announces signals by bytes in the socket `to` from now on. The inbox owns that socket.
  void announce_in(native_handle_type to) noexcept { to_ = to; }
  /// Whether the inbox was made in this process. A forked child has only a copy.
  [[nodiscard]] bool of_this_process() const noexcept { return process_ == this_process(); }

  /// Adds signal `n`, which has arrived.
  void add(int n) noexcept {
    if (counts_[n - 1].fetch_add(1) == 0) announce(n);
  }
  /// Takes one signal `n`. The caller has read its byte and delivers the signal.
  void take(int n) noexcept {
    if (counts_[n - 1].fetch_sub(1) != 1) announce(n);
  }
  /// Writes the byte of `n` again. The caller has read it but does not deliver the signal.
  void put_back(int n) noexcept { announce(n); }

  // ---- for the signal_table
  std::uint64_t wanted = 0; ///< bit n - 1: signal n
  std::atomic<signal_inbox*> next{nullptr};
  void (*leave)(signal_inbox&) noexcept = nullptr; ///< ends the subscription, if any

private:
  void announce(int n) noexcept {
    if (!of_this_process()) return; // the socket is the parent's
    // Fails only if memory runs out. The next signal of this number tries again.
    if (!send_byte(to_, static_cast<unsigned char>(n))) counts_[n - 1].store(0);
  }

  native_handle_type to_ = no_handle;
  const int process_ = this_process();
  std::atomic<std::uint32_t> counts_[most_numbers] = {};
};

}}} // namespace rouse::ROUSE_ABI::os

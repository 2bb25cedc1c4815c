// How a signal reaches a loop: the handler writes a byte into the sockets of those who want it.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/linux/fork.hpp>
#include <rouse/os/socket.hpp>

#if ROUSE_LINUX
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <mutex>
#include <new>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>
#include <utility>

namespace rouse::inline ROUSE_ABI::os {

/// Two sockets connected with each other; both are the caller's.
inline failure connected_pair(native_handle_type (&out)[2]) noexcept {
  return outcome(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out));
}

namespace detail {

// Who is told, and of what.
struct signal_listener {
  std::atomic<int> to{-1};
  std::atomic<std::uint64_t> wanted{0};
};

// How many want a signal, and who had it before them.
struct signal_owner {
  int users = 0;
  struct sigaction before = {};
};

} // namespace detail

/// The signals that somebody waits for, whose handlers are ours meanwhile; whoever had them before
/// has them again when nobody waits any more.
///
/// A child process hears its own signals, with the dispositions that they had before; its parent
/// hears nothing of them.
///
/// Threads: any. Source: signal-safety(7): the handler calls getpid(2) and send(2) and nothing
/// else.
class signal_table {
public:
  static constexpr int most_numbers = 64;

  /// From now on each of `numbers` (bit n - 1: signal n) writes its number, one byte, into `to`.
  static failure subscribe(native_handle_type to, std::uint64_t numbers) noexcept {
    static const os::fork_hook in_child(&signal_table::forget_all, nullptr);
    const std::lock_guard lock(mutex());
    process_.store(::getpid(), std::memory_order_relaxed);
    entry* const free = find(-1);
    if (!free) return std::errc::not_enough_memory;
    std::uint64_t taken = 0;
    for (int n = 1; n <= most_numbers; ++n) {
      if (!(numbers & bit(n))) continue;
      if (const failure f = take(n)) {
        give_back(taken);
        return f;
      }
      taken |= bit(n);
    }
    free->wanted.store(numbers, std::memory_order_relaxed);
    free->to.store(to, std::memory_order_release); // partner of the load in handle()
    return {};
  }

  static void unsubscribe(native_handle_type to) noexcept {
    const std::lock_guard lock(mutex());
    entry* const mine = find(to);
    if (!mine) return;
    mine->to.store(-1, std::memory_order_relaxed);
    give_back(mine->wanted.exchange(0, std::memory_order_relaxed));
  }

private:
  using entry = detail::signal_listener;
  static constexpr std::size_t most = 64;
  static inline entry entries_[most];
  static inline detail::signal_owner numbers_[most_numbers + 1];
  static inline std::atomic<pid_t> process_{0}; // the one that subscribed

  static std::mutex& mutex() noexcept {
    static std::mutex m;
    return m;
  }
  static constexpr std::uint64_t bit(int n) noexcept { return std::uint64_t{1} << (n - 1); }

  static entry* find(int to) noexcept {
    for (entry& e : entries_) {
      if (e.to.load(std::memory_order_relaxed) == to) return &e;
    }
    return nullptr;
  }

  static failure take(int n) noexcept {
    if (numbers_[n].users++ != 0) return {};
    struct sigaction ours = {};
    ours.sa_handler = &signal_table::handle;
    ours.sa_flags = SA_RESTART;
    ::sigfillset(&ours.sa_mask);
    const failure f = outcome(::sigaction(n, &ours, &numbers_[n].before));
    if (f) --numbers_[n].users;
    return f;
  }

  static void give_back(std::uint64_t taken) noexcept {
    for (int n = 1; n <= most_numbers; ++n) {
      if ((taken & bit(n)) && --numbers_[n].users == 0) restore(n);
    }
  }

  // In a forked child: nothing is subscribed there, and every signal is as it was before.
  static void forget_all(void*) noexcept {
    ::new (&mutex()) std::mutex; // another thread of the parent may have held it
    for (int n = 1; n <= most_numbers; ++n) {
      if (std::exchange(numbers_[n].users, 0) != 0) restore(n);
    }
    for (entry& e : entries_) {
      e.to.store(-1, std::memory_order_relaxed);
      e.wanted.store(0, std::memory_order_relaxed);
    }
  }
  static void restore(int n) noexcept { ::sigaction(n, &numbers_[n].before, nullptr); }

  static void handle(int n) noexcept {
    const int kept = errno;
    // A child that was told nothing yet, or shares the parent's memory (vfork): the signal comes
    // again as soon as this handler has returned.
    if (::getpid() != process_.load(std::memory_order_relaxed)) {
      restore(n);
      ::raise(n);
      errno = kept;
      return;
    }
    const auto byte = static_cast<unsigned char>(n);
    for (const entry& e : entries_) {
      const int to = e.to.load(std::memory_order_acquire);
      if (to >= 0 && (e.wanted.load(std::memory_order_relaxed) & bit(n)))
        (void)!::send(to, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    errno = kept;
  }
};

} // namespace rouse::inline ROUSE_ABI::os
#endif

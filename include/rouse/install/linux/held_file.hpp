// Keeps a file open while a call waits for it.
#pragma once
#include <rouse/config.hpp>
#include <rouse/install/linux/real_calls.hpp>

#if ROUSE_LINUX
#include <atomic>
#include <cstdint>
#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// Keeps a file open while a call waits for it, as a system call does, even if another thread
/// closes the descriptor and its number then names another file.
///
/// A waiting call only increments a count. If a close finds a waiting call, it first duplicates the
/// descriptor; the duplicate is called a twin here. The last waiting call closes the twin.
///
///     call that waits (fd)                     thread that closes fd
///     hold: calls_[fd].waiting += 1
///           remember calls_[fd].closings
///                                              closing: waiting != 0
///                                                twin.file = dup(fd)
///                                                twin.of   = (fd, closings)
///                                                twin.waiting = waiting
///                                                calls_[fd] = (closings + 1, 0)    by exchange
///                                              close(fd)
///     current: closings changed: use twin.file
///     release: twin.waiting -= 1; at 0 close twin.file and free the twin
///
/// If no twin is free or dup fails, the waiting calls continue with the number `fd`.
///
/// Threads: any. `closing` is async-signal-safe. Cost: two atomic operations per call that waits.
class held_file {
public:
  held_file() noexcept = default;
  held_file(const held_file&) = delete;
  ~held_file() {
    if (fd_ >= 0) release();
  }

  /// Begins to hold `fd` for a call that is about to wait.
  void hold(int fd) noexcept {
    if (fd_ >= 0 || fd < 0 || fd >= descriptors) return;
    fd_ = fd;
    closings_ = closings(calls_[fd].fetch_add(1, std::memory_order_acq_rel));
  }
  /// The descriptor under which the held file is open now.
  [[nodiscard]] int current(int fd) const noexcept {
    if (fd_ < 0 || closings(calls_[fd_].load(std::memory_order_acquire)) == closings_) return fd;
    return my_twin().file;
  }

  /// Has to be called before a descriptor is closed.
  static void closing(int fd) noexcept {
    if (fd < 0 || fd >= descriptors) return;
    if (waiting(calls_[fd].load(std::memory_order_relaxed)) != 0) leave_open(fd);
  }
  /// Resets the counts in a forked child, which has a copy of its parent's memory but none of its
  /// calls. (A child of vfork(2) shares the memory.) Has to be called before calls wait.
  static void begin_in_this_process() noexcept {
    const pid_t me = ::getpid();
    if (process_.exchange(me, std::memory_order_relaxed) == me) return;
    for (auto& c : calls_) {
      if (c.load(std::memory_order_relaxed) != 0) c.store(0, std::memory_order_relaxed);
    }
  }

private:
  struct twin {
    std::atomic<std::uint64_t> of; // key(fd, closings); 0 if free
    std::atomic<std::uint32_t> waiting;
    int file;
  };
  static constexpr int descriptors = 1 << 16;
  static constexpr int most_twins = 64;

  // An entry of calls_ has the count of closes that found waiting calls in its high half, and the
  // count of calls that wait now in its low half.
  static constexpr std::uint32_t closings(std::uint32_t calls) noexcept { return calls >> 16; }
  static constexpr std::uint32_t waiting(std::uint32_t calls) noexcept { return calls & 0xffff; }
  static constexpr std::uint64_t key(int fd, std::uint32_t closings) noexcept {
    return (std::uint64_t{1} << 32 | static_cast<std::uint32_t>(fd)) << 16 | closings;
  }

  static void leave_open(int fd) noexcept {
    // One thread at a time. A close that finds the flag taken, perhaps inside a signal handler,
    // makes no twin.
    if (process_.load(std::memory_order_relaxed) != ::getpid() ||
        leaving_.test_and_set(std::memory_order_acquire))
      return;
    for (twin& t : twins_) {
      if (t.of.load(std::memory_order_acquire) != 0) continue;
      t.file = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
      if (t.file >= 0 && !hand_over(fd, t)) real::close(t.file);
      break;
    }
    leaving_.clear(std::memory_order_release);
  }
  static bool hand_over(int fd, twin& t) noexcept {
    std::uint32_t now = calls_[fd].load(std::memory_order_acquire);
    t.of.store(key(fd, closings(now)), std::memory_order_relaxed);
    do {
      t.waiting.store(waiting(now), std::memory_order_relaxed);
      if (waiting(now) == 0) {
        t.of.store(0, std::memory_order_relaxed);
        return false;
      }
    } while (!calls_[fd].compare_exchange_weak(now, (closings(now) + 1) << 16,
                                               std::memory_order_acq_rel));
    return true;
  }

  [[nodiscard]] twin& my_twin() const noexcept {
    twin* t = twins_;
    while (t->of.load(std::memory_order_acquire) != key(fd_, closings_)) ++t;
    return *t;
  }
  void release() noexcept {
    std::uint32_t now = calls_[fd_].load(std::memory_order_acquire);
    while (closings(now) == closings_) {
      if (calls_[fd_].compare_exchange_weak(now, now - 1, std::memory_order_acq_rel)) return;
    }
    twin& t = my_twin();
    if (t.waiting.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    real::close(t.file);
    t.of.store(0, std::memory_order_release);
  }

  static constinit inline std::atomic<std::uint32_t> calls_[descriptors] = {};
  static constinit inline twin twins_[most_twins] = {};
  static constinit inline std::atomic_flag leaving_;
  static constinit inline std::atomic<pid_t> process_{0};

  int fd_ = -1;
  std::uint32_t closings_ = 0;
};

}}} // namespace rouse::ROUSE_ABI::os
#endif

// Files that stay open as long as a call waits for them.
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

/// Keeps a file open while a call waits for it, as a system call does: also where another thread
/// closes the descriptor meanwhile, and where its number then names another file.
///
/// The call only counts itself. A close that finds a call leaves the file open under a number of
/// its own, a twin, which the last call that waited closes.
///
/// Threads: any. `closing` is async-signal-safe. Cost: two atomic operations per call that waits.
class held_file {
public:
  held_file() noexcept = default;
  held_file(const held_file&) = delete;
  ~held_file() {
    if (fd_ >= 0) release();
  }

  /// The call waits for the file from now on.
  void hold(int fd) noexcept {
    if (fd_ >= 0 || fd < 0 || fd >= descriptors) return;
    fd_ = fd;
    closings_ = closings(calls_[fd].fetch_add(1, std::memory_order_acq_rel));
  }
  /// The number under which the file is open now.
  [[nodiscard]] int current(int fd) const noexcept {
    if (fd_ < 0 || closings(calls_[fd_].load(std::memory_order_acquire)) == closings_) return fd;
    return my_twin().file;
  }

  /// The descriptor is about to be closed.
  static void closing(int fd) noexcept {
    if (fd < 0 || fd >= descriptors) return;
    if (waiting(calls_[fd].load(std::memory_order_relaxed)) != 0) [[unlikely]]
      leave_open(fd);
  }
  /// A child process has the memory of its parent, but none of its calls; one of vfork(2) shares
  /// it. To be called before calls wait.
  static void begin_in_this_process() noexcept {
    const pid_t me = ::getpid();
    if (process_.exchange(me, std::memory_order_relaxed) == me) return;
    for (auto& c : calls_) {
      if (c.load(std::memory_order_relaxed) != 0) c.store(0, std::memory_order_relaxed);
    }
  }

private:
  struct twin {
    std::atomic<std::uint64_t> of; // which descriptor, after how many closings; 0: free
    std::atomic<std::uint32_t> waiting;
    int file;
  };
  static constexpr int descriptors = 1 << 16;
  static constexpr int most_twins = 64;

  // Of each descriptor: how often it was closed while calls waited, and how many wait now.
  static constexpr std::uint32_t closings(std::uint32_t calls) noexcept { return calls >> 16; }
  static constexpr std::uint32_t waiting(std::uint32_t calls) noexcept { return calls & 0xffff; }
  static constexpr std::uint64_t key(int fd, std::uint32_t closings) noexcept {
    return (std::uint64_t{1} << 32 | static_cast<std::uint32_t>(fd)) << 16 | closings;
  }

  static void leave_open(int fd) noexcept {
    // One after another. What comes upon another one, inside a handler of a signal perhaps, closes
    // the file.
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

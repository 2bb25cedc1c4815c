// epoll(7) and eventfd(2).
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/os/posix/socket.hpp>
#include <rouse/os/posix/time_left.hpp>
#include <rouse/os/posix/unique_fd.hpp>

#if ROUSE_LINUX
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// Wakes a thread that waits in the kernel. Threads: any may call `signal`. Cost: one write(2).
/// Each write is an edge for epoll, so no thread needs to read the counter.
class waker_fd {
public:
  failure create() noexcept {
    fd_ = unique_fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    return fd_ ? failure{} : last_error();
  }
  [[nodiscard]] int get() const noexcept { return fd_.get(); }
  void signal() const noexcept { ::eventfd_write(fd_.get(), 1); }
  /// For those that poll it themselves: it is no longer readable. Not by read(2), which
  /// <rouse/install.hpp> may replace.
  void reset() const noexcept {
    std::uint64_t count = 0;
    (void)::syscall(SYS_read, fd_.get(), &count, sizeof count);
  }

private:
  unique_fd fd_;
};

/// One epoll instance.
class poll_set {
public:
  static constexpr int batch = 256;

  failure create() noexcept {
    fd_ = unique_fd(::epoll_create1(EPOLL_CLOEXEC));
    return fd_ ? failure{} : last_error();
  }

  [[nodiscard]] int get() const noexcept { return fd_.get(); }

  /// All events, edge-triggered: epoll reports each edge once, and the next one without a further
  /// system call.
  static constexpr std::uint32_t edges =
      EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | std::uint32_t{EPOLLET};

  failure add(int fd, void* tag, std::uint32_t events) noexcept {
    return control(EPOLL_CTL_ADD, fd, tag, events);
  }
  /// Like `add` for a descriptor that is in the set. epoll reports the events that hold already,
  /// too.
  failure change(int fd, void* tag, std::uint32_t events) noexcept {
    return control(EPOLL_CTL_MOD, fd, tag, events);
  }
  void remove(int fd) noexcept { ::epoll_ctl(fd_.get(), EPOLL_CTL_DEL, fd, nullptr); }

  /// Waits for events until `until` (min: not at all; max: for ever). Returns their number, or a
  /// negative number after an error, such as an interruption by a signal.
  int wait(epoll_event (&events)[batch], clock::time_point until) noexcept {
    if (until == (clock::time_point::max)()) return ::epoll_wait(fd_.get(), events, batch, -1);
    return wait_until(events, until);
  }

private:
  failure control(int what, int fd, void* tag, std::uint32_t events) noexcept {
    epoll_event e{};
    e.events = events;
    e.data.ptr = tag;
    return outcome(::epoll_ctl(fd_.get(), what, fd, &e));
  }

  ROUSE_NOINLINE int wait_until(epoll_event* events, clock::time_point until) noexcept {
    if (until == (clock::time_point::min)()) return ::epoll_wait(fd_.get(), events, batch, 0);
    return wait_precisely(events, time_left(until));
  }

  // epoll_pwait2 (Linux 5.11) counts nanoseconds. Older kernels have only epoll_wait, which counts
  // milliseconds; the time is rounded up so that the thread never wakes early.
  int wait_precisely(epoll_event* events, const timespec& left) noexcept {
#if defined(SYS_epoll_pwait2)
    if (precise_) {
      const auto n = static_cast<int>(
          ::syscall(SYS_epoll_pwait2, fd_.get(), events, batch, &left, nullptr, 0));
      if (n >= 0 || errno == EINTR) return n;
      precise_ = false;
    }
#endif
    constexpr time_t longest = 1'000'000;
    const auto seconds = left.tv_sec < longest ? left.tv_sec : longest;
    return ::epoll_wait(fd_.get(), events, batch,
                        static_cast<int>(seconds * 1000 + (left.tv_nsec + 999'999) / 1'000'000));
  }

  unique_fd fd_;
  bool precise_ = true;
};

}}} // namespace rouse::ROUSE_ABI::os
#endif

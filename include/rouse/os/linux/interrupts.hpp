// How threads that wait in poll(2), each for a socket of its own, are made to return.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/detail/intrusive_list.hpp>
#include <rouse/os/linux/poll.hpp>
#include <rouse/os/posix/time_left.hpp>

#if ROUSE_LINUX
#include <cstddef>
#include <memory>
#include <new>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// The interrupts of one engine. One for each thread would be simplest, but would halve the number
/// of connections that a process can serve: up to `own` threads have one each, then eight share
/// one.
///
/// All functions but the destructor are called with the engine's lock held.
class interrupts {
public:
  /// A descriptor that several threads poll. It stays readable until each thread that was to be
  /// interrupted has taken note of it.
  struct one : rouse::detail::list_node {
    waker_fd event;
    std::size_t threads = 0; // that poll it
    std::size_t raised = 0; // interruptions that no thread has taken note of
  };

  interrupts() noexcept = default;
  interrupts(const interrupts&) = delete;
  interrupts& operator=(const interrupts&) = delete;
  ~interrupts() { clear(); }

  /// The number of threads that poll.
  [[nodiscard]] std::size_t threads() const noexcept { return threads_; }

  /// The interrupt that the caller is to poll; null if there is none, for want of descriptors or
  /// memory.
  [[nodiscard]] one* join() noexcept {
    const std::size_t each = made_ < own ? 1 : together;
    if (threads_ >= made_ * each) {
      if (!make() && all_.empty()) return nullptr;
    } else {
      while (all_.front().threads >= each) all_.push_back(all_.pop_front());
    }
    one& i = all_.pop_front();
    all_.push_back(i); // so that the next thread gets another one
    ++i.threads;
    ++threads_;
    return &i;
  }
  void leave(one& i) noexcept {
    --i.threads;
    --threads_;
  }

  void raise(one& i) noexcept {
    if (i.raised++ == 0) i.event.signal();
  }
  /// The interrupted thread has taken note of it.
  void settle(one& i) noexcept {
    if (--i.raised == 0) i.event.reset();
  }

  /// Closes all of them.
  void clear() noexcept {
    while (!all_.empty()) delete &all_.pop_front();
    made_ = threads_ = 0;
  }

  /// Waits until the socket of `op` may be ready for it, its limit has passed, or `by` is raised.
  /// False: the socket is not. Source: ppoll(2), not by way of the C library, since
  /// <rouse/install.hpp> replaces its function.
  static bool wait_ready(const operation& op, const one& by) noexcept {
    pollfd files[] = {
        {static_cast<int>(op.target->native), op.inward() ? short{POLLIN} : short{POLLOUT}, 0},
        {by.event.get(), POLLIN, 0}};
    timespec left{};
    if (op.limited) left = time_left(op.due);
#if defined(SYS_ppoll_time64)
    constexpr long number = sizeof(timespec) > 2 * sizeof(long) ? SYS_ppoll_time64 : SYS_ppoll;
#else
    constexpr long number = SYS_ppoll;
#endif
    const long n = ::syscall(number, files, 2, op.limited ? &left : nullptr, nullptr, 0);
    return n > 0 && files[0].revents != 0;
  }

private:
  static constexpr std::size_t own = 16, together = 8;

  // A new one, the only one that has no threads.
  bool make() noexcept {
    std::unique_ptr<one> made(new (std::nothrow) one);
    if (!made || made->event.create()) return false;
    all_.push_front(*made.release());
    ++made_;
    return true;
  }

  rouse::detail::list<one> all_;
  std::size_t made_ = 0;
  std::size_t threads_ = 0;
};

}}} // namespace rouse::ROUSE_ABI::os
#endif

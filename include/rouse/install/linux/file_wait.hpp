// How a call that is made again and again until it need not wait is woken.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/install/call_parker.hpp>
#include <rouse/install/linux/interruption.hpp>
#include <rouse/install/linux/real_calls.hpp>
#include <rouse/install/linux/watch_set.hpp>
#include <rouse/os/linux/poll.hpp>

#if ROUSE_LINUX
#include <poll.h>
#include <sys/epoll.h>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace os { namespace parked {

/// The waits of one call for the same files.
///
/// Files may be ready without being so for the call: a message waits in a socket's error queue,
/// fewer bytes are there than the call wants, select(2) does not ask for what has happened. To wait
/// for readiness would then be to spin, and the call waits for a change.
class file_wait {
public:
  /// @param ends  which handlers of signals end the waits. It and the files outlive this.
  file_wait(pollfd* files, nfds_t count, const interruption& ends) noexcept
      : files_(files), count_(count), ends_(ends) {}

  /// Whether the call was woken before, had to wait still, and the files are ready nevertheless.
  /// Then their `revents` say for what.
  [[nodiscard]] bool are_ready() noexcept {
    return std::exchange(was_woken_, true) && real::poll(files_, count_, 0) > 0;
  }
  /// Until one of the files may be ready. False: errno says how the call ends.
  bool park(clock::time_point until) noexcept { return parked::park(files_, count_, until, ends_); }

  /// Until something happens to one of the files. At first it returns at once, to be called again
  /// if a further attempt still has to wait: what happened in between is not lost.
  bool park_until_change(clock::time_point until) noexcept {
    if (!changes_) return begin() || pause(until);
    pollfd file{changes_.get(), POLLIN, 0};
    const bool go_on = parked::park(&file, 1, until, ends_);
    forget();
    return go_on;
  }

private:
  bool begin() noexcept {
    changes_ = unique_fd(::epoll_create1(EPOLL_CLOEXEC));
    watch_set::request r;
    constexpr auto edges = static_cast<std::uint32_t>(EPOLLET);
    if (!changes_ || watch_set::add(changes_.get(), files_, count_, r, edges)) {
      changes_.reset();
      return false;
    }
    forget();
    return true;
  }
  // Where descriptors or memory are short.
  bool pause(clock::time_point until) noexcept {
    const auto soon = clock::now() + std::chrono::milliseconds(20);
    return parked::park(nullptr, 0, soon < until ? soon : until, ends_);
  }
  // Each change is told once.
  void forget() noexcept {
    epoll_event events[8];
    while (real::epoll_wait(changes_.get(), events, 8, 0) == 8) {
    }
  }

  pollfd* const files_;
  const nfds_t count_;
  const interruption& ends_;
  unique_fd changes_;
  bool was_woken_ = false;
};

}}}} // namespace rouse::ROUSE_ABI::os::parked
#endif

// The waits of a call that is repeated until it need not wait.
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
/// A file may be ready for poll(2) although the call still has to wait: a message is in a socket's
/// error queue, fewer bytes are available than the call wants, or select(2) does not ask for the
/// event. Waiting for readiness would then spin, so the call waits for a change:
///
///     1st wait            park               until a file may be ready
///     2nd and later       not ready: park    as before
///                         ready: park_until_change
///                           1st time         makes an edge-triggered epoll set, returns at once
///                           later            until an event arrives in the set
///
/// Between the two calls of park_until_change the call makes another attempt, so that a change
/// before the set was made is not lost.
class file_wait {
public:
  /// @param files  borrowed, like `ends`, as long as this object exists.
  /// @param ends   the signal handlers that end the waits.
  file_wait(pollfd* files, nfds_t count, const interruption& ends) noexcept
      : files_(files), count_(count), ends_(ends) {}

  /// Whether the call has been woken before and still has to wait although a file is ready. Then
  /// `revents` tell the events.
  [[nodiscard]] bool are_ready() noexcept {
    return std::exchange(was_woken_, true) && real::poll(files_, count_, 0) > 0;
  }
  /// Parks until one of the files may be ready. If it returns false, errno is the error of the
  /// call.
  bool park(clock::time_point until) noexcept { return parked::park(files_, count_, until, ends_); }

  /// Parks until one of the files changes. The first time it only starts to observe changes and
  /// returns at once, for another attempt of the call. If it returns false, errno is the error of
  /// the call.
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
  // When descriptors or memory are short: sleeps 20 ms, or until `until`.
  bool pause(clock::time_point until) noexcept {
    const auto soon = clock::now() + std::chrono::milliseconds(20);
    return parked::park(nullptr, 0, soon < until ? soon : until, ends_);
  }
  // Consumes the recorded changes: an edge-triggered event is reported once.
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

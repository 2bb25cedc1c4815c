// The wait handle of an io_uring engine for an event loop of another library.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/clock.hpp>
#include <rouse/os/linux/io_uring.hpp>
#include <rouse/os/linux/poll.hpp>

#include <cstdint>
#include <utility>

#if ROUSE_LINUX
namespace rouse { inline namespace ROUSE_ABI { namespace os { namespace uring {

/// The descriptor that a foreign loop waits for: an epoll instance that contains the waker, and an
/// eventfd that the ring signals. The ring itself would not do: deferred task work does not wake a
/// poll(2) that waits for the ring, and the ring does not reliably signal a write to the waker,
/// which is an eventfd too.
class foreign_handle {
public:
  /// Opens the descriptor at the first call; later calls return the same one. Returns -1 if file
  /// descriptors or memory run out.
  int open(const waker_fd& waker) noexcept {
    constexpr std::uint32_t edge = EPOLLIN | std::uint32_t{EPOLLET};
    foreign_handle made;
    if (events_.get() < 0 && !made.events_.create() && !made.completions_.create() &&
        !made.events_.add(waker.get(), nullptr, edge) &&
        !made.events_.add(made.completions_.get(), this, edge)) // any tag but the waker's
      *this = std::move(made);
    return events_.get();
  }
  /// Makes the descriptor unreadable. Returns whether the waker had made it readable.
  bool clear() noexcept {
    epoll_event events[poll_set::batch];
    bool woken = false;
    for (int n = events_.wait(events, (clock::time_point::min)()); n > 0; --n)
      woken |= !events[n - 1].data.ptr;
    return woken;
  }
  /// Makes the descriptor readable when `r` has a completion. Returns false if `r` has one already,
  /// or if memory runs out.
  bool listen(ring& r) noexcept { return r.signal_next(completions_.get()); }

private:
  poll_set events_;
  waker_fd completions_;
};

}}}} // namespace rouse::ROUSE_ABI::os::uring
#endif

// The driver for epoll: a poll set for `poll_driver`.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/detail/threading.hpp>
#include <rouse/engines/engine.hpp>
#include <rouse/engines/engine_details.hpp>
#include <rouse/engines/engine_sockets.hpp>
#include <rouse/engines/poll_driver.hpp>
#include <rouse/os/linux/interrupts.hpp>
#include <rouse/os/linux/poll.hpp>

#if ROUSE_LINUX
#include <cstddef>
#include <cstdint>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

/// epoll(7), edge-triggered except for `watch_bytes`, and an eventfd(2) that wakes it. Limits finer
/// than a millisecond need epoll_pwait2(2), Linux 5.11.
class epoll_set {
public:
  static constexpr const char* name = "epoll";
  using event_list = epoll_event[os::poll_set::batch];
  static constexpr std::uint32_t readable = EPOLLIN, writable = EPOLLOUT, urgent = EPOLLPRI,
                                 peer_closed = EPOLLRDHUP, broken = EPOLLHUP | EPOLLERR;
  static constexpr std::size_t generations = 1;
  using interrupts = os::interrupts;
  static void* tag_of(const epoll_event& e) noexcept { return e.data.ptr; }
  static std::uint32_t events_of(const epoll_event& e) noexcept { return e.events; }

  failure open() noexcept {
    failure why = set_.create();
    if (!why) why = waker_.create();
    if (!why) why = set_.add(waker_.get(), nullptr, EPOLLIN | EPOLLET);
    return why;
  }
  failure watch_edges(native_handle_type h, void* tag, bool first) noexcept {
    return first ? set_.add(h, tag, os::poll_set::edges) : set_.change(h, tag, os::poll_set::edges);
  }
  failure watch_bytes(native_handle_type h, void* tag) noexcept {
    return set_.change(h, tag, EPOLLIN);
  }
  void remove(native_handle_type h, bool) noexcept { set_.remove(h); }
  static void prepare_wait(bool) noexcept {}
  int wait(event_list& events, clock::time_point until) noexcept {
    return set_.wait(events, until);
  }
  void wake() noexcept { waker_.signal(); }
  [[nodiscard]] native_handle_type handle() const noexcept { return set_.get(); }

private:
  os::poll_set set_;
  os::waker_fd waker_;
};

} // namespace detail

/// For kernels and containers that refuse io_uring.
using epoll_driver = poll_driver<detail::epoll_set>;

template <class Threading = one_thread>
using basic_epoll_engine = basic_engine<epoll_driver, Threading>;
using epoll_engine = basic_epoll_engine<>;

}} // namespace rouse::ROUSE_ABI
#endif

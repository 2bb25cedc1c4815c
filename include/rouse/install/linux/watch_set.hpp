// What blocking calls wait for: files as poll(2) takes them, and a set of them.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/posix/socket.hpp>

#if ROUSE_LINUX
#include <cerrno>
#include <poll.h>
#include <sys/epoll.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

using watched_file = pollfd;
using file_count = nfds_t;
inline constexpr int call_canceled = ECANCELED, call_interrupted = EINTR, handle_closed = EBADF;

/// How a call that fails says why.
inline void set_call_error(int number) noexcept { errno = number; }
inline int call_error() noexcept { return errno; }

/// A set of files that is itself a file: readable when one of them is ready.
namespace watch_set {

/// Each who waits needs one.
inline constexpr bool is_shared = false;

/// What the engine is told of a wait beside the set's handle: nothing.
struct request {
  static constexpr void* files() noexcept { return nullptr; }
};

inline failure create(native_handle_type& out) noexcept {
  out = ::epoll_create1(EPOLL_CLOEXEC);
  return outcome(out);
}

/// A file that cannot be watched (a regular one, say) is always ready: nobody waits for it.
/// @param how  EPOLLET: each change of a file makes the set ready once.
inline failure add(native_handle_type set, const pollfd* files, nfds_t count, request&,
                   std::uint32_t how = 0) noexcept {
  for (nfds_t i = 0; i != count; ++i) {
    if (files[i].fd < 0) continue;
    epoll_event e{};
    // The two agree on the bits.
    e.events = how | static_cast<unsigned short>(files[i].events);
    int result = ::epoll_ctl(set, EPOLL_CTL_ADD, files[i].fd, &e);
    if (result < 0 && errno == EEXIST) { // named twice: what either wants
      for (nfds_t j = 0; j != i; ++j) {
        if (files[j].fd == files[i].fd) e.events |= static_cast<unsigned short>(files[j].events);
      }
      result = ::epoll_ctl(set, EPOLL_CTL_MOD, files[i].fd, &e);
    }
    if (result < 0 && errno != EPERM && errno != EBADF) return last_error();
  }
  return {};
}

/// False: something may be left in the set.
inline bool remove(native_handle_type set, const pollfd* files, nfds_t count) noexcept {
  bool clean = true;
  for (nfds_t i = 0; i != count; ++i) {
    if (files[i].fd < 0 || ::epoll_ctl(set, EPOLL_CTL_DEL, files[i].fd, nullptr) == 0) continue;
    bool named_before = false;
    for (nfds_t j = 0; j != i; ++j) named_before |= files[j].fd == files[i].fd;
    clean &= named_before || errno == EPERM;
  }
  return clean;
}

} // namespace watch_set
}}} // namespace rouse::ROUSE_ABI::os
#endif

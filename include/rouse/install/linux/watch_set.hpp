// The files that blocking calls wait for, as poll(2) takes them, and a set of such files.
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

/// Access to errno by names that both platforms have.
inline void set_call_error(int number) noexcept { errno = number; }
inline int call_error() noexcept { return errno; }

/// A set of files that is itself a file: readable when one of them is ready.
namespace watch_set {

/// Each waiting fiber needs a set of its own.
inline constexpr bool is_shared = false;

/// What the engine needs for a wait besides the handle of the set: nothing.
struct request {
  static constexpr void* files() noexcept { return nullptr; }
};

inline failure create(native_handle_type& out) noexcept {
  out = ::epoll_create1(EPOLL_CLOEXEC);
  return outcome(out);
}

/// Adds files to the set. A file that epoll refuses, such as a regular file, is always ready and is
/// left out.
/// @param how  0, or EPOLLET: each change of a file makes the set ready once.
inline failure add(native_handle_type set, const pollfd* files, nfds_t count, request&,
                   std::uint32_t how = 0) noexcept {
  for (nfds_t i = 0; i != count; ++i) {
    if (files[i].fd < 0) continue;
    epoll_event e{};
    // EPOLLIN, EPOLLOUT and the others have the values of POLLIN, POLLOUT and so on.
    e.events = how | static_cast<unsigned short>(files[i].events);
    int result = ::epoll_ctl(set, EPOLL_CTL_ADD, files[i].fd, &e);
    if (result < 0 && errno == EEXIST) { // named twice: both events
      for (nfds_t j = 0; j != i; ++j) {
        if (files[j].fd == files[i].fd) e.events |= static_cast<unsigned short>(files[j].events);
      }
      result = ::epoll_ctl(set, EPOLL_CTL_MOD, files[i].fd, &e);
    }
    if (result < 0 && errno != EPERM && errno != EBADF) return last_error();
  }
  return {};
}

/// Removes the files. Returns false if a file may be left in the set.
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

// What blocking calls need of whoever parks their caller.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/os/linux/socket.hpp>

#if ROUSE_LINUX
#include <cerrno>
#include <poll.h>
#include <sys/epoll.h>

namespace rouse::inline ROUSE_ABI::os {

using watched_file = pollfd;
using file_count = nfds_t;
inline constexpr int call_canceled = ECANCELED, handle_closed = EBADF;

/// Whether a handle is among the files.
inline bool names(const watched_file* files, file_count count, native_handle_type h) noexcept {
  for (file_count i = 0; i != count; ++i) {
    if (files[i].fd == h) return true;
  }
  return false;
}

/// Who parks the callers of blocking functions in this thread.
class call_parker {
public:
  /// Whether the caller is somebody who could be parked.
  [[nodiscard]] virtual bool parks() noexcept = 0;
  /// Parks the caller until one of the files may be ready (events and handles as poll(2) takes
  /// them; none: a sleep) or `until` has passed.
  /// @returns 0: look again; else the errno that the caller's call ends with.
  virtual int wait(const pollfd* files, nfds_t count, clock::time_point until) noexcept = 0;
  /// Lets others run, if the caller has had its share.
  virtual void give_way() noexcept = 0;
  /// The handle is about to be closed: whoever waits for it is woken, with EBADF.
  virtual void closing(int fd) noexcept = 0;

  /// This thread's, or null.
  static constinit inline thread_local call_parker* here = nullptr;

protected:
  ~call_parker() = default;
};

/// A set of files that is itself a file: readable when one of them is ready.
namespace watch_set {

inline failure create(native_handle_type& out) noexcept {
  out = ::epoll_create1(EPOLL_CLOEXEC);
  return outcome(out);
}

/// A file that cannot be watched (a regular one, say) is always ready: nobody waits for it.
inline failure add(native_handle_type set, const pollfd* files, nfds_t count) noexcept {
  for (nfds_t i = 0; i != count; ++i) {
    if (files[i].fd < 0) continue;
    epoll_event e{};
    // The two agree on the bits.
    e.events = static_cast<unsigned short>(files[i].events);
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

} // namespace rouse::inline ROUSE_ABI::os
#endif

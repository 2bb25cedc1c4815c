// The tools by which blocking calls park the calling fiber, and the calls on many files (poll,
// select, epoll_wait). The definitions in interpose.hpp call them if installed::here() says so.
//
//     retry(call_timeout, attempt):
//       attempt   with MSG_DONTWAIT or RWF_NOWAIT; done unless it fails with EAGAIN
//         |
//       call_timeout::wait
//         first time: asks the kernel whether the file blocks (F_GETFL) and for how long
//         (SO_RCVTIMEO, SO_SNDTIMEO); if the call may not wait, or no longer, it fails with EAGAIN
//         parks the fiber until the file may be ready, then attempt is made again
//       EINTR: one more attempt; if it succeeds, the call does
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/install/call_parker.hpp>
#include <rouse/install/linux/file_wait.hpp>
#include <rouse/install/linux/held_file.hpp>
#include <rouse/install/linux/real_calls.hpp>
#include <rouse/os/linux/poll.hpp>
#include <rouse/os/posix/socket.hpp>

#if ROUSE_LINUX
#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <poll.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// Blocking calls made by a fiber. Each tries without waiting. If the kernel would block, the call
/// waits for readiness and tries again. Whether and how long a call blocks is not stored: the
/// kernel is asked for O_NONBLOCK, SO_RCVTIMEO and SO_SNDTIMEO when a call would block.
namespace parked {

/// The value of a SOL_SOCKET option, or -1 if the file is no socket or does not have it.
inline int option(int fd, int name) noexcept {
  int value = -1;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

/// Whether and how long one call may block, and its waits.
class call_timeout {
public:
  /// @param fd      set to another number of the same file if another thread closes `fd` during a
  ///                wait.
  /// @param option  SO_RCVTIMEO or SO_SNDTIMEO.
  /// @param call    the name of the call, for `dump`.
  call_timeout(int& fd, short events, int option, const char* call) noexcept
      : fd_(fd), file_{fd, events, 0}, ends_(interruption::by::handlers_without_restart, call),
        option_(option) {}
  call_timeout(const call_timeout&) = delete;

  /// Whether calls on the file block.
  bool blocks() noexcept {
    if (!has_read_options_) read_options();
    return blocks_;
  }
  /// Waits until another attempt may succeed. If it returns false, errno is the error of the call.
  bool wait() noexcept {
    if (is_over()) return false;
    has_waited_ = true;
    held_.hold(fd_);
    const bool go_on = wait_once();
    file_.fd = fd_ = held_.current(fd_);
    return go_on;
  }
  /// The flag that keeps the next attempt from waiting: MSG_DONTWAIT, or 0 after a shutdown for
  /// receiving. Then the call does not wait anyway, and a datagram socket returns 0 only without
  /// the flag.
  [[nodiscard]] int nowait() const noexcept { return nowait_; }
  [[nodiscard]] bool has_waited() const noexcept { return has_waited_; }
  /// Waits 1 ms, for a state that no readiness event announces.
  bool pause() noexcept { return !is_over() && park(nullptr, 0, soon(1), ends_); }
  /// A call that has moved part of its bytes is not restarted after a signal handler.
  void has_moved_part() noexcept { ends_.widen_to_all_handlers(); }

private:
  bool wait_once() noexcept {
    if (!waits_.are_ready()) return waits_.park(unannounced_ ? soon(50) : until_);
    if (file_.revents & POLLRDHUP) {
      nowait_ = 0;
      return true;
    }
    return (file_.revents & POLLOUT) ? pause() : waits_.park_until_change(until_);
  }
  [[nodiscard]] clock::time_point soon(int milliseconds) const noexcept {
    return (std::min)(until_, clock::now() + std::chrono::milliseconds(milliseconds));
  }
  bool is_over() noexcept {
    if (blocks() && clock::now() < until_) return false;
    errno = EAGAIN;
    return true;
  }
  void read_options() noexcept {
    has_read_options_ = true;
    const int flags = ::fcntl(file_.fd, F_GETFL);
    blocks_ = flags >= 0 && (flags & O_NONBLOCK) == 0;
    timeval limit{};
    socklen_t size = sizeof limit;
    const bool known = ::getsockopt(file_.fd, SOL_SOCKET, option_, &limit, &size) == 0;
    if (known && (limit.tv_sec != 0 || limit.tv_usec != 0)) {
      ends_.widen_to_all_handlers();
      until_ = deadline(std::chrono::duration<double>(static_cast<double>(limit.tv_sec)) +
                        std::chrono::microseconds(limit.tv_usec))
                   .when();
    }
    // poll(2) does not report that a Unix-domain socket was shut down for sending.
    unannounced_ = known && option_ == SO_SNDTIMEO && option(file_.fd, SO_DOMAIN) == AF_UNIX;
  }

  int& fd_;
  held_file held_;
  pollfd file_;
  interruption ends_;
  file_wait waits_{&file_, 1, ends_};
  const int option_;
  int nowait_ = MSG_DONTWAIT;
  bool has_read_options_ = false;
  bool blocks_ = false;
  bool unannounced_ = false; // poll(2) may miss an event
  bool has_waited_ = false;
  clock::time_point until_ = (clock::time_point::max)();
};

/// Whether reads and writes of a file may have to wait for another party. Those of regular files,
/// directories and disks never do. They must not switch fibers, because the caller may hold a lock.
inline bool may_wait(mode_t mode) noexcept {
  return !S_ISREG(mode) && !S_ISDIR(mode) && !S_ISBLK(mode);
}
/// The st_mode of stat(2). For a descriptor that is not open, that of a regular file.
inline mode_t mode_of(int fd) noexcept {
  struct stat file{};
  return ::fstat(fd, &file) == 0 ? file.st_mode : S_IFREG;
}

/// After a call that did not wait: lets other fibers run every so often, if `may()` returns true.
/// Does not change errno.
template <class May>
void take_turns(May may) noexcept {
  const int error = errno;
  call_parker* const parker = call_parker::here;
  if (parker && parker->share_is_used_up() && may()) parker->give_way();
  errno = error;
}
inline void take_turns() noexcept {
  take_turns([] { return true; });
}

/// Calls `attempt()` until it succeeds or fails, or the wait for the next attempt fails. After a
/// signal handler there is one last attempt.
template <class Attempt>
ssize_t retry(call_timeout& p, Attempt attempt) noexcept {
  for (bool interrupted = false;;) {
    const ssize_t result = attempt();
    if (result >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) return result;
    if (interrupted) errno = EINTR;
    if (interrupted || (!p.wait() && !(interrupted = errno == EINTR))) return -1;
  }
}

/// Whether a file is ready. If it is not, errno is EAGAIN.
inline bool is_ready(int fd, short events) noexcept {
  pollfd file{fd, events, 0};
  if (real::poll(&file, nfds_t{1}, 0) != 0) return true;
  errno = EAGAIN;
  return false;
}

inline msghdr pieces(const iovec* data, int count) noexcept {
  msghdr m{};
  m.msg_iov = const_cast<iovec*>(data); // read only
  m.msg_iovlen = static_cast<std::size_t>(count);
  return m;
}

inline std::size_t size_of(const msghdr& m) noexcept {
  std::size_t size = 0;
  for (std::size_t i = 0; i != m.msg_iovlen; ++i) size += m.msg_iov[i].iov_len;
  return size;
}

/// Makes a call that may wait. If the call succeeds, errno keeps the value that it had before.
template <class Call>
auto leaving_errno(Call call) noexcept {
  const int before = errno;
  const auto result = call();
  if (result >= 0) errno = before;
  return result;
}

/// Continues after part of a message's bytes were moved, as the kernel does before a blocking call
/// returns. Calls `transfer(data, size)` piece by piece until `wanted` bytes are moved, or it moves
/// none.
template <class Transfer>
ssize_t move_rest(call_timeout& p, const msghdr& m, ssize_t begun, Transfer transfer,
                  std::size_t wanted = SIZE_MAX) noexcept {
  p.has_moved_part();
  auto moved = static_cast<std::size_t>(begun);
  std::size_t before = 0; // bytes of the earlier pieces
  for (std::size_t i = 0; i != m.msg_iovlen; before += m.msg_iov[i++].iov_len) {
    const iovec& piece = m.msg_iov[i];
    while (moved < before + piece.iov_len && moved < wanted) {
      const std::size_t done = moved - before;
      // Null if MSG_TRUNC discards the bytes.
      char* const data = piece.iov_base ? static_cast<char*>(piece.iov_base) + done : nullptr;
      const ssize_t n = retry(p, [&] { return transfer(data, piece.iov_len - done); });
      if (n <= 0) return static_cast<ssize_t>(moved);
      moved += static_cast<std::size_t>(n);
    }
  }
  return static_cast<ssize_t>(moved);
}

/// The end of a timeout as ppoll(2) takes it: null means none.
inline clock::time_point after(const timespec* t) noexcept {
  if (!t) return (clock::time_point::max)();
  const std::chrono::duration<double> seconds(static_cast<double>(t->tv_sec)); // may be huge
  return deadline(seconds + std::chrono::nanoseconds(t->tv_nsec)).when();
}

/// Whether a timeout is valid. An invalid one is left to the system's function, which refuses it.
inline bool valid(const timespec* t) noexcept {
  return !t || (t->tv_sec >= 0 && t->tv_nsec >= 0 && t->tv_nsec < 1'000'000'000);
}

/// The signals that are blocked on the thread and that a call like ppoll(2) admits while it waits.
class admitted_signals {
public:
  /// @param mask  the mask of the call. Null admits no further signal.
  explicit admitted_signals(const sigset_t* mask) noexcept : mask_(mask) {
    sigset_t blocked;
    if (!mask || ::pthread_sigmask(SIG_BLOCK, nullptr, &blocked) != 0) return;
    for (int n = 1; n != NSIG; ++n)
      any_ |= sigismember(&blocked, n) == 1 && sigismember(mask, n) == 0;
  }
  explicit operator bool() const noexcept { return any_; }
  /// Lets the pending ones be handled now. If it returns false, errno is EINTR.
  [[nodiscard]] bool take_pending() const noexcept {
    const timespec none{};
    return !any_ || real::ppoll(nullptr, nfds_t{0}, &none, mask_) == 0;
  }

private:
  const sigset_t* const mask_;
  bool any_ = false;
};

/// Calls `look()` until it finds a ready file or fails, `until` has passed, or a signal handler has
/// run.
/// @param mask  the signal mask of the call. The signals that it admits are checked for every 20
///              ms: a mask belongs to the thread, and other fibers must not be interrupted.
template <class Look>
int watch(const char* call, pollfd* files, nfds_t count, clock::time_point until,
          const sigset_t* mask, Look look) noexcept {
  const interruption ends(interruption::by::handlers, call);
  const admitted_signals signals(mask);
  file_wait waits(files, count, ends);
  return leaving_errno([&] {
    for (bool interrupted = false;;) {
      const int found = look();
      const auto now = clock::now();
      if (found == 0 && !signals.take_pending()) return -1;
      if (found != 0 || (now >= until && !interrupted)) {
        take_turns([&] {
          return std::any_of(files, files + count, [](auto& f) { return may_wait(mode_of(f.fd)); });
        });
        return found;
      }
      if (interrupted) {
        errno = EINTR;
        return -1;
      }
      const auto soon = now + std::chrono::milliseconds(20);
      const auto end = signals && soon < until ? soon : until;
      const bool woken = waits.are_ready() ? waits.park_until_change(end) : waits.park(end);
      interrupted = !woken && errno == EINTR;
      if (!woken && !interrupted) return -1;
    }
  });
}

inline int poll(pollfd* files, nfds_t count, clock::time_point until,
                const sigset_t* mask) noexcept {
  return watch("poll", files, count, until, mask, [&] { return real::poll(files, count, 0); });
}

inline int epoll_wait(int set, epoll_event* events, int most, clock::time_point until,
                      const sigset_t* mask) noexcept {
  pollfd file{set, POLLIN, 0};
  return watch("epoll_wait", &file, 1, until, mask,
               [&] { return real::epoll_wait(set, events, most, 0); });
}

/// The sets of a select(2), which it overwrites. Larger sets than FD_SETSIZE, which some programs
/// allocate themselves, are left to the system's function.
class select_sets {
public:
  select_sets(int count, fd_set* in, fd_set* out, fd_set* urgent) noexcept
      : count_(count), sets_{in, out, urgent} {
    for (int k = 0; k != 3; ++k) {
      if (sets_[k]) wanted_[k] = *sets_[k];
    }
    for (int fd = 0; fd < count; ++fd) add(fd);
  }

  int look() noexcept {
    fd_set now[3];
    fd_set* given[3];
    for (int k = 0; k != 3; ++k) {
      if (sets_[k]) now[k] = wanted_[k];
      given[k] = sets_[k] ? &now[k] : nullptr;
    }
    timeval none{};
    const int found = real::select(count_, given[0], given[1], given[2], &none);
    for (int k = 0; k != 3; ++k) {
      if (sets_[k] && found >= 0) *sets_[k] = now[k];
    }
    return found;
  }

  [[nodiscard]] pollfd* files() noexcept { return files_; }
  [[nodiscard]] nfds_t size() const noexcept { return size_; }

private:
  void add(int fd) noexcept {
    // The events of poll(2) that stand for the three sets.
    constexpr short events[] = {POLLIN, POLLOUT, POLLPRI};
    short wanted = 0;
    for (int k = 0; k != 3; ++k) {
      if (sets_[k] && FD_ISSET(fd, &wanted_[k])) wanted = static_cast<short>(wanted | events[k]);
    }
    if (wanted != 0) files_[size_++] = {fd, wanted, 0};
  }

  const int count_;
  fd_set* const sets_[3];
  fd_set wanted_[3];
  pollfd files_[FD_SETSIZE];
  nfds_t size_ = 0;
};

inline int select(int count, fd_set* in, fd_set* out, fd_set* urgent, clock::time_point until,
                  const sigset_t* mask) noexcept {
  select_sets sets(count, in, out, urgent);
  return watch("select", sets.files(), sets.size(), until, mask, [&] { return sets.look(); });
}

} // namespace parked
}}} // namespace rouse::ROUSE_ABI::os
#endif

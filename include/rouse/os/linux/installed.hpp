// The blocking calls, made so that they block a flow and not its thread: what the definitions in
// interpose.hpp do where there is somebody who parks their caller.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/os/call_parker.hpp>
#include <rouse/os/linux/poll.hpp>
#include <rouse/os/linux/real_calls.hpp>
#include <rouse/os/linux/socket.hpp>
#include <rouse/os/lookup.hpp>

#if ROUSE_LINUX
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <ctime>
#include <memory>
#include <netdb.h>
#include <poll.h>
#include <string>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <thread>
#include <utility>

namespace rouse::inline ROUSE_ABI::os {

/// The blocking calls of a flow. Each tries without waiting, and where the kernel would have
/// blocked waits for readiness and tries again. What decides whether and how long a call blocks is
/// the kernel's to know (O_NONBLOCK, SO_RCVTIMEO, SO_SNDTIMEO) and asked when a call would block.
namespace parked {

/// How long one call may block, and whether at all.
class patience {
public:
  /// @param option  SO_RCVTIMEO or SO_SNDTIMEO.
  patience(int fd, short events, int option) noexcept : file_{fd, events, 0}, option_(option) {}

  /// The handle's calls block.
  bool blocks() noexcept {
    if (!asked_) ask();
    return blocks_;
  }
  /// Waits until it is worth trying again. False: errno says how the call ends.
  bool wait() noexcept { return !is_over() && park(&file_, 1, until_); }
  /// For what no readiness announces.
  bool pause() noexcept {
    if (is_over()) return false;
    const auto soon = clock::now() + std::chrono::milliseconds(1);
    return park(nullptr, 0, soon < until_ ? soon : until_);
  }

private:
  bool is_over() noexcept {
    if (blocks() && clock::now() < until_) return false;
    errno = EAGAIN;
    return true;
  }
  void ask() noexcept {
    asked_ = true;
    const int flags = ::fcntl(file_.fd, F_GETFL);
    blocks_ = flags >= 0 && (flags & O_NONBLOCK) == 0;
    timeval limit{};
    socklen_t size = sizeof limit;
    const bool known = ::getsockopt(file_.fd, SOL_SOCKET, option_, &limit, &size) == 0;
    if (known && (limit.tv_sec != 0 || limit.tv_usec != 0))
      until_ = deadline(std::chrono::duration<double>(static_cast<double>(limit.tv_sec)) +
                        std::chrono::microseconds(limit.tv_usec))
                   .when();
  }

  const pollfd file_;
  const int option_;
  bool asked_ = false;
  bool blocks_ = false;
  clock::time_point until_ = (clock::time_point::max)();
};

/// Whether reads and writes of a file may have to wait for another party. Those of regular files,
/// directories and disks never do, so that they never switch fibers: the caller may hold a lock.
inline bool may_wait(mode_t mode) noexcept {
  return !S_ISREG(mode) && !S_ISDIR(mode) && !S_ISBLK(mode);
}
/// What stat(2) calls st_mode; of a file that is not open, that of a regular one.
inline mode_t mode_of(int fd) noexcept {
  struct stat file {};
  return ::fstat(fd, &file) == 0 ? file.st_mode : S_IFREG;
}

/// After a call that did not wait: now and then lets others run, if `may()`. errno stays as it is.
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

/// Tries until it succeeds, fails, or patience ends.
template <class Attempt>
ssize_t retry(patience& p, Attempt attempt) noexcept {
  for (;;) {
    const ssize_t result = attempt();
    if (result >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) return result;
    if (!p.wait()) return -1;
  }
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

inline int option(int fd, int name) noexcept {
  int value = -1;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

/// An error that is waiting belongs to the next call, once this one has moved something.
inline bool has_error(int fd) noexcept {
  pollfd p{fd, 0, 0};
  return real::poll(&p, nfds_t{1}, 0) > 0 && (p.revents & POLLERR) != 0;
}

/// Goes on after a part of a message's bytes was moved, as the kernel does before a blocking call
/// returns: piece by piece, `transfer(data, size)` each time. What ends it early is left for the
/// next call to meet.
template <class Transfer>
std::size_t move_rest(patience& p, const msghdr& m, std::size_t moved,
                      Transfer transfer) noexcept {
  std::size_t before = 0; // bytes of the pieces passed
  for (std::size_t i = 0; i != m.msg_iovlen; before += m.msg_iov[i++].iov_len) {
    const iovec& piece = m.msg_iov[i];
    while (moved < before + piece.iov_len) {
      const std::size_t done = moved - before;
      const ssize_t n = retry(
          p, [&] { return transfer(static_cast<char*>(piece.iov_base) + done, piece.iov_len - done); });
      if (n <= 0) return moved;
      moved += static_cast<std::size_t>(n);
    }
  }
  return moved;
}

// `first(flags)` makes the call itself, without waiting; `m` says where its bytes are.

template <class First>
ssize_t receive(int fd, const msghdr& m, int flags, First first) noexcept {
  patience p(fd, POLLIN, SO_RCVTIMEO);
  const ssize_t n = retry(p, [&] { return first(flags | MSG_DONTWAIT); });
  if (n < 0 && errno == ENOTSOCK) return n;
  take_turns();
  const bool whole = n <= 0 || (flags & MSG_WAITALL) == 0 || (flags & MSG_PEEK) != 0;
  if (whole || static_cast<std::size_t>(n) >= size_of(m) || !p.blocks() ||
      option(fd, SO_TYPE) != SOCK_STREAM)
    return n;
  return static_cast<ssize_t>(
      move_rest(p, m, static_cast<std::size_t>(n), [&](void* data, std::size_t size) {
        return has_error(fd) ? 0 : real::recv(fd, data, size, flags | MSG_DONTWAIT);
      }));
}

template <class First>
ssize_t send(int fd, const msghdr& m, int flags, First first) noexcept {
  patience p(fd, POLLOUT, SO_SNDTIMEO);
  const ssize_t n = retry(p, [&] { return first(flags | MSG_DONTWAIT); });
  if (n < 0 && errno == ENOTSOCK) return n;
  take_turns();
  if (n < 0 || static_cast<std::size_t>(n) >= size_of(m) || !p.blocks()) return n;
  return static_cast<ssize_t>(
      move_rest(p, m, static_cast<std::size_t>(n), [&](const void* data, std::size_t size) {
        return has_error(fd) ? 0 : real::send(fd, data, size, flags | MSG_DONTWAIT | MSG_NOSIGNAL);
      }));
}

/// A listener that another thread or process accepts from as well may have lost its connection
/// between the two steps: then accept(2) waits, as no flag keeps it from it.
inline int accept4(int fd, sockaddr* peer, socklen_t* length, int flags) noexcept {
  patience p(fd, POLLIN, SO_RCVTIMEO);
  const bool listens = option(fd, SO_ACCEPTCONN) == 1;
  pollfd ready{fd, POLLIN, 0};
  while (listens && p.blocks() && real::poll(&ready, nfds_t{1}, 0) == 0) {
    if (!p.wait()) return -1;
  }
  return real::accept4(fd, peer, length, flags);
}

/// The attempt is begun without waiting; the kernel, asked again when the socket is writable, then
/// knows how it has ended.
inline int connect(int fd, const sockaddr* peer, socklen_t length) noexcept {
  patience p(fd, POLLOUT, SO_SNDTIMEO);
  if (!p.blocks()) return real::connect(fd, peer, length);
  const auto begin = [&] {
    if (set_blocking(fd, false)) return -1;
    const int result = real::connect(fd, peer, length);
    const int error = errno;
    (void)set_blocking(fd, true);
    errno = error;
    return result;
  };
  int result = begin();
  while (result < 0 && errno == EAGAIN) { // a Unix-domain listener's queue is full
    if (!p.pause()) return -1;
    result = begin();
  }
  if (result == 0 || (errno != EINPROGRESS && errno != EALREADY)) return result;
  pollfd ready{fd, POLLOUT, 0};
  while (real::poll(&ready, nfds_t{1}, 0) == 0) {
    if (p.wait()) continue;
    if (errno == EAGAIN) errno = EINPROGRESS; // what connect(2) calls a passed SO_SNDTIMEO
    return -1;
  }
  return real::connect(fd, peer, length);
}

/// Until when one in the style of ppoll(2) lasts.
inline clock::time_point after(const timespec* t) noexcept {
  if (!t) return (clock::time_point::max)();
  const std::chrono::duration<double> seconds(static_cast<double>(t->tv_sec)); // may be huge
  return deadline(seconds + std::chrono::nanoseconds(t->tv_nsec)).when();
}

/// One that is not is for the real function to refuse.
inline bool valid(const timespec* t) noexcept {
  return !t || (t->tv_sec >= 0 && t->tv_nsec >= 0 && t->tv_nsec < 1'000'000'000);
}

/// Looks, `look()`, until it finds something (or fails), or `until` has passed.
/// @param masked  signals may come in only while it looks: it does so often.
template <class Look>
int watch(const pollfd* files, nfds_t count, clock::time_point until, bool masked,
          Look look) noexcept {
  for (;;) {
    const int found = look();
    const auto now = clock::now();
    if (found != 0 || now >= until) {
      take_turns([&] { return std::any_of(files, files + count, [](auto& f) { return may_wait(mode_of(f.fd)); }); });
      return found;
    }
    const auto soon = now + std::chrono::milliseconds(20);
    if (!park(files, count, masked && soon < until ? soon : until)) return -1;
  }
}

inline int poll(pollfd* files, nfds_t count, clock::time_point until,
                const sigset_t* mask) noexcept {
  return watch(files, count, until, mask != nullptr, [&] {
    const timespec none{};
    return mask ? real::ppoll(files, count, &none, mask) : real::poll(files, count, 0);
  });
}

inline int epoll_wait(int set, epoll_event* events, int most, int timeout,
                      const sigset_t* mask) noexcept {
  const pollfd file{set, POLLIN, 0};
  return watch(&file, 1, after(timeout), mask != nullptr, [&] {
    return mask ? real::epoll_pwait(set, events, most, 0, mask)
                : real::epoll_wait(set, events, most, 0);
  });
}

/// The sets of a select, which it overwrites. Sets beyond FD_SETSIZE, which some programs allocate
/// themselves, are the real call's.
class select_sets {
public:
  select_sets(int count, fd_set* in, fd_set* out, fd_set* urgent) noexcept
      : count_(count), asked_{in, out, urgent} {
    for (int k = 0; k != 3; ++k) {
      if (asked_[k]) wanted_[k] = *asked_[k];
    }
    for (int fd = 0; fd < count; ++fd) add(fd);
  }

  int look(const sigset_t* mask) noexcept {
    fd_set now[3];
    fd_set* given[3];
    for (int k = 0; k != 3; ++k) {
      if (asked_[k]) now[k] = wanted_[k];
      given[k] = asked_[k] ? &now[k] : nullptr;
    }
    const timespec none{};
    const int found = real::pselect(count_, given[0], given[1], given[2], &none, mask);
    for (int k = 0; k != 3; ++k) {
      if (asked_[k] && found >= 0) *asked_[k] = now[k];
    }
    return found;
  }

  [[nodiscard]] const pollfd* files() const noexcept { return files_; }
  [[nodiscard]] nfds_t size() const noexcept { return size_; }

private:
  void add(int fd) noexcept {
    // What select(2) says of each set in terms of poll.
    constexpr short events[] = {POLLIN, POLLOUT, POLLPRI};
    short wanted = 0;
    for (int k = 0; k != 3; ++k) {
      if (asked_[k] && FD_ISSET(fd, &wanted_[k])) wanted = static_cast<short>(wanted | events[k]);
    }
    if (wanted != 0) files_[size_++] = {fd, wanted, 0};
  }

  const int count_;
  fd_set* const asked_[3];
  fd_set wanted_[3];
  pollfd files_[FD_SETSIZE];
  nfds_t size_ = 0;
};

inline int select(int count, fd_set* in, fd_set* out, fd_set* urgent, clock::time_point until,
                  const sigset_t* mask) noexcept {
  select_sets sets(count, in, out, urgent);
  return watch(sets.files(), sets.size(), until, mask != nullptr, [&] { return sets.look(mask); });
}

/// A question to the resolver, which a thread of its own asks. It outlives a caller that leaves.
struct lookup {
  std::string host, service;
  bool with_host = false, with_service = false, with_hints = false;
  addrinfo hints{};
  addrinfo* found = nullptr;
  int result = 0, error = 0;
  unique_fd done{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::atomic<bool> finished{false};

  lookup() = default;
  lookup(const lookup&) = delete;
  lookup& operator=(const lookup&) = delete;
  ~lookup() {
    if (found) ::freeaddrinfo(found);
  }

  void ask() noexcept {
    result = real::getaddrinfo(with_host ? host.c_str() : nullptr,
                               with_service ? service.c_str() : nullptr,
                               with_hints ? &hints : nullptr, &found);
    error = errno;
    finished.store(true, std::memory_order_release); // acquired by who has waited
    ::eventfd_write(done.get(), 1);
  }
};

inline int getaddrinfo(const char* host, const char* service, const addrinfo* hints,
                       addrinfo** found) noexcept {
  // An address is not asked for anywhere.
  addrinfo numeric{};
  if (hints) numeric = *hints;
  numeric.ai_flags |= AI_NUMERICHOST;
  const int result = real::getaddrinfo(host, service, host ? &numeric : hints, found);
  if (!host || result != EAI_NONAME || (hints && (hints->ai_flags & AI_NUMERICHOST))) return result;

  ROUSE_TRY {
    const auto question = std::make_shared<lookup>();
    question->host = host;
    question->with_host = true;
    if (service) question->service = service;
    question->with_service = service != nullptr;
    if (hints) question->hints = *hints;
    question->with_hints = hints != nullptr;
    if (!question->done) return EAI_SYSTEM;
    {
      const without_signals inherited;
      std::thread([question] { question->ask(); }).detach();
    }
    const pollfd file{question->done.get(), POLLIN, 0};
    while (!question->finished.load(std::memory_order_acquire)) {
      if (!park(&file, 1, (clock::time_point::max)())) return EAI_SYSTEM;
    }
    *found = std::exchange(question->found, nullptr);
    errno = question->error;
    return question->result;
  }
  ROUSE_CATCH(...) { return EAI_AGAIN; } // no memory, or no thread
}

} // namespace parked
} // namespace rouse::inline ROUSE_ABI::os
#endif

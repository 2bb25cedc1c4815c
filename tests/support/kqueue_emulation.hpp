// kqueue() and kevent() on Linux, over epoll(7): for tests of the kqueue driver, and hostile to it.
//
// What real kernels do rarely, or only some of them, happens here often, by dice:
//   - events of one socket come one by one, in any order, and late: by a later kevent() than that
//     which found them, even if the descriptor was closed meanwhile
//   - events come although nothing has happened
//   - EV_EOF comes while there is data left, and on the write filter after a reset; the error
//     number that comes with it is not the socket's
//   - a wait is interrupted by a signal after its changes have taken effect
//   - with every fourth seed, EVFILT_USER is accepted and never reported
// Like the real ones, it reports a refused change by EV_ERROR, refuses waits of more than 10^8
// seconds, drops the filters of a closed descriptor, and is not inherited by a forked child.
//
// ROUSE_KQUEUE_SEED in the environment is the seed; 0: nothing of the above. Only filters with
// EV_CLEAR are emulated.
#pragma once
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <map>
#include <mutex>
#include <vector>

#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct kevent {
  std::uintptr_t ident;
  std::int16_t filter;
  std::uint16_t flags;
  std::uint32_t fflags;
  std::intptr_t data;
  void* udata;
};

inline constexpr int EVFILT_READ = -1, EVFILT_WRITE = -2, EVFILT_USER = -10, EVFILT_EXCEPT = -15;
inline constexpr unsigned EV_ADD = 0x0001, EV_DELETE = 0x0002, EV_CLEAR = 0x0020,
                          EV_RECEIPT = 0x0040, EV_ERROR = 0x4000, EV_EOF = 0x8000;
inline constexpr std::uint32_t NOTE_OOB = 0x00000002, NOTE_TRIGGER = 0x01000000;

namespace kqueue_emulation {

class dice {
public:
  dice() {
    const char* seed = std::getenv("ROUSE_KQUEUE_SEED");
    seed_ = seed ? std::strtoul(seed, nullptr, 10) : 1;
    state_ = (seed_ + 1) * 0x9e3779b97f4a7c15u;
  }
  [[nodiscard]] unsigned long seed() const { return seed_; }
  /// Below `n`.
  std::size_t number(std::size_t n) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return (state_ >> 11) % n;
  }
  bool one_in(std::size_t n) { return seed_ != 0 && number(n) == 0; }

private:
  std::uint64_t seed_, state_;
};

/// For tests that want one of these events at a given moment.
struct control {
  static inline std::atomic<int> refuse_adds{0}; // the error of each EV_ADD; 0: none is refused
  // No event is late or invented, and no wait is interrupted.
  static inline std::atomic<bool> punctual{false};
  static inline std::atomic<bool> mute_user{false}; // EVFILT_USER is accepted and never reported
  static inline std::atomic<int> calls{0}; // of kevent()
  static inline std::atomic<int> refused{0}; // changes
};

/// The filters of one descriptor in one queue.
struct knote {
  static constexpr std::array<int, 3> filters = {EVFILT_READ, EVFILT_WRITE, EVFILT_EXCEPT};
  static std::size_t index_of(int filter) {
    return filter == EVFILT_READ ? 0 : filter == EVFILT_WRITE ? 1 : 2;
  }
  [[nodiscard]] bool empty() const { return !added[0] && !added[1] && !added[2]; }

  std::uint32_t device = 0;
  std::uint64_t inode = 0;
  std::uint32_t serial = 0; // of the file that the descriptor stands for
  std::array<bool, 3> added = {};
  std::array<void*, 3> udata = {};
};

/// One kqueue: an epoll set with the descriptors, edge-triggered, and the alarm: an eventfd(2) that
/// is readable for ever, and in the set whenever there are events that epoll does not know of.
struct queue {
  struct late_event {
    struct kevent event;
    std::uint32_t serial;
  };
  std::vector<knote> notes; // by descriptor
  std::array<late_event, 32> late;
  std::size_t late_count = 0;
  bool user_added = false, user_triggered = false;
  void* user_udata = nullptr;
};

class emulation {
public:
  static emulation& instance() {
#if defined(KQUEUE_EMULATION_BY_THREAD) // for threads that share no descriptors
    static thread_local emulation the;
    return the;
#else
    static auto* const the = new emulation; // usable at exit
    return *the;
#endif
  }

  int open() {
    const std::lock_guard lock(mutex_);
    if (alarm_ < 0) alarm_ = ::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    const int kq = ::epoll_create1(EPOLL_CLOEXEC);
    if (kq < 0) return -1;
    queues_[kq] = queue{};
    epoll_event e = tagged(alarm_, 0, 0);
    ::epoll_ctl(kq, EPOLL_CTL_ADD, alarm_, &e);
    return kq;
  }

  int run(int kq, const struct kevent* changes, int n_changes, struct kevent* events, int n_events,
          const timespec* timeout) {
    ++control::calls;
    if (timeout && timeout->tv_sec > 100'000'000) return failed(EINVAL);
    const timespec due = timeout ? later(*timeout) : timespec{};
    std::unique_lock lock(mutex_);
    if (!is_open(kq)) return failed(EBADF);
    queue& q = queues_[kq];
    const auto room = static_cast<std::size_t>(n_events);
    output out{events, room};
    for (int i = 0; i != n_changes; ++i) {
      struct kevent c = changes[i];
      const int error = apply(kq, q, c);
      if (error != 0) ++control::refused;
      if (error == 0 && !(c.flags & EV_RECEIPT)) continue;
      if (out.full()) return failed(error);
      c.flags = EV_ERROR;
      c.data = error;
      out.add(c);
    }
    if (room == 0 || out.count != 0) return out.result();
    const bool sleeps = !timeout || timeout->tv_sec != 0 || timeout->tv_nsec != 0;
    if (room > 1 && sleeps && !control::punctual && dice_.one_in(40)) return failed(EINTR);
    while (!collect(kq, q, out, 0)) {
      timespec left{};
      if (timeout && !time_left(due, left)) {
        if (q.late_count == 0) break;
        release(q, out, true);
        break;
      }
      lock.unlock();
      const int n = wait(kq, timeout ? &left : nullptr);
      lock.lock();
      if (n < 0) return failed(errno);
      if (collect(kq, q, out, static_cast<std::size_t>(n))) break;
    }
    sound_alarm(kq, q);
    for (std::size_t i = out.count; i > 1; --i)
      std::swap(events[i - 1], events[dice_.seed() ? dice_.number(i) : i - 1]);
    return out.result();
  }

  void before_fork() { mutex_.lock(); }
  void after_fork() { mutex_.unlock(); }
  // A forked child inherits no kqueue.
  void after_fork_in_child() {
    for (auto& [kq, q] : queues_)
      if (is_open(kq)) ::close(kq);
    queues_.clear();
    mutex_.unlock();
  }

private:
  struct output {
    struct kevent* events;
    std::size_t room;
    std::size_t count = 0;
    [[nodiscard]] bool full() const { return count == room; }
    void add(const struct kevent& e) { events[count++] = e; }
    [[nodiscard]] int result() const { return static_cast<int>(count); }
  };
  static constexpr std::size_t at_once = 64;

  static int failed(int error) {
    errno = error;
    return -1;
  }
  static epoll_event tagged(int fd, std::uint32_t serial, std::uint32_t events) {
    epoll_event e{};
    e.events = events;
    e.data.u64 = std::uint64_t{serial} << 32 | static_cast<std::uint32_t>(fd);
    return e;
  }

  // ---- time

  static timespec later(const timespec& t) {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    timespec sum{now.tv_sec + t.tv_sec, now.tv_nsec + t.tv_nsec};
    if (sum.tv_nsec >= 1'000'000'000) {
      ++sum.tv_sec;
      sum.tv_nsec -= 1'000'000'000;
    }
    return sum;
  }
  static bool time_left(const timespec& due, timespec& left) {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    left = {due.tv_sec - now.tv_sec, due.tv_nsec - now.tv_nsec};
    if (left.tv_nsec < 0) {
      --left.tv_sec;
      left.tv_nsec += 1'000'000'000;
    }
    return left.tv_sec >= 0 && (left.tv_sec != 0 || left.tv_nsec != 0);
  }
  // One thread at a time waits in a queue, but another may submit changes to it meanwhile.
  int wait(int kq, const timespec* left) {
    const long n = ::syscall(SYS_epoll_pwait2, kq, found(), int{at_once}, left, nullptr, 0);
    if (n >= 0 || errno != ENOSYS) return static_cast<int>(n);
    const long ms = left ? left->tv_sec * 1000 + (left->tv_nsec + 999'999) / 1'000'000 : -1;
    return ::epoll_wait(kq, found(), int{at_once},
                        static_cast<int>(ms < 1'000'000 ? ms : 1'000'000));
  }
  static epoll_event* found() {
    static thread_local epoll_event events[at_once];
    return events;
  }

  // ---- queues

  bool is_open(int kq) {
    const auto at = queues_.find(kq);
    if (at == queues_.end()) return false;
    // Only an epoll set that `open` made contains the alarm. (Nothing is changed: a forked child
    // shares the set with its parent.)
    epoll_event e = tagged(alarm_, 0, 0);
    if (::epoll_ctl(kq, EPOLL_CTL_ADD, alarm_, &e) != 0) return errno == EEXIST;
    ::epoll_ctl(kq, EPOLL_CTL_DEL, alarm_, nullptr);
    return false;
  }
  void sound_alarm(int kq, const queue& q) {
    const bool on = q.late_count != 0 || q.user_triggered;
    epoll_event e = tagged(alarm_, 0, on ? std::uint32_t{EPOLLIN} : 0);
    ::epoll_ctl(kq, EPOLL_CTL_MOD, alarm_, &e);
  }

  // A system call, not fstat(2): another thread may close the descriptor meanwhile, which is no
  // race for a kernel, but is one for ThreadSanitizer.
  static bool look_at(int fd, struct statx& s) {
    return ::syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_INO, &s) == 0;
  }
  // Whether the descriptor still stands for the file of its knote.
  static bool is_same(int fd, const knote& n) {
    struct statx s;
    return !n.empty() && look_at(fd, s) && s.stx_dev_minor == n.device && s.stx_ino == n.inode;
  }

  // Returns 0 or an error number.
  int apply(int kq, queue& q, const struct kevent& c) {
    if (c.filter == EVFILT_USER) return apply_user(kq, q, c);
    const int fd = static_cast<int>(c.ident);
    struct statx s;
    if (!look_at(fd, s)) return EBADF;
    if (q.notes.size() <= c.ident) q.notes.resize(c.ident + 64);
    knote& n = q.notes[c.ident];
    if (!is_same(fd, n)) {
      n.added = {};
      ++n.serial;
    }
    const int error = c.flags & EV_DELETE ? remove(kq, fd, n, c) : add(kq, fd, n, c, s);
    sound_alarm(kq, q);
    return error;
  }

  static int add(int kq, int fd, knote& n, const struct kevent& c, const struct statx& s) {
    if (!(c.flags & EV_ADD) || !(c.flags & EV_CLEAR)) return EINVAL;
    if (control::refuse_adds != 0) return control::refuse_adds;
    const bool is_socket = S_ISSOCK(s.stx_mode);
    if (c.filter == EVFILT_EXCEPT && (!is_socket || c.fflags != NOTE_OOB)) return EINVAL;
    const int mode = ::fcntl(fd, F_GETFL) & O_ACCMODE;
    if (c.filter == EVFILT_WRITE && mode == O_RDONLY) return EPIPE;
    epoll_event e =
        tagged(fd, n.serial, EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | std::uint32_t{EPOLLET});
    // Reports again what holds already.
    if (::epoll_ctl(kq, EPOLL_CTL_MOD, fd, &e) != 0 && ::epoll_ctl(kq, EPOLL_CTL_ADD, fd, &e) != 0)
      return errno == EPERM ? EINVAL : errno;
    n.device = s.stx_dev_minor;
    n.inode = s.stx_ino;
    n.added[knote::index_of(c.filter)] = true;
    n.udata[knote::index_of(c.filter)] = c.udata;
    return 0;
  }
  static int remove(int kq, int fd, knote& n, const struct kevent& c) {
    bool& added = n.added[knote::index_of(c.filter)];
    if (!added) return ENOENT;
    added = false;
    if (n.empty()) {
      ::epoll_ctl(kq, EPOLL_CTL_DEL, fd, nullptr);
      ++n.serial;
    }
    return 0;
  }

  int apply_user(int kq, queue& q, const struct kevent& c) {
    if (c.flags & EV_ADD) {
      if (!(c.flags & EV_CLEAR)) return EINVAL;
      q.user_added = true;
      q.user_udata = c.udata;
    }
    if (!q.user_added) return ENOENT;
    const bool mute = control::mute_user || dice_.seed() % 4 == 3;
    if ((c.fflags & NOTE_TRIGGER) && !mute) q.user_triggered = true;
    sound_alarm(kq, q);
    return 0;
  }

  // ---- events

  // Takes what there is, `n` events of epoll that were found already and more. Returns whether that
  // was something.
  bool collect(int kq, queue& q, output& out, std::size_t n) {
    if (n == 0) {
      const int more = ::epoll_wait(kq, found(), int{at_once}, 0);
      n = more > 0 ? static_cast<std::size_t>(more) : 0;
    }
    release(q, out, false);
    for (std::size_t i = 0; i != n; ++i) take(q, found()[i], out);
    if (q.user_triggered && !out.full()) {
      q.user_triggered = false;
      out.add({0, static_cast<std::int16_t>(EVFILT_USER), 0, 0, 0, q.user_udata});
    }
    if (!control::punctual && dice_.one_in(8)) invent(q, out);
    if (out.count == 0) release(q, out, true);
    return out.count != 0;
  }

  void take(queue& q, const epoll_event& found, output& out) {
    const auto fd = static_cast<std::uint32_t>(found.data.u64);
    const auto serial = static_cast<std::uint32_t>(found.data.u64 >> 32);
    if (fd >= q.notes.size()) return; // the alarm
    const knote& n = q.notes[fd];
    if (n.serial != serial || !is_same(static_cast<int>(fd), n)) return; // was closed
    const auto has = [&](std::uint32_t events) { return (found.events & events) != 0; };
    const bool broken = has(EPOLLHUP | EPOLLERR);
    if (has(EPOLLIN | EPOLLRDHUP) || broken)
      report(q, out, fd, EVFILT_READ, has(EPOLLRDHUP) || broken || dice_.one_in(8), has(EPOLLERR));
    if (has(EPOLLOUT) || broken) report(q, out, fd, EVFILT_WRITE, broken, has(EPOLLERR));
    if (has(EPOLLPRI)) report(q, out, fd, EVFILT_EXCEPT, false, false);
  }

  void report(queue& q, output& out, std::uint32_t fd, int filter, bool end, bool error) {
    const knote& n = q.notes[fd];
    const std::size_t i = knote::index_of(filter);
    if (!n.added[i]) return;
    struct kevent e = {};
    e.ident = fd;
    e.filter = static_cast<std::int16_t>(filter);
    e.flags = static_cast<std::uint16_t>(end ? EV_CLEAR | EV_EOF : EV_CLEAR);
    e.fflags = error ? ENOTRECOVERABLE : filter == EVFILT_EXCEPT ? NOTE_OOB : 0;
    e.data = static_cast<std::intptr_t>(dice_.number(100)); // misleads about the number of bytes
    e.udata = n.udata[i];
    const bool late =
        (out.full() || (!control::punctual && dice_.one_in(4))) && q.late_count != q.late.size();
    if (late)
      q.late[q.late_count++] = {e, n.serial};
    else if (!out.full())
      out.add(e);
    else
      std::abort(); // the event would be lost
  }

  // Delivers late events: about half of them, or all.
  void release(queue& q, output& out, bool all) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i != q.late_count; ++i) {
      const auto& l = q.late[i];
      const bool stale = q.notes[l.event.ident].serial != l.serial ||
                         !is_same(static_cast<int>(l.event.ident), q.notes[l.event.ident]);
      if (out.full() || (!all && dice_.one_in(2)))
        q.late[kept++] = l;
      else if (!stale || dice_.one_in(2))
        out.add(l.event);
    }
    q.late_count = kept;
  }

  // An event for no reason.
  void invent(queue& q, output& out) {
    if (q.notes.empty() || out.full()) return;
    const auto fd = static_cast<std::uint32_t>(dice_.number(q.notes.size()));
    if (is_same(static_cast<int>(fd), q.notes[fd]))
      report(q, out, fd, knote::filters[dice_.number(3)], false, false);
  }

  std::mutex mutex_;
  dice dice_;
  int alarm_ = -1;
  std::map<int, queue> queues_;
};

inline const bool watches_forks =
    ::pthread_atfork([] { emulation::instance().before_fork(); },
                     [] { emulation::instance().after_fork(); },
                     [] { emulation::instance().after_fork_in_child(); }) == 0;

} // namespace kqueue_emulation

inline int kqueue() { return kqueue_emulation::emulation::instance().open(); }

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow" // a function and a structure of one name, as in C
inline int kevent(int kq, const struct kevent* changes, int n_changes, struct kevent* events,
                  int n_events, const timespec* timeout) {
  return kqueue_emulation::emulation::instance().run(kq, changes, n_changes, events, n_events,
                                                     timeout);
}
#pragma GCC diagnostic pop

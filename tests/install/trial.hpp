// One run of a row of the differential test: on a plain thread, or in a fiber under install().
#pragma once
#include "support/testing.hpp"

#include <rouse/install.hpp>

#include <cerrno>
#include <cstdio>
#include <ctime>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

namespace testing {

/// A value of errno that a failing call replaces and a successful call keeps.
inline constexpr int untouched = 4711;

/// An address that no process can use, hidden from the compiler.
template <class T = void>
T* nowhere() {
  static volatile std::uintptr_t address = 16;
  return reinterpret_cast<T*>(address);
}

struct ends {
  int a, b;
};

/// Makes the calls of a row and records their results as text.
class trial {
public:
  /// @param parks  the scheduler of the calling fiber; null: a plain thread.
  explicit trial(rouse::fibers* parks) : sched_(parks) {}
  trial(const trial&) = delete;
  ~trial() {
    if (peer_.joinable()) peer_.join();
    for (int fd : files_) ::close(fd);
  }

  [[nodiscard]] const std::string& seen() const { return seen_; }

  // ---- files for a row, which are closed after it

  int keep(int fd) {
    if (fd < 0) note("a file could not be made: %s", ::strerrorname_np(errno));
    files_.push_back(fd);
    return fd;
  }
  /// The row closes it itself.
  void forget(int fd) { std::erase(files_, fd); }
  int socket(int family, int type) { return keep(::socket(family, type, 0)); }

  /// Two connected Unix-domain sockets.
  ends local(int type = SOCK_STREAM) {
    int fds[2] = {-1, -1};
    (void)!::socketpair(AF_UNIX, type, 0, fds);
    return {keep(fds[0]), keep(fds[1])};
  }
  ends pipe() {
    int fds[2] = {-1, -1};
    (void)!::pipe(fds);
    return {keep(fds[0]), keep(fds[1])};
  }

  static sockaddr_in loopback() {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
  }
  static sockaddr_in name_of(int fd) {
    sockaddr_in a{};
    socklen_t size = sizeof a;
    (void)::getsockname(fd, reinterpret_cast<sockaddr*>(&a), &size);
    return a;
  }
  static int connect_to(int fd, const sockaddr_in& a) {
    return ::connect(fd, reinterpret_cast<const sockaddr*>(&a), sizeof a);
  }
  /// On a free port of the loopback interface.
  int bound(int type) {
    const int fd = socket(AF_INET, type);
    const sockaddr_in any = loopback();
    (void)::bind(fd, reinterpret_cast<const sockaddr*>(&any), sizeof any);
    return fd;
  }
  int listener(int backlog = 8) {
    const int fd = bound(SOCK_STREAM);
    (void)::listen(fd, backlog);
    return fd;
  }
  /// An address without a listener.
  sockaddr_in nothing_there() {
    const int fd = bound(SOCK_STREAM);
    return name_of(fd);
  }
  ends tcp() {
    const int l = listener(), a = socket(AF_INET, SOCK_STREAM);
    (void)connect_to(a, name_of(l));
    return {a, keep(::accept(l, nullptr, nullptr))};
  }
  ends udp() {
    const int a = bound(SOCK_DGRAM), b = bound(SOCK_DGRAM);
    (void)connect_to(a, name_of(b));
    (void)connect_to(b, name_of(a));
    return {a, b};
  }

  static void set(int fd, int level, int option, int value) {
    (void)::setsockopt(fd, level, option, &value, sizeof value);
  }
  /// SO_RCVTIMEO, SO_SNDTIMEO.
  static void limit(int fd, int option, std::chrono::microseconds d = 20ms) {
    const timeval t{d.count() / 1'000'000, d.count() % 1'000'000};
    (void)::setsockopt(fd, SOL_SOCKET, option, &t, sizeof t);
  }
  static void put(int fd, std::string_view bytes, int flags = 0) {
    (void)!::send(fd, bytes.data(), bytes.size(), flags | MSG_NOSIGNAL);
  }
  /// Resets the connection instead of ending it.
  static void reset(int fd) {
    const linger hard{1, 0};
    (void)::setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    (void)::dup2(spare(), fd); // keeps the number in use
  }

  // ---- records

  template <class... Values>
  void note(const char* format, Values... values) {
    char line[512];
    if constexpr (sizeof...(values) == 0)
      std::snprintf(line, sizeof line, "%s", format);
    else
      std::snprintf(line, sizeof line, format, values...);
    seen_ += line;
    seen_ += "; ";
  }
  void note_bytes(const char* data, long size) {
    if (size >= 0) note("'%.*s'", static_cast<int>(size), data);
  }

  /// Runs on another thread while the next call waits.
  template <class Act>
  void meanwhile(Act act) {
    begun_ = returned_ = false;
    peer_ = std::thread([this, act, caller = ::gettid()] {
      waited_ = until_it_waits(caller);
      act();
    });
  }

  /// @returns the call's return value.
  template <class Call>
  auto call(const char* name, Call made) {
    begun_ = true;
    errno = untouched;
    const auto result = made();
    const int error = errno;
    returned_ = true;
    if (peer_.joinable()) {
      peer_.join();
      note("%s", waited_);
    }
    note("%s = %ld", name, static_cast<long>(result));
    if (error != untouched) note("errno %s", error == 0 ? "0" : ::strerrorname_np(error));
    return result;
  }
  /// Likewise; fails if the call ends before `d` has passed.
  template <class Call>
  auto call_lasting(std::chrono::microseconds d, const char* name, Call made) {
    const auto begun = std::chrono::steady_clock::now();
    const auto result = call(name, made);
    note(std::chrono::steady_clock::now() - begun >= d ? "late enough" : "too early");
    return result;
  }

  // ---- the usual calls

  long recv(int fd, std::size_t size, int flags = 0) {
    char data[64] = {};
    const long n = call("recv", [&] { return ::recv(fd, data, size, flags); });
    note_bytes(data, std::min<long>(n, static_cast<long>(size)));
    return n;
  }
  long send(int fd, std::string_view bytes, int flags = MSG_NOSIGNAL) {
    return call("send", [&] { return ::send(fd, bytes.data(), bytes.size(), flags); });
  }
  /// With space for `control` bytes of control data, in pieces of two bytes.
  long recvmsg(int fd, std::size_t size, int flags = 0, std::size_t room = 0) {
    char data[64] = {};
    alignas(cmsghdr) char control[256];
    iovec pieces[2] = {{data, std::min<std::size_t>(size, 2)}, {data + 2, size > 2 ? size - 2 : 0}};
    sockaddr_storage from{};
    msghdr m{};
    m.msg_name = &from, m.msg_namelen = sizeof from;
    m.msg_iov = pieces, m.msg_iovlen = 2;
    m.msg_control = room != 0 ? control : nullptr, m.msg_controllen = room;
    const long n = call("recvmsg", [&] { return ::recvmsg(fd, &m, flags); });
    note_bytes(data, std::min<long>(n, static_cast<long>(size)));
    note("flags %#x, name of %u", static_cast<unsigned>(m.msg_flags), m.msg_namelen);
    if (n >= 0) note_control(m);
    return n;
  }
  int poll(std::vector<pollfd> files, int timeout) {
    const int n = call("poll", [&] { return ::poll(files.data(), files.size(), timeout); });
    for (const pollfd& p : files) note("%#x", static_cast<unsigned>(p.revents));
    return n;
  }
  int connect(int fd, const sockaddr_in& a) {
    return call("connect", [&] { return connect_to(fd, a); });
  }
  int accept(int fd, int flags = 0) {
    sockaddr_in from{};
    socklen_t size = sizeof from;
    const int s = call("accepted", [&] {
      const int made = ::accept4(fd, reinterpret_cast<sockaddr*>(&from), &size, flags);
      return made < 0 ? made : (files_.push_back(made), 0);
    });
    note("name of %u, family %d", size, from.sin_family);
    return s < 0 ? s : files_.back();
  }

private:
  static int spare() {
    static const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    return fd;
  }

  void note_control(msghdr& m) {
    for (cmsghdr* c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
      note("control %d %d of %zu", c->cmsg_level, c->cmsg_type,
           static_cast<std::size_t>(c->cmsg_len));
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
      for (std::size_t at = CMSG_LEN(0); at + sizeof(int) <= c->cmsg_len; at += sizeof(int)) {
        int fd = -1;
        std::memcpy(&fd, reinterpret_cast<char*>(c) + at, sizeof fd);
        keep(fd);
      }
    }
  }

  // The caller's thread sleeps in the kernel; if the caller is a fiber, the loop goes on.
  const char* until_it_waits(pid_t caller) {
    const auto end = std::chrono::steady_clock::now() + patience;
    for (int asleep = 0; asleep != 2; std::this_thread::sleep_for(500us)) {
      if (returned_) return "it did not wait";
      if (std::chrono::steady_clock::now() > end) return "it never slept";
      asleep = begun_ && sleeps(caller) ? asleep + 1 : 0;
    }
    if (!sched_) return "it waited";
    const auto answered = std::make_shared<std::atomic<bool>>(false);
    sched_->post([answered] { *answered = true; });
    while (!*answered) {
      if (returned_) return "it did not wait";
      if (std::chrono::steady_clock::now() > end) return "it blocked its thread";
      std::this_thread::sleep_for(500us);
    }
    return "it waited";
  }

  static bool sleeps(pid_t thread) {
    char path[64], line[256] = {};
    std::snprintf(path, sizeof path, "/proc/self/task/%d/stat", thread);
    const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
    const long n = ::read(fd, line, sizeof line - 1);
    ::close(fd);
    const char* const name_ends = n > 0 ? std::strrchr(line, ')') : nullptr;
    return name_ends && name_ends[2] == 'S';
  }

  rouse::fibers* const sched_;
  std::string seen_;
  std::vector<int> files_;
  std::thread peer_;
  const char* waited_ = "";
  std::atomic<bool> begun_{false}, returned_{false};
};

struct row {
  const char* name;
  void (*body)(trial&);
};

inline std::string in_a_thread(const row& r) {
  std::string seen;
  std::thread([&] {
    trial t(nullptr);
    r.body(t);
    seen = t.seen();
  }).join();
  return seen;
}

inline std::string in_a_fiber(const row& r) {
  std::string seen;
  std::thread([&] {
    rouse::fibers sched;
    rouse::install(sched);
    sched.spawn([&] {
      trial t(&sched);
      r.body(t);
      seen = t.seen();
    });
    sched.run_for(patience); // calls that still wait then end with ECANCELED
  }).join();
  return seen;
}

} // namespace testing

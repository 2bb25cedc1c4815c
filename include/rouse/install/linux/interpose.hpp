// Definitions of the C library's blocking functions that precede the library's own. They are strong
// definitions, so only one source file of a program may include this header.
//
//     program: recv is defined here; the linker exports it, since the C library exports it too
//     libpq.so, libcurl.so, ... and libraries that dlopen(3) loads later:
//              recv is bound to the first definition in search order, the program's
//     libc.so: calls inside the C library (stdio, its resolver) do not go through the symbol
//              and stay the C library's
//
// Each definition is of this form:
//
//     recv      installed::here() and the call may wait?   parked::receive   else   real::recv
//
// installed::here() says whether the caller is a fiber that may be parked; parked:: parks it while
// the call would block; real:: is the C library's function, found by dlsym(3) with RTLD_NEXT.
#pragma once
#include <rouse/config.hpp>
#include <rouse/install/linux/calls.hpp>
#include <rouse/install/linux/files.hpp>
#include <rouse/install/linux/handlers.hpp>
#include <rouse/install/linux/lookup.hpp>
#include <rouse/install/linux/sockets.hpp>

#if ROUSE_LINUX
#include <cerrno>
#include <csignal>
#include <ctime>
#include <netdb.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os {
/// While one exists, libraries call the functions defined here. On Linux they always do.
class interposed_calls {
public:
  interposed_calls() noexcept { held_file::begin_in_this_process(); }
};
}}} // namespace rouse::ROUSE_ABI::os

namespace rouse { inline namespace ROUSE_ABI { namespace os { namespace installed {

inline const bool all_found = real::find_all(); // before main

// For read and write, which work on any file: returns `of_socket()`, or `of_file()` if the file is
// not a socket.
template <class OfSocket, class OfFile>
ssize_t socket_or_file(OfSocket of_socket, OfFile of_file) {
  const int before = errno;
  ssize_t n = of_socket();
  if (n >= 0 || errno != ENOTSOCK) return n;
  errno = before;
  n = of_file();
  if (n >= 0) errno = before;
  return n;
}

// Whether a list has bytes to move. A call without bytes returns at once, and a list of invalid
// length is left to the C library's function, which refuses it.
inline bool moves_bytes(const iovec* data, int count) noexcept {
  return count > 0 && count <= IOV_MAX && parked::size_of(parked::pieces(data, count)) != 0;
}

}}}} // namespace rouse::ROUSE_ABI::os::installed

// In C++ the functions have other names, because the system's headers declare the C names, and
// define some of them. The asm label gives the C name.
#define ROUSE_BEFORE_LIBC(name) asm(name) __attribute__((visibility("default"), used))

extern "C" {
int rouse_connect(int, const sockaddr*, socklen_t) ROUSE_BEFORE_LIBC("connect");
int rouse_accept(int, sockaddr*, socklen_t*) ROUSE_BEFORE_LIBC("accept");
int rouse_accept4(int, sockaddr*, socklen_t*, int) ROUSE_BEFORE_LIBC("accept4");
ssize_t rouse_read(int, void*, size_t) ROUSE_BEFORE_LIBC("read");
ssize_t rouse_write(int, const void*, size_t) ROUSE_BEFORE_LIBC("write");
ssize_t rouse_readv(int, const iovec*, int) ROUSE_BEFORE_LIBC("readv");
ssize_t rouse_writev(int, const iovec*, int) ROUSE_BEFORE_LIBC("writev");
ssize_t rouse_recv(int, void*, size_t, int) ROUSE_BEFORE_LIBC("recv");
ssize_t rouse_recvfrom(int, void*, size_t, int, sockaddr*, socklen_t*)
    ROUSE_BEFORE_LIBC("recvfrom");
ssize_t rouse_recvmsg(int, msghdr*, int) ROUSE_BEFORE_LIBC("recvmsg");
ssize_t rouse_send(int, const void*, size_t, int) ROUSE_BEFORE_LIBC("send");
ssize_t rouse_sendto(int, const void*, size_t, int, const sockaddr*, socklen_t)
    ROUSE_BEFORE_LIBC("sendto");
ssize_t rouse_sendmsg(int, const msghdr*, int) ROUSE_BEFORE_LIBC("sendmsg");
int rouse_poll(pollfd*, nfds_t, int) ROUSE_BEFORE_LIBC("poll");
int rouse_ppoll(pollfd*, nfds_t, const timespec*, const sigset_t*) ROUSE_BEFORE_LIBC("ppoll");
int rouse_select(int, fd_set*, fd_set*, fd_set*, timeval*) ROUSE_BEFORE_LIBC("select");
int rouse_pselect(int, fd_set*, fd_set*, fd_set*, const timespec*, const sigset_t*)
    ROUSE_BEFORE_LIBC("pselect");
int rouse_epoll_wait(int, epoll_event*, int, int) ROUSE_BEFORE_LIBC("epoll_wait");
int rouse_epoll_pwait(int, epoll_event*, int, int, const sigset_t*)
    ROUSE_BEFORE_LIBC("epoll_pwait");
int rouse_epoll_pwait2(int, epoll_event*, int, const timespec*, const sigset_t*)
    ROUSE_BEFORE_LIBC("epoll_pwait2");
int rouse_close(int) ROUSE_BEFORE_LIBC("close");
int rouse_setsockopt(int, int, int, const void*, socklen_t) ROUSE_BEFORE_LIBC("setsockopt");
int rouse_getaddrinfo(const char*, const char*, const addrinfo*, addrinfo**)
    ROUSE_BEFORE_LIBC("getaddrinfo");
unsigned rouse_sleep(unsigned) ROUSE_BEFORE_LIBC("sleep");
int rouse_usleep(useconds_t) ROUSE_BEFORE_LIBC("usleep");
int rouse_nanosleep(const timespec*, timespec*) ROUSE_BEFORE_LIBC("nanosleep");
int rouse_clock_nanosleep(clockid_t, int, const timespec*, timespec*)
    ROUSE_BEFORE_LIBC("clock_nanosleep");
int rouse_sigaction(int, const struct sigaction*, struct sigaction*) ROUSE_BEFORE_LIBC("sigaction");
using rouse_signal_handler = void (*)(int);
rouse_signal_handler rouse_signal(int, rouse_signal_handler) ROUSE_BEFORE_LIBC("signal");
rouse_signal_handler rouse_bsd_signal(int, rouse_signal_handler) ROUSE_BEFORE_LIBC("bsd_signal");
rouse_signal_handler rouse_ssignal(int, rouse_signal_handler) ROUSE_BEFORE_LIBC("ssignal");
rouse_signal_handler rouse_sysv_signal(int, rouse_signal_handler) ROUSE_BEFORE_LIBC("sysv_signal");
rouse_signal_handler rouse_sysv_signal_alias(int, rouse_signal_handler)
    ROUSE_BEFORE_LIBC("__sysv_signal");
rouse_signal_handler rouse_sigset(int, rouse_signal_handler) ROUSE_BEFORE_LIBC("sigset");
// The names that libraries call if they were compiled with _FORTIFY_SOURCE, and an alias of poll.
ssize_t rouse_read_chk(int, void*, size_t, size_t) ROUSE_BEFORE_LIBC("__read_chk");
ssize_t rouse_recv_chk(int, void*, size_t, size_t, int) ROUSE_BEFORE_LIBC("__recv_chk");
ssize_t rouse_recvfrom_chk(int, void*, size_t, size_t, int, sockaddr*, socklen_t*)
    ROUSE_BEFORE_LIBC("__recvfrom_chk");
int rouse_poll_chk(pollfd*, nfds_t, int, size_t) ROUSE_BEFORE_LIBC("__poll_chk");
int rouse_ppoll_chk(pollfd*, nfds_t, const timespec*, const sigset_t*, size_t)
    ROUSE_BEFORE_LIBC("__ppoll_chk");
int rouse_poll_alias(pollfd*, nfds_t, int) ROUSE_BEFORE_LIBC("__poll");
[[noreturn]] void rouse_chk_fail() noexcept asm("__chk_fail"); // defined by the C library
}
#undef ROUSE_BEFORE_LIBC

// ---- sockets

extern "C" int rouse_connect(int fd, const sockaddr* peer, socklen_t length) {
  using namespace rouse::os;
  return installed::here() ? parked::connect(fd, peer, length) : real::connect(fd, peer, length);
}
extern "C" int rouse_accept(int fd, sockaddr* peer, socklen_t* length) {
  return rouse_accept4(fd, peer, length, 0);
}
extern "C" int rouse_accept4(int fd, sockaddr* peer, socklen_t* length, int flags) {
  using namespace rouse::os;
  return installed::here() ? parked::accept4(fd, peer, length, flags)
                           : real::accept4(fd, peer, length, flags);
}

extern "C" ssize_t rouse_recvfrom(int fd, void* data, size_t size, int flags, sockaddr* from,
                                  socklen_t* length) {
  using namespace rouse::os;
  const auto call = [&](int f) { return real::recvfrom(fd, data, size, f, from, length); };
  if ((flags & MSG_DONTWAIT) || !installed::here()) return call(flags);
  const iovec piece{data, size};
  msghdr m = parked::pieces(&piece, 1);
  if ((flags & MSG_WAITALL) == 0) return parked::receive(fd, m, flags, call);
  // Only recvmsg reports whether the bytes brought descriptors, which end the wait for more.
  m.msg_name = from;
  m.msg_namelen = from && length ? *length : 0;
  const ssize_t n = rouse_recvmsg(fd, &m, flags);
  if (n >= 0 && from && length) *length = m.msg_namelen;
  return n;
}
extern "C" ssize_t rouse_recv(int fd, void* data, size_t size, int flags) {
  using namespace rouse::os;
  const auto call = [&](int f) { return real::recv(fd, data, size, f); };
  if ((flags & MSG_DONTWAIT) || !installed::here()) return call(flags);
  if (flags & MSG_WAITALL) return rouse_recvfrom(fd, data, size, flags, nullptr, nullptr);
  const iovec piece{data, size};
  return parked::receive(fd, parked::pieces(&piece, 1), flags, call);
}
extern "C" ssize_t rouse_recvmsg(int fd, msghdr* m, int flags) {
  using namespace rouse::os;
  const auto call = [&](int f) { return real::recvmsg(fd, m, f); };
  if ((flags & MSG_DONTWAIT) || !m || !installed::here()) return call(flags);
  // Reads `*m` before the call only if needed: a bad pointer is left to the kernel, which refuses
  // it.
  const std::size_t room = (flags & MSG_WAITALL) ? m->msg_controllen : 0;
  return parked::receive(fd, *m, flags, call, m, room);
}

extern "C" ssize_t rouse_sendto(int fd, const void* data, size_t size, int flags,
                                const sockaddr* to, socklen_t length) {
  using namespace rouse::os;
  const auto call = [&](int f) { return real::sendto(fd, data, size, f, to, length); };
  if ((flags & MSG_DONTWAIT) || !installed::here()) return call(flags);
  const iovec piece{const_cast<void*>(data), size};
  msghdr m = parked::pieces(&piece, 1);
  m.msg_name = const_cast<sockaddr*>(to);
  m.msg_namelen = length;
  return parked::send(fd, m, flags, call);
}
extern "C" ssize_t rouse_send(int fd, const void* data, size_t size, int flags) {
  using namespace rouse::os;
  const auto call = [&](int f) { return real::send(fd, data, size, f); };
  if ((flags & MSG_DONTWAIT) || !installed::here()) return call(flags);
  const iovec piece{const_cast<void*>(data), size};
  return parked::send(fd, parked::pieces(&piece, 1), flags, call);
}
extern "C" ssize_t rouse_sendmsg(int fd, const msghdr* m, int flags) {
  using namespace rouse::os;
  const auto call = [&](int f) { return real::sendmsg(fd, m, f); };
  if ((flags & MSG_DONTWAIT) || !m || !installed::here()) return call(flags);
  return parked::send(fd, *m, flags, call);
}

extern "C" ssize_t rouse_read(int fd, void* data, size_t size) {
  using namespace rouse::os;
  const auto call = [&] { return real::read(fd, data, size); };
  if (size == 0 || !installed::here()) return call();
  const iovec piece{data, size};
  return installed::socket_or_file([&] { return rouse_recv(fd, data, size, 0); },
                                   [&] { return parked::read_file(fd, &piece, 1, call); });
}
extern "C" ssize_t rouse_write(int fd, const void* data, size_t size) {
  using namespace rouse::os;
  const auto call = [&] { return real::write(fd, data, size); };
  if (size == 0 || !installed::here()) return call();
  const iovec piece{const_cast<void*>(data), size}; // read only
  return installed::socket_or_file([&] { return rouse_send(fd, data, size, 0); },
                                   [&] { return parked::write_file(fd, &piece, 1, call); });
}
extern "C" ssize_t rouse_readv(int fd, const iovec* data, int count) {
  using namespace rouse::os;
  const auto call = [&] { return real::readv(fd, data, count); };
  if (!installed::here() || !installed::moves_bytes(data, count)) return call();
  msghdr m = parked::pieces(data, count);
  return installed::socket_or_file([&] { return rouse_recvmsg(fd, &m, 0); },
                                   [&] { return parked::read_file(fd, data, count, call); });
}
extern "C" ssize_t rouse_writev(int fd, const iovec* data, int count) {
  using namespace rouse::os;
  const auto call = [&] { return real::writev(fd, data, count); };
  if (!installed::here() || !installed::moves_bytes(data, count)) return call();
  const msghdr m = parked::pieces(data, count);
  return installed::socket_or_file([&] { return rouse_sendmsg(fd, &m, 0); },
                                   [&] { return parked::write_file(fd, data, count, call); });
}

extern "C" int rouse_close(int fd) {
  using namespace rouse::os;
  if (call_parker::here && !inside_handler()) call_parker::here->closing(fd);
  held_file::closing(fd);
  return real::close(fd);
}

extern "C" int rouse_setsockopt(int fd, int level, int name, const void* value, socklen_t size) {
  using namespace rouse::os;
  if (level == SOL_SOCKET && name == SO_RCVLOWAT)
    parked::low_marks_are_used.store(true, std::memory_order_relaxed);
  return real::setsockopt(fd, level, name, value, size);
}

// ---- many files

extern "C" int rouse_poll(pollfd* files, nfds_t count, int timeout) {
  using namespace rouse::os;
  if (timeout == 0 || !installed::here()) return real::poll(files, count, timeout);
  return parked::poll(files, count, parked::after(timeout), nullptr);
}
extern "C" int rouse_poll_alias(pollfd* files, nfds_t count, int timeout) {
  return rouse_poll(files, count, timeout);
}
extern "C" int rouse_ppoll(pollfd* files, nfds_t count, const timespec* timeout,
                           const sigset_t* mask) {
  using namespace rouse::os;
  if (!installed::here() || !parked::valid(timeout))
    return real::ppoll(files, count, timeout, mask);
  return parked::poll(files, count, parked::after(timeout), mask);
}
extern "C" int rouse_pselect(int count, fd_set* in, fd_set* out, fd_set* urgent,
                             const timespec* timeout, const sigset_t* mask) {
  using namespace rouse::os;
  if (!installed::here() || count > FD_SETSIZE || !parked::valid(timeout))
    return real::pselect(count, in, out, urgent, timeout, mask);
  return parked::select(count, in, out, urgent, parked::after(timeout), mask);
}
extern "C" int rouse_select(int count, fd_set* in, fd_set* out, fd_set* urgent, timeval* timeout) {
  using namespace rouse::os;
  timespec limit{};
  if (timeout) // tv_usec may exceed one second
    limit = {timeout->tv_sec + timeout->tv_usec / 1'000'000, timeout->tv_usec % 1'000'000 * 1000};
  if (!installed::here() || count > FD_SETSIZE || !parked::valid(&limit))
    return real::select(count, in, out, urgent, timeout);
  const auto until = parked::after(timeout ? &limit : nullptr);
  const int found = parked::select(count, in, out, urgent, until, nullptr);
  if (timeout) { // as Linux does: the remaining time
    const timespec left = time_left(until);
    *timeout = {left.tv_sec, left.tv_nsec / 1000};
  }
  return found;
}
extern "C" int rouse_epoll_wait(int set, epoll_event* events, int most, int timeout) {
  using namespace rouse::os;
  if (timeout == 0 || !installed::here()) return real::epoll_wait(set, events, most, timeout);
  return parked::epoll_wait(set, events, most, parked::after(timeout), nullptr);
}
extern "C" int rouse_epoll_pwait(int set, epoll_event* events, int most, int timeout,
                                 const sigset_t* mask) {
  using namespace rouse::os;
  if (timeout == 0 || !installed::here())
    return real::epoll_pwait(set, events, most, timeout, mask);
  return parked::epoll_wait(set, events, most, parked::after(timeout), mask);
}
extern "C" int rouse_epoll_pwait2(int set, epoll_event* events, int most, const timespec* timeout,
                                  const sigset_t* mask) {
  using namespace rouse::os;
  if (!installed::here() || !parked::valid(timeout))
    return real::epoll_pwait2(set, events, most, timeout, mask);
  return parked::epoll_wait(set, events, most, parked::after(timeout), mask);
}

// ---- names, sleep

extern "C" int rouse_getaddrinfo(const char* host, const char* service, const addrinfo* hints,
                                 addrinfo** found) {
  using namespace rouse::os;
  return installed::here() ? parked::look_up<parked::names>(host, service, hints, found)
                           : real::getaddrinfo(host, service, hints, found);
}

extern "C" int rouse_clock_nanosleep(clockid_t id, int flags, const timespec* t, timespec* left) {
  using namespace rouse::os;
  const bool absolute = (flags & TIMER_ABSTIME) != 0;
  const bool known =
      id == CLOCK_REALTIME || id == CLOCK_MONOTONIC || id == CLOCK_BOOTTIME || id == CLOCK_TAI;
  if (!installed::here() || !known || !t || !parked::valid(t))
    return real::clock_nanosleep(id, flags, t, left);
  const int before = errno;
  auto until = parked::after(t);
  if (absolute) {
    timespec now{};
    ::clock_gettime(id, &now);
    until -= std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
  }
  const int error = parked::sleep_until(until, interruption::by::handlers);
  if (error != 0 && !absolute && left) *left = time_left(until);
  errno = before;
  return error;
}
extern "C" int rouse_nanosleep(const timespec* t, timespec* left) {
  using namespace rouse::os;
  if (!installed::here() || !t || !parked::valid(t)) return real::nanosleep(t, left);
  const int error = rouse_clock_nanosleep(CLOCK_MONOTONIC, 0, t, left);
  if (error == 0) return 0;
  errno = error;
  return -1;
}
extern "C" int rouse_usleep(useconds_t microseconds) {
  const timespec t{static_cast<time_t>(microseconds / 1'000'000),
                   static_cast<long>(microseconds % 1'000'000) * 1000};
  return rouse_nanosleep(&t, nullptr);
}
extern "C" unsigned rouse_sleep(unsigned seconds) {
  const timespec t{static_cast<time_t>(seconds), 0};
  timespec left{};
  if (rouse_nanosleep(&t, &left) == 0) return 0;
  return static_cast<unsigned>(left.tv_sec); // rounded down, as by the C library
}

// ---- signals

extern "C" int rouse_sigaction(int n, const struct sigaction* wanted, struct sigaction* before) {
  return rouse::os::signal_handlers::set(n, wanted, before);
}
extern "C" rouse_signal_handler rouse_signal(int n, rouse_signal_handler wanted) {
  using namespace rouse::os;
  return signal_handlers::set(n, wanted, real::signal);
}
extern "C" rouse_signal_handler rouse_bsd_signal(int n, rouse_signal_handler wanted) {
  return rouse_signal(n, wanted);
}
extern "C" rouse_signal_handler rouse_ssignal(int n, rouse_signal_handler wanted) {
  return rouse_signal(n, wanted);
}
extern "C" rouse_signal_handler rouse_sysv_signal(int n, rouse_signal_handler wanted) {
  using namespace rouse::os;
  return signal_handlers::set(n, wanted, real::sysv_signal);
}
extern "C" rouse_signal_handler rouse_sysv_signal_alias(int n, rouse_signal_handler wanted) {
  return rouse_sysv_signal(n, wanted);
}
extern "C" rouse_signal_handler rouse_sigset(int n, rouse_signal_handler wanted) {
  using namespace rouse::os;
  return signal_handlers::set(n, wanted, real::sigset);
}

// ---- _FORTIFY_SOURCE: the size of the buffer is known

extern "C" ssize_t rouse_read_chk(int fd, void* data, size_t size, size_t room) {
  if (size > room) rouse_chk_fail();
  return rouse_read(fd, data, size);
}
extern "C" ssize_t rouse_recv_chk(int fd, void* data, size_t size, size_t room, int flags) {
  if (size > room) rouse_chk_fail();
  return rouse_recv(fd, data, size, flags);
}
extern "C" ssize_t rouse_recvfrom_chk(int fd, void* data, size_t size, size_t room, int flags,
                                      sockaddr* from, socklen_t* length) {
  if (size > room) rouse_chk_fail();
  return rouse_recvfrom(fd, data, size, flags, from, length);
}
extern "C" int rouse_poll_chk(pollfd* files, nfds_t count, int timeout, size_t room) {
  if (room / sizeof *files < count) rouse_chk_fail();
  return rouse_poll(files, count, timeout);
}
extern "C" int rouse_ppoll_chk(pollfd* files, nfds_t count, const timespec* timeout,
                               const sigset_t* mask, size_t room) {
  if (room / sizeof *files < count) rouse_chk_fail();
  return rouse_ppoll(files, count, timeout, mask);
}
#endif

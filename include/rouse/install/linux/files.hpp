// read and write for fibers, on files other than sockets that may have to wait for another party:
// pipes, terminals, eventfds, timerfds and similar files.
#pragma once
#include <rouse/config.hpp>
#include <rouse/install/linux/calls.hpp>

#if ROUSE_LINUX
#include <cerrno>
#include <climits>
#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <termios.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os { namespace parked {

/// Whether an attempt failed because the file or the kernel does not support RWF_NOWAIT.
inline bool lacks_nowait() noexcept { return errno == EOPNOTSUPP || errno == ENOSYS; }

/// Whether the file is a terminal in a mode in which reads wait for no byte or a limited time.
inline bool reads_by_timer(int fd) noexcept {
  termios t{};
  const int before = errno;
  const bool known = ::tcgetattr(fd, &t) == 0;
  errno = before;
  return known && (t.c_lflag & ICANON) == 0 && t.c_cc[VMIN] == 0;
}

// If a file does not support RWF_NOWAIT (a terminal, for example), poll(2) precedes the call. If
// another thread or process takes the bytes between the two steps, the read blocks the thread.

/// read(2) and readv(2). `whole()` makes the system's call.
template <class Whole>
ssize_t read_file(int fd, const iovec* pieces, int count, Whole whole) noexcept {
  if (!may_wait(mode_of(fd))) return whole();
  call_timeout p(fd, POLLIN, SO_RCVTIMEO, "read");
  const ssize_t n = retry(p, [&]() -> ssize_t {
    const ssize_t got = ::preadv2(fd, pieces, count, -1, RWF_NOWAIT);
    if (got >= 0 || !lacks_nowait()) return got;
    return !p.blocks() || reads_by_timer(fd) || is_ready(fd, POLLIN) ? whole() : -1;
  });
  take_turns();
  return n;
}

/// Writes what a writable pipe takes without waiting: at most PIPE_BUF bytes.
inline ssize_t write_part(int fd, const iovec* pieces, int count) noexcept {
  std::size_t size = 0;
  for (int i = 0; i != count; ++i) size += pieces[i].iov_len;
  if (size <= PIPE_BUF) return real::writev(fd, pieces, count);
  while (pieces->iov_len == 0) ++pieces;
  return real::write(fd, pieces->iov_base, pieces->iov_len < PIPE_BUF ? pieces->iov_len : PIPE_BUF);
}

/// write(2) and writev(2). `whole()` makes the system's call. A pipe gets as many bytes as it has
/// room for, until all are written. Any other file gets all bytes at once when it is writable.
template <class Whole>
ssize_t write_file(int fd, const iovec* pieces, int count, Whole whole) noexcept {
  const mode_t mode = mode_of(fd);
  if (!may_wait(mode)) return whole();
  const bool in_parts = S_ISFIFO(mode);
  call_timeout p(fd, POLLOUT, SO_SNDTIMEO, "write");
  const auto attempt = [&](const iovec* part, int parts) -> ssize_t {
    const ssize_t done = ::pwritev2(fd, part, parts, -1, RWF_NOWAIT);
    if (done >= 0 || !lacks_nowait()) return done;
    if (p.blocks() && !is_ready(fd, POLLOUT)) return -1;
    return in_parts && p.blocks() ? write_part(fd, part, parts) : real::writev(fd, part, parts);
  };
  ssize_t n = retry(p, [&] { return attempt(pieces, count); });
  if (in_parts && n >= 0 && p.blocks()) {
    const msghdr all = os::parked::pieces(pieces, count);
    n = move_rest(p, all, n, [&](void* data, std::size_t size) {
      const iovec rest{data, size};
      return attempt(&rest, 1);
    });
  }
  take_turns();
  return n;
}

}}}} // namespace rouse::ROUSE_ABI::os::parked
#endif

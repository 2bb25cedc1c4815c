// Reads and writes of what is no socket, made so that they block a flow and not its thread where
// another party has to act first: pipes, terminals, eventfds, timerfds and the like.
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

/// Whether an attempt failed because this file, or this kernel, has no calls that do not wait.
inline bool lacks_nowait() noexcept { return errno == EOPNOTSUPP || errno == ENOSYS; }

/// Whether a read waits for no byte, or for a limited time only, as a terminal may be told to.
inline bool reads_by_timer(int fd) noexcept {
  termios t{};
  const int before = errno;
  const bool known = ::tcgetattr(fd, &t) == 0;
  errno = before;
  return known && (t.c_lflag & ICANON) == 0 && t.c_cc[VMIN] == 0;
}

// A file that lacks calls that do not wait (a terminal, say) is asked with poll(2) first. What
// another thread or process takes between the two steps, the read then waits for.

/// read(2) and readv(2). `whole()` makes the call as it is.
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

/// Of a pipe the part that it takes at once: PIPE_BUF bytes, once there is room for any.
inline ssize_t write_part(int fd, const iovec* pieces, int count) noexcept {
  std::size_t size = 0;
  for (int i = 0; i != count; ++i) size += pieces[i].iov_len;
  if (size <= PIPE_BUF) return real::writev(fd, pieces, count);
  while (pieces->iov_len == 0) ++pieces;
  return real::write(fd, pieces->iov_base, pieces->iov_len < PIPE_BUF ? pieces->iov_len : PIPE_BUF);
}

/// write(2) and writev(2). A pipe takes what it has room for, until it has all; any other file is
/// given all at once when it is writable.
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

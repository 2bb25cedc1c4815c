// Socket calls for fibers. The kernel's blocking calls do more than wait once; these functions
// repeat what the kernel does:
//
//     receive   waits for MSG_WAITALL or SO_RCVLOWAT bytes, except before urgent data, an error,
//               the end of the stream or passed descriptors
//     send      waits until all bytes are sent; MSG_FASTOPEN waits for the connection first
//     accept4   waits for a connection, since accept4(2) has no flag against waiting
//     connect   begins in non-blocking mode, waits for the outcome, returns the socket's error
#pragma once
#include <rouse/config.hpp>
#include <rouse/install/linux/calls.hpp>

#if ROUSE_LINUX
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os { namespace parked {

/// Whether a transfer that has moved bytes has to stop because the connection has failed. The next
/// call then reports the error. On a Unix-domain socket the call that returns the part consumes
/// the error, so the transfer goes on until it meets it. (POLLERR alone may mean a message in the
/// error queue, which does not stop a transfer.)
inline bool has_failed(int fd, short events) noexcept {
  constexpr short failed = POLLERR | POLLHUP;
  return (events & failed) == failed && option(fd, SO_DOMAIN) != AF_UNIX;
}

/// Whether the connection has failed after part of the bytes were sent.
inline bool send_ends(int fd) noexcept {
  pollfd p{fd, 0, 0};
  return real::poll(&p, nfds_t{1}, 0) > 0 && has_failed(fd, p.revents);
}

/// Whether a call that has received bytes has to return: before urgent data, or before an error if
/// no byte is left.
inline bool receive_ends(int fd) noexcept {
  pollfd p{fd, POLLPRI, 0};
  if (real::poll(&p, nfds_t{1}, 0) <= 0) return false;
  int at_mark = 0, left = 0;
  if ((p.revents & POLLPRI) && ::ioctl(fd, SIOCATMARK, &at_mark) == 0 && at_mark != 0) return true;
  return has_failed(fd, p.revents) && !(::ioctl(fd, FIONREAD, &left) == 0 && left > 0);
}

/// Whether a message brought descriptors, or lost them because the buffer was too small. Later
/// bytes are left to the next call.
inline bool brought_descriptors(const msghdr& m) noexcept {
  if (m.msg_flags & MSG_CTRUNC) return true;
  auto& all = const_cast<msghdr&>(m); // CMSG_NXTHDR wants it mutable
  for (cmsghdr* c = CMSG_FIRSTHDR(&all); c; c = CMSG_NXTHDR(&all, c)) {
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) return true;
  }
  return false;
}

/// Whether this program has ever set SO_RCVLOWAT. Only then does recv have to ask for it.
inline std::atomic<bool> low_marks_are_used{false};

/// Continues after a recv on a stream has returned `n` bytes, fewer than the call has to wait for.
/// @param m     the caller's message, or null.
/// @param room  the size of its buffer for control data.
template <class Attempt>
ssize_t receive_rest(int& fd, call_timeout& p, const msghdr& data, msghdr* m, std::size_t room,
                     int flags, ssize_t n, Attempt attempt) noexcept {
  const std::size_t size = size_of(data);
  const bool all = (flags & MSG_WAITALL) != 0;
  const auto wanted =
      all ? size : (std::min)(size, static_cast<std::size_t>(option(fd, SO_RCVLOWAT)));
  if (static_cast<std::size_t>(n) >= wanted || !p.blocks() || option(fd, SO_TYPE) != SOCK_STREAM)
    return n;
  p.has_moved_part();
  if (flags & MSG_PEEK) {
    // TCP waits until all bytes are there. A Unix-domain socket does not.
    while (n > 0 && static_cast<std::size_t>(n) < wanted && p.nowait() != 0 &&
           option(fd, SO_DOMAIN) != AF_UNIX && !receive_ends(fd) && p.wait())
      n = attempt();
    return n;
  }
  bool over = m && brought_descriptors(*m);
  return move_rest(
      p, data, n,
      [&](void* to, std::size_t most) -> ssize_t {
        if (over || receive_ends(fd)) return 0;
        iovec piece{to, most};
        msghdr part = pieces(&piece, 1);
        part.msg_control = m ? m->msg_control : nullptr;
        part.msg_controllen = room;
        const ssize_t got = real::recvmsg(fd, &part, flags | MSG_DONTWAIT);
        if (got < 0 || !m) return got;
        over = brought_descriptors(part);
        m->msg_flags |= part.msg_flags;
        if (part.msg_controllen != 0) m->msg_controllen = part.msg_controllen;
        return got;
      },
      wanted);
}

/// Whether a receiving call never waits, because it asks for urgent data or for the error queue.
inline bool never_waits(int fd, int flags) noexcept {
  if ((flags & MSG_ERRQUEUE) && option(fd, SO_DOMAIN) != AF_UNIX) return true;
  return (flags & MSG_OOB) && option(fd, SO_TYPE) == SOCK_STREAM;
}

// In `receive` and `send`, `first(flags)` makes the system's call; `data` or `m` describes its
// bytes. The result ENOTSOCK tells the caller that the file is no socket.

template <class First>
ssize_t receive(int& fd, const msghdr& data, int flags, First first, msghdr* m = nullptr,
                std::size_t room = 0) noexcept {
  return leaving_errno([&]() -> ssize_t {
    if ((flags & (MSG_OOB | MSG_ERRQUEUE)) && never_waits(fd, flags)) return first(flags);
    call_timeout p(fd, POLLIN | POLLRDHUP, SO_RCVTIMEO, "recv");
    const auto attempt = [&] { return first(flags | p.nowait()); };
    const ssize_t n = retry(p, attempt);
    if (n < 0 && errno == ENOTSOCK) return n;
    take_turns();
    if (n <= 0) return n;
    const bool for_more =
        (flags & MSG_WAITALL) != 0 || low_marks_are_used.load(std::memory_order_relaxed);
    return for_more ? receive_rest(fd, p, data, m, room, flags, n, attempt) : n;
  });
}

/// Waits until a connection attempt has succeeded or failed.
/// @pre errno is that of the call that began the attempt.
inline int await_connection(int& fd, call_timeout& p, const sockaddr* peer,
                            socklen_t length) noexcept {
  const int begun = errno;
  pollfd ready{fd, POLLOUT, 0};
  while (real::poll(&ready, nfds_t{1}, 0) == 0) {
    if (p.wait()) {
      ready.fd = fd;
      continue;
    }
    if (errno == EAGAIN) errno = begun; // connect(2)'s error when SO_SNDTIMEO passes
    return -1;
  }
  // A second connect(2) makes the kernel mark the socket as connected. After a failure it would
  // start a new attempt if another thread has shut the socket down in between, so the attempt is
  // dissolved by AF_UNSPEC, as connect(2) itself does.
  const int error = option(fd, SO_ERROR);
  if (error <= 0) return real::connect(fd, peer, length);
  sockaddr none{};
  none.sa_family = AF_UNSPEC;
  (void)real::connect(fd, &none, static_cast<socklen_t>(sizeof none));
  errno = error;
  return -1;
}

/// One attempt to send. A blocking send that has waited on a Unix-domain socket returns the
/// socket's error. A new call would see the end of the connection first, which raises SIGPIPE.
template <class First>
ssize_t attempt_send(int& fd, call_timeout& p, int flags, First first) noexcept {
  flags |= MSG_DONTWAIT;
  if (!p.has_waited()) return first(flags);
  const ssize_t n = first(flags | MSG_NOSIGNAL);
  if (n >= 0 || errno != EPIPE) return n;
  const int error = option(fd, SO_DOMAIN) == AF_UNIX ? option(fd, SO_ERROR) : 0;
  if (error <= 0) return first(flags);
  errno = error;
  return -1;
}

template <class First>
ssize_t send(int& fd, const msghdr& m, int flags, First first) noexcept {
  return leaving_errno([&]() -> ssize_t {
    call_timeout p(fd, POLLOUT, SO_SNDTIMEO, "send");
    ssize_t n = retry(p, [&] { return attempt_send(fd, p, flags, first); });
    if (n < 0 && errno == ENOTSOCK) return n;
    take_turns();
    if ((flags & MSG_FASTOPEN) && (n >= 0 || errno == EINPROGRESS) && p.blocks()) {
      if (n >= 0) errno = EINPROGRESS;
      const auto* const peer = static_cast<const sockaddr*>(m.msg_name);
      if (await_connection(fd, p, peer, m.msg_namelen) < 0) return -1;
      flags &= ~MSG_FASTOPEN;
      if (n < 0) n = retry(p, [&] { return attempt_send(fd, p, flags, first); });
    }
    if (n < 0 || static_cast<std::size_t>(n) >= size_of(m) || !p.blocks()) return n;
    return move_rest(p, m, n, [&](const void* data, std::size_t size) -> ssize_t {
      return send_ends(fd) ? 0 : real::send(fd, data, size, flags | MSG_DONTWAIT | MSG_NOSIGNAL);
    });
  });
}

/// Polls first, since no flag keeps accept(2) from waiting. If another thread or process accepts
/// the connection between the two steps, accept(2) blocks the thread.
inline int accept4(int fd, sockaddr* peer, socklen_t* length, int flags) noexcept {
  return leaving_errno([&] {
    call_timeout p(fd, POLLIN, SO_RCVTIMEO, "accept");
    const bool valid = (flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) == 0;
    const bool listens = valid && option(fd, SO_ACCEPTCONN) == 1;
    pollfd ready{fd, POLLIN, 0};
    while (listens && p.blocks() && real::poll(&ready, nfds_t{1}, 0) == 0) {
      if (!p.wait()) return -1;
      ready.fd = fd;
    }
    return real::accept4(fd, peer, length, flags);
  });
}

/// Begins the attempt in non-blocking mode. On a datagram socket connect(2) never waits.
inline int connect(int fd, const sockaddr* peer, socklen_t length) noexcept {
  return leaving_errno([&] {
    call_timeout p(fd, POLLOUT, SO_SNDTIMEO, "connect");
    if (!p.blocks() || option(fd, SO_TYPE) == SOCK_DGRAM) return real::connect(fd, peer, length);
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
    return await_connection(fd, p, peer, length);
  });
}

}}}} // namespace rouse::ROUSE_ABI::os::parked
#endif

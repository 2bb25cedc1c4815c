// Winsock's blocking calls for fibers. The functions in interpose.hpp call them if the caller is a
// fiber that may be parked and the socket blocks for the program.
//
//     retry(socket, call_timeout, attempt):
//       at_once     the attempt, with the socket in non-blocking mode; done unless WSAEWOULDBLOCK
//         |
//       call_timeout::wait
//         first time: asks for SO_RCVTIMEO or SO_SNDTIMEO; if it has passed: WSAETIMEDOUT
//         parks the fiber until the socket may be ready, then the attempt is made again
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/detail/chrono.hpp>
#include <rouse/detail/guarded.hpp>
#include <rouse/install/call_parker.hpp>
#include <rouse/install/windows/modes.hpp>
#include <rouse/install/windows/real_calls.hpp>
#include <rouse/os/windows/socket.hpp>

#if ROUSE_WINDOWS
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// Blocking calls made by a fiber. Each tries without waiting. If Winsock would block, the call
/// waits for readiness and tries again. Windows has no flag for a call that does not wait, so the
/// socket is put into non-blocking mode and stays in it until a call has to block the thread.
namespace parked {

/// Lets other fibers run every so often. Does not change the last error.
inline void take_turns() noexcept {
  const int error = ::WSAGetLastError();
  give_way();
  ::WSASetLastError(error);
}

/// Waits until another attempt may succeed. Winsock and its driver may disagree about readiness:
/// after 16 waits in a row that took less than 1 ms, it sleeps 5 ms instead of waiting for the
/// files.
class readiness_wait {
public:
  bool wait(const WSAPOLLFD* files, ULONG count, clock::time_point until) noexcept {
    using namespace std::chrono_literals;
    const auto begun = clock::now();
    const bool sleeps = futile_waits_ >= 16;
    if (sleeps) {
      files = nullptr;
      count = 0;
      if (begun + 5ms < until) until = begun + 5ms;
    }
    if (!park(files, count, until)) return false;
    futile_waits_ = sleeps || clock::now() - begun < 1ms ? futile_waits_ + 1 : 0;
    return true;
  }

private:
  unsigned futile_waits_ = 0;
};

/// How long one call may block: SO_RCVTIMEO or SO_SNDTIMEO of its socket, read at the first wait.
class call_timeout {
public:
  call_timeout(SOCKET s, int option) noexcept
      : file_{s, option == SO_RCVTIMEO ? SHORT{POLLRDNORM} : SHORT{POLLWRNORM}, 0},
        option_(option) {}

  /// Waits until another attempt may succeed. If it returns false, the last error is that of the
  /// call.
  bool wait(readiness_wait& a) noexcept {
    if (!std::exchange(has_read_option_, true)) read_option();
    if (clock::now() < until_) return a.wait(&file_, 1, until_);
    ::WSASetLastError(WSAETIMEDOUT);
    return false;
  }

private:
  void read_option() noexcept {
    DWORD milliseconds = 0;
    std::size_t size = sizeof milliseconds;
    if (!get_option(file_.fd, SOL_SOCKET, option_, &milliseconds, size) && milliseconds != 0)
      until_ = deadline(std::chrono::milliseconds(milliseconds)).when();
  }

  const WSAPOLLFD file_;
  const int option_;
  bool has_read_option_ = false;
  clock::time_point until_ = (clock::time_point::max)();
};

/// Returns `call()`, made with the socket in non-blocking mode. Only `call` changes the last error.
template <class Call>
auto at_once(SOCKET s, Call call) noexcept {
  const int before = ::WSAGetLastError();
  const bool for_fibers = call_parker::here && socket_modes::make_nonblocking(s);
  // False for a socket that WSAEventSelect uses: its mode cannot change, and it never blocks.
  const bool changed = !for_fibers && socket_modes::set(s, 1);
  ::WSASetLastError(before);
  const auto result = call();
  if (for_fibers) return result;
  const int error = ::WSAGetLastError();
  if (changed) socket_modes::set(s, 0);
  ::WSASetLastError(error);
  return result;
}

/// Calls `attempt()` until it succeeds or fails, or the time of `p` has passed. Each attempt begins
/// with the last error that the caller had.
template <class Attempt>
std::int64_t retry(SOCKET s, call_timeout& p, Attempt attempt) noexcept {
  const int before = ::WSAGetLastError();
  readiness_wait a;
  for (;;) {
    ::WSASetLastError(before);
    const std::int64_t result = at_once(s, attempt);
    if (result >= 0 || ::WSAGetLastError() != WSAEWOULDBLOCK) return result;
    if (!p.wait(a)) return SOCKET_ERROR;
  }
}

/// The buffers of a call.
struct pieces {
  WSABUF* first;
  DWORD count;

  [[nodiscard]] std::int64_t size() const noexcept {
    std::int64_t sum = 0;
    for (DWORD i = 0; i != count; ++i) sum += first[i].len;
    return sum;
  }
};

/// Continues after part of the bytes were moved, as Winsock does before a blocking call returns, by
/// `transfer(data, size)` for each piece. An error that ends it early is left to the next call.
template <class Transfer>
std::int64_t move_rest(SOCKET s, call_timeout& p, pieces all, std::int64_t moved,
                       Transfer transfer) noexcept {
  const int error = ::WSAGetLastError();
  std::int64_t before = 0; // bytes of the earlier pieces
  for (DWORD i = 0; i != all.count; before += all.first[i++].len) {
    const WSABUF& piece = all.first[i];
    while (moved < before + piece.len) {
      const auto done = static_cast<std::size_t>(moved - before);
      const int left = static_cast<int>(piece.len - done);
      const std::int64_t n =
          retry(s, p, [&] { return std::int64_t{transfer(piece.buf + done, left)}; });
      ::WSASetLastError(error); // success, even of a part
      if (n <= 0) return moved;
      moved += n;
    }
  }
  return moved;
}

inline bool is_stream(SOCKET s) noexcept {
  int type = 0;
  std::size_t size = sizeof type;
  return !get_option(s, SOL_SOCKET, SO_TYPE, &type, size) && type == SOCK_STREAM;
}

/// In `receive` and `send`, `first` makes Winsock's call and returns the moved bytes or -1.
template <class First>
std::int64_t receive(SOCKET s, pieces all, DWORD flags, First first) noexcept {
  take_turns();
  call_timeout p(s, SO_RCVTIMEO);
  const bool whole = (flags & MSG_WAITALL) != 0 && (flags & MSG_PEEK) == 0 && is_stream(s);
  if (whole) flags &= ~DWORD{MSG_WAITALL};
  const std::int64_t n = retry(s, p, [&] { return first(flags); });
  if (!whole || n <= 0 || n >= all.size()) return n;
  return move_rest(s, p, all, n, [&](char* data, int size) {
    return real::recv(s, data, size, static_cast<int>(flags));
  });
}

template <class First>
std::int64_t send(SOCKET s, pieces all, First first) noexcept {
  take_turns();
  call_timeout p(s, SO_SNDTIMEO);
  const std::int64_t n = retry(s, p, first);
  if (n < 0 || n >= all.size()) return n;
  return move_rest(s, p, all, n, [&](const char* data, int size) {
    const int no_flags = 0;
    return real::send(s, data, size, no_flags);
  });
}

/// The state of one socket according to select, without waiting.
struct state {
  bool readable = false, writable = false, failed = false;
  bool unknown = false; ///< select failed

  static state of(SOCKET s) noexcept {
    fd_set sets[3];
    for (fd_set& f : sets) {
      f.fd_count = 1;
      f.fd_array[0] = s;
    }
    timeval none{};
    if (real::select(0, &sets[0], &sets[1], &sets[2], &none) == SOCKET_ERROR)
      return {false, false, false, true};
    return {sets[0].fd_count != 0, sets[1].fd_count != 0, sets[2].fd_count != 0, false};
  }
};

/// Waits for a connection, then makes the call in blocking mode. If another thread accepts the
/// connection between the two steps, the call blocks the thread.
template <class Call>
SOCKET accept(SOCKET s, Call call) noexcept {
  const int before = ::WSAGetLastError();
  take_turns();
  socket_modes::restore(s); // the connection inherits the mode
  const WSAPOLLFD file{s, POLLRDNORM, 0};
  readiness_wait a;
  while (!check_listening(s)) {
    const state now = state::of(s);
    if (now.readable || now.unknown) break;
    if (!a.wait(&file, 1, (clock::time_point::max)())) return INVALID_SOCKET;
  }
  ::WSASetLastError(before);
  return call();
}

/// Begins the attempt without waiting, then learns its outcome from select. (On a datagram socket
/// the attempt completes at once. Since rouse makes such a call itself, inside the engine, where
/// fibers must not be switched, this function does not call take_turns.)
template <class Begin>
int connect(SOCKET s, Begin begin) noexcept {
  const int before = ::WSAGetLastError();
  const int result = at_once(s, begin);
  if (result == 0 || ::WSAGetLastError() != WSAEWOULDBLOCK) return result;
  const WSAPOLLFD file{s, POLLWRNORM, 0};
  readiness_wait a;
  for (;;) {
    const state now = state::of(s);
    if (now.unknown) return SOCKET_ERROR;
    if (now.failed) {
      int error = 0;
      std::size_t size = sizeof error;
      if (get_option(s, SOL_SOCKET, SO_ERROR, &error, size) || error == 0) error = WSAECONNREFUSED;
      ::WSASetLastError(error);
      return SOCKET_ERROR;
    }
    if (now.writable) {
      ::WSASetLastError(before);
      return 0;
    }
    if (!a.wait(&file, 1, (clock::time_point::max)())) return SOCKET_ERROR;
  }
}

/// Calls `look()` until it finds a ready socket or fails, or `until` has passed.
template <class Look>
int watch(const WSAPOLLFD* files, ULONG count, clock::time_point until, Look look) noexcept {
  const int before = ::WSAGetLastError();
  take_turns();
  readiness_wait a;
  for (;;) {
    ::WSASetLastError(before);
    const int found = look();
    if (found != 0 || clock::now() >= until) return found;
    if (!a.wait(files, count, until)) return SOCKET_ERROR;
  }
}

inline int poll(WSAPOLLFD* files, ULONG count, clock::time_point until) noexcept {
  return watch(files, count, until, [&] {
    const INT no_wait = 0;
    return real::WSAPoll(files, count, no_wait);
  });
}

/// The sets of a select, which it overwrites. They may be larger than FD_SETSIZE of this program.
class select_sets {
public:
  select_sets(fd_set* in, fd_set* out, fd_set* urgent) : sets_{in, out, urgent} {
    constexpr SHORT events[] = {POLLRDNORM, POLLWRNORM, POLLRDBAND};
    for (int k = 0; k != 3; ++k) {
      if (!sets_[k]) continue;
      wanted_[k].assign(sets_[k]->fd_array, sets_[k]->fd_array + sets_[k]->fd_count);
      for (const SOCKET s : wanted_[k]) files_.push_back({s, events[k], 0});
    }
  }

  int look() noexcept {
    for (int k = 0; k != 3; ++k) {
      if (!sets_[k]) continue;
      sets_[k]->fd_count = static_cast<u_int>(wanted_[k].size());
      SOCKET* to = sets_[k]->fd_array;
      for (const SOCKET s : wanted_[k]) *to++ = s;
    }
    timeval none{};
    return real::select(0, sets_[0], sets_[1], sets_[2], &none);
  }

  [[nodiscard]] const WSAPOLLFD* files() const noexcept { return files_.data(); }
  [[nodiscard]] ULONG size() const noexcept { return static_cast<ULONG>(files_.size()); }

private:
  fd_set* const sets_[3];
  std::vector<SOCKET> wanted_[3];
  std::vector<WSAPOLLFD> files_;
};

inline int select(fd_set* in, fd_set* out, fd_set* urgent, clock::time_point until) noexcept {
  const auto selected = [&] {
    select_sets sets(in, out, urgent);
    return watch(sets.files(), sets.size(), until, [&] { return sets.look(); });
  };
  return rouse::detail::guarded(selected, [] {
    ::WSASetLastError(WSAENOBUFS);
    return SOCKET_ERROR;
  });
}

} // namespace parked
}}} // namespace rouse::ROUSE_ABI::os
#endif

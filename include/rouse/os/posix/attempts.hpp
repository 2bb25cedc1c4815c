// Socket calls that never wait, whether the handle is in blocking mode or not.
//
// Each of them returns false if it would have to wait. Otherwise it returns true, with the result
// in `bytes` and `error`.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/posix/socket.hpp>

#if !ROUSE_WINDOWS
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <fcntl.h>
#include <unistd.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

namespace detail {
template <class Call>
bool call_now(std::size_t& bytes, failure& error, Call call) noexcept {
  return store_result(bytes, error, retry_interrupted(call));
}
} // namespace detail

/// Like recv(2). A datagram or packet that is larger than the buffer is message_size; `bytes` is
/// then `size`, and the rest of the datagram is lost.
inline bool recv_now(native_handle_type h, int type, void* data, std::size_t size,
                     std::size_t& bytes, failure& error) noexcept {
  const auto call = [&] { return system_calls::recv(h, type, data, size); };
  if (!detail::call_now(bytes, error, call)) return false;
  if (bytes > size) {
    bytes = size;
    error = std::errc::message_size;
  }
  return true;
}

/// Like recv(2) with MSG_PEEK. A datagram that is larger than the buffer is no error here, since it
/// is not lost.
inline bool peek_now(native_handle_type h, void* data, std::size_t size, std::size_t& bytes,
                     failure& error) noexcept {
  return detail::call_now(bytes, error,
                          [&] { return ::recv(h, data, size, MSG_DONTWAIT | MSG_PEEK); });
}

/// Like send(2), without SIGPIPE.
/// @param urgent  sends the last byte as out-of-band data (MSG_OOB).
inline bool send_now(native_handle_type h, const void* data, std::size_t size, bool urgent,
                     std::size_t& bytes, failure& error) noexcept {
  const int flags = MSG_DONTWAIT | no_signal | (urgent ? MSG_OOB : 0);
  return detail::call_now(bytes, error, [&] { return ::send(h, data, size, flags); });
}

/// The system's handle of an open file: a file descriptor here, a HANDLE on Windows.
using native_file_type = int;

/// Reads from a position of a file, as much as there is: `got` is 0 at its end. Errors: those of
/// pread(2).
inline failure read_at(native_file_type file, std::uint64_t offset, void* into, std::size_t size,
                       std::size_t& got) noexcept {
  const ssize_t n = detail::retry_interrupted(
      [&] { return ::pread(file, into, size, static_cast<off_t>(offset)); });
  got = n < 0 ? 0 : static_cast<std::size_t>(n);
  return n < 0 ? failure::from_os(errno) : failure();
}

namespace detail {
// sendfile(2) takes no flags. During the call the handle is therefore in non-blocking mode, and
// SIGPIPE is blocked. The kernel sends SIGPIPE to the calling thread, so the destructor can consume
// it, unless one was pending already.
class nonblocking_without_sigpipe {
public:
  explicit nonblocking_without_sigpipe(native_handle_type h) noexcept
      : h_(h), mode_(::fcntl(h, F_GETFL)) {
    if (blocking()) ::fcntl(h_, F_SETFL, mode_ | O_NONBLOCK);
    sigemptyset(&pipe_); // a macro on some systems
    sigaddset(&pipe_, SIGPIPE);
    was_pending_ = is_pending();
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &old_mask_);
  }
  ~nonblocking_without_sigpipe() {
    const int number = errno;
    if (number == EPIPE && !was_pending_) consume();
    ::pthread_sigmask(SIG_SETMASK, &old_mask_, nullptr);
    if (blocking()) ::fcntl(h_, F_SETFL, mode_);
    errno = number;
  }
  nonblocking_without_sigpipe(const nonblocking_without_sigpipe&) = delete;
  nonblocking_without_sigpipe& operator=(const nonblocking_without_sigpipe&) = delete;

private:
  static bool is_pending() noexcept {
    sigset_t pending;
    return ::sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
  }
  void consume() noexcept {
#if ROUSE_LINUX
    const timespec none{};
    (void)::sigtimedwait(&pipe_, nullptr, &none);
#else
    int signal = 0;
    if (is_pending()) (void)::sigwait(&pipe_, &signal);
#endif
  }
  [[nodiscard]] bool blocking() const noexcept { return mode_ >= 0 && !(mode_ & O_NONBLOCK); }

  native_handle_type h_;
  int mode_;
  bool was_pending_;
  sigset_t pipe_, old_mask_;
};
} // namespace detail

/// Like sendfile(2), without SIGPIPE. `bytes` is 0 at the end of the file.
inline bool send_file_now(native_handle_type h, native_file_type file, std::uint64_t offset,
                          std::size_t size, std::size_t& bytes, failure& error) noexcept {
  return detail::call_now(bytes, error, [&] {
    const detail::nonblocking_without_sigpipe scope(h);
    return system_calls::sendfile(h, file, offset, size);
  });
}

/// Receives the urgent byte: recv(2) with MSG_OOB. The kernel reports EINVAL if there is no urgent
/// data, if it has not arrived yet, and if the socket receives it in line (SO_OOBINLINE). Only the
/// last is an error here. `bytes` is 0 once the connection has ended.
inline bool recv_urgent_now(native_handle_type h, void* data, std::size_t size, std::size_t& bytes,
                            failure& error) noexcept {
  const bool done =
      detail::call_now(bytes, error, [&] { return ::recv(h, data, size, MSG_DONTWAIT | MSG_OOB); });
  int in_line = 0;
  std::size_t room = sizeof in_line;
  if (error != failure::from_os(EINVAL) ||
      get_option(h, SOL_SOCKET, SO_OOBINLINE, &in_line, room) || in_line)
    return done;
  error = {};
  return (poll_now(h, 0) & POLLHUP) != 0; // connection ended: 0 bytes
}

}}} // namespace rouse::ROUSE_ABI::os
#endif

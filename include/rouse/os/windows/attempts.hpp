// Socket calls that never wait. Windows has no flag for that, so they put the handle into
// non-blocking mode, which does not affect overlapped calls.
//
// Each of them returns false if it would have to wait. Otherwise it returns true, with the result
// in `bytes` and `error`.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/windows/socket.hpp>

#include <cstdint>

#if ROUSE_WINDOWS
namespace rouse { inline namespace ROUSE_ABI { namespace os {

namespace detail {
template <class Call>
bool call_now(native_handle_type h, std::size_t& bytes, failure& error, Call call) noexcept {
  if ((error = set_blocking(h, false))) return true;
  const int result = call();
  if (result >= 0)
    bytes = static_cast<std::size_t>(result);
  else if (const int number = ::WSAGetLastError(); number == WSAEWOULDBLOCK)
    return false;
  else
    error = failure::from_os(number);
  return true;
}

inline bool recv_now(native_handle_type h, void* data, std::size_t size, int flags,
                     std::size_t& bytes, failure& error) noexcept {
  const auto room = static_cast<int>(size < largest_request ? size : largest_request);
  const bool done =
      call_now(h, bytes, error, [&] { return ::recv(h, static_cast<char*>(data), room, flags); });
  if (error == failure::from_os(WSAEMSGSIZE)) bytes = size; // the start of a datagram
  return done;
}
} // namespace detail

/// Like recv. A datagram that is larger than the buffer is WSAEMSGSIZE; `bytes` is then `size`, and
/// the rest of the datagram is lost.
inline bool recv_now(native_handle_type h, int /*type*/, void* data, std::size_t size,
                     std::size_t& bytes, failure& error) noexcept {
  return detail::recv_now(h, data, size, 0, bytes, error);
}

/// Like recv with MSG_PEEK. A datagram that is larger than the buffer is no error here, since it is
/// not lost.
inline bool peek_now(native_handle_type h, void* data, std::size_t size, std::size_t& bytes,
                     failure& error) noexcept {
  const bool done = detail::recv_now(h, data, size, MSG_PEEK, bytes, error);
  if (error == failure::from_os(WSAEMSGSIZE)) error = {};
  return done;
}

/// Like send.
/// @param urgent  sends the last byte as out-of-band data (MSG_OOB).
inline bool send_now(native_handle_type h, const void* data, std::size_t size, bool urgent,
                     std::size_t& bytes, failure& error) noexcept {
  const auto length = static_cast<int>(size < largest_request ? size : largest_request);
  return detail::call_now(h, bytes, error, [&] {
    return ::send(h, static_cast<const char*>(data), length, urgent ? MSG_OOB : 0);
  });
}

/// The system's handle of an open file: a HANDLE here, a file descriptor on Linux.
using native_file_type = HANDLE;

/// Reads from a position of a file, as much as there is: `got` is 0 at its end. Waits for the
/// result if the file was opened for overlapped use. Errors: those of ReadFile.
inline failure read_at(native_file_type file, std::uint64_t offset, void* into, std::size_t size,
                       std::size_t& got) noexcept {
  OVERLAPPED where{};
  where.Offset = static_cast<DWORD>(offset);
  where.OffsetHigh = static_cast<DWORD>(offset >> 32);
  const HANDLE event = where.hEvent = ::CreateEventW(nullptr, TRUE, FALSE, nullptr);
  if (!event) return failure::from_os(static_cast<int>(::GetLastError()));
  // The low bit keeps the completion packet off a port that the file may be associated with.
  where.hEvent = reinterpret_cast<HANDLE>(reinterpret_cast<std::uintptr_t>(event) | 1);
  const auto room = static_cast<DWORD>(size < largest_request ? size : largest_request);
  DWORD read = 0;
  BOOL done = ::ReadFile(file, into, room, &read, &where);
  if (!done && ::GetLastError() == ERROR_IO_PENDING)
    done = ::GetOverlappedResult(file, &where, &read, TRUE);
  const DWORD number = done ? 0 : ::GetLastError();
  ::CloseHandle(event);
  got = read;
  if (number == 0 || number == ERROR_HANDLE_EOF) return {};
  return failure::from_os(static_cast<int>(number));
}

/// Sends a part of a file through a buffer. What the socket does not accept is read again by the
/// next call. `bytes` is 0 at the end of the file.
inline bool send_file_now(native_handle_type h, native_file_type file, std::uint64_t offset,
                          std::size_t size, std::size_t& bytes, failure& error) noexcept {
  char buffer[8192];
  std::size_t got = 0;
  error = read_at(file, offset, buffer, size < sizeof buffer ? size : sizeof buffer, got);
  if (error) return true;
  return got == 0 || send_now(h, buffer, got, false, bytes, error);
}

/// Receives the urgent byte: recv with MSG_OOB. Wine reports WSAEINVAL if it has not arrived yet,
/// and also if the socket receives it in line (SO_OOBINLINE). Only the latter is an error here.
inline bool recv_urgent_now(native_handle_type h, void* data, std::size_t size, std::size_t& bytes,
                            failure& error) noexcept {
  const bool done = detail::recv_now(h, data, size, MSG_OOB, bytes, error);
  int in_line = 0;
  std::size_t room = sizeof in_line;
  if (error != failure::from_os(WSAEINVAL) ||
      get_option(h, SOL_SOCKET, SO_OOBINLINE, &in_line, room) || in_line)
    return done;
  error = {};
  return false;
}

}}} // namespace rouse::ROUSE_ABI::os
#endif

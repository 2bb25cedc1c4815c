// Sending files without copying them through a buffer of the program.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/os/attempts.hpp>
#include <rouse/os/socket.hpp>
#include <rouse/sockets/socket_part.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {

/// A file that is open for reading: a descriptor on Linux, a HANDLE on Windows.
using native_file_type = os::native_file_type;

namespace detail {

struct part_of_file {
  native_file_type file;
  std::uint64_t offset;
  std::uint64_t length;
};

template <class Sockets>
struct send_file_call : retry_when_ready {
  using value_type = std::uint64_t;
  static constexpr const char* name = "rouse: send_file";
  // The most that one attempt sends, so that other calls get their turn.
  static constexpr std::uint64_t largest_part = std::uint64_t{1} << 20;
  socket_state* socket;
  part_of_file from;
  std::uint64_t moved = 0;

  send_file_call(socket_state* d, const part_of_file& what) noexcept
      : retry_when_ready(&send_file_call::try_now, "send_file"), socket(d), from(what) {}

  bool prepare(operation& op) noexcept {
    op.action = action::when_writable;
    op.target = socket;
    op.retry = this;
    if (from.length != 0) return true;
    if (!socket->open()) op.error = std::errc::bad_file_descriptor;
    return false;
  }
  bool advance(operation& op) noexcept {
    moved += op.bytes;
    return op.error || op.bytes == 0 || moved == from.length;
  }
  std::uint64_t value(operation&) noexcept { return moved; }

private:
  static bool try_now(operation& op) noexcept {
    const auto& self = static_cast<send_file_call&>(*op.retry);
    const std::uint64_t left = self.from.length - self.moved;
    return Sockets::send_file_now(
        static_cast<native_handle_type>(op.target->native), self.from.file,
        self.from.offset + self.moved,
        static_cast<std::size_t>(left < largest_part ? left : largest_part), op.bytes, op.error);
  }
};

/// A part of `socket`: the calls on files.
template <class Socket>
class file_calls : public socket_part<file_calls<Socket>, Socket> {
public:
  /// Sends `length` bytes of a file, from `offset` on, as `send_all` sends a buffer.
  ///
  /// @param file  open for reading until the call has completed. On Linux its position neither
  /// matters nor moves; on Windows it moves, unless the file was opened with FILE_FLAG_OVERLAPPED.
  /// @returns the number of bytes that the kernel took, a std::uint64_t: fewer than `length` only
  /// if the file ends earlier, or beside an error (with an `ec` or a handler). A limit covers the
  /// whole call.
  ///
  /// Errors: those of `send`; bad_file_descriptor also for the file; invalid_argument (on Linux, a
  /// file that cannot be mapped). Reading from the disk is not asynchronous: if a part of the file
  /// is not in memory, the loop waits while it is read. Cost: no allocation. Linux: a sendfile(2)
  /// for each part that fits, at most 1 MiB, and the system calls that keep it from blocking and
  /// from raising SIGPIPE. Windows: a ReadFile and a send for every 8 KiB. Source: sendfile(2);
  /// ReadFile, send of Winsock.
  template <class...>
  decltype(auto) send_file(native_file_type file, std::uint64_t offset, std::uint64_t length,
                           location at = location::current()) {
    return this->start(
        send_file_call<typename Socket::sockets>{this->record(), {file, offset, length}}, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) send_file(native_file_type file, std::uint64_t offset, std::uint64_t length,
                           First&& first, How&& how = How(), call_site at = location::current()) {
    return this->start(
        send_file_call<typename Socket::sockets>{this->record(), {file, offset, length}}, at,
        std::forward<First>(first), std::forward<How>(how));
  }
};

} // namespace detail
}} // namespace rouse::ROUSE_ABI

// The sockets that blocking calls wait for, as WSAPoll takes them, and a set of them.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/windows/iocp.hpp>
#include <rouse/os/windows/socket.hpp>

#if ROUSE_WINDOWS
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

using watched_file = WSAPOLLFD;
using file_count = ULONG;
inline constexpr int call_canceled = WSAECANCELLED, call_interrupted = WSAEINTR,
                     handle_closed = WSAENOTSOCK;

/// Access to the last error by names that both platforms have.
inline void set_call_error(int number) noexcept { ::WSASetLastError(number); }
inline int call_error() noexcept { return ::WSAGetLastError(); }

/// A socket that carries requests about other sockets to Winsock's driver. Only this socket is
/// associated with the engine's completion port. The other sockets, which belong to a library, need
/// not be and are not affected. (libuv polls by such a socket too.)
namespace watch_set {

/// All waiting fibers use the same set.
inline constexpr bool is_shared = true;

/// An AFD_POLL_INFO for any number of handles: the request to the driver and its result.
class request {
public:
  request() noexcept = default;
  request(const request&) = delete;
  request& operator=(const request&) = delete;

  failure assign(const WSAPOLLFD* files, ULONG count) noexcept {
    if (count > own_entries) {
      const std::size_t size = sizeof(head) + count * sizeof(entry);
      large_.reset(new (std::nothrow) std::uint64_t[size / sizeof(std::uint64_t) + 1]);
      if (!large_) return std::errc::not_enough_memory;
      whole_.request = large_.get();
    }
    auto* const h = new (whole_.request) head{};
    h->timeout.QuadPart = (std::numeric_limits<LONGLONG>::max)();
    auto* const entries = reinterpret_cast<entry*>(h + 1);
    for (ULONG i = 0; i != count; ++i) add(*h, entries, files[i]);
    whole_.size = static_cast<ULONG>(sizeof(head) + h->count * sizeof(entry));
    return {};
  }
  [[nodiscard]] void* files() noexcept { return &whole_; }

private:
  struct head {
    LARGE_INTEGER timeout;
    ULONG count;
    ULONG exclusive;
  };
  struct entry {
    HANDLE handle;
    ULONG events;
    LONG status;
  };
  static constexpr std::size_t own_entries = 3;

  // A handle that is named twice gets one entry, with the events of both.
  static void add(head& h, entry* entries, const WSAPOLLFD& file) noexcept {
    if (file.fd == no_handle) return;
    const HANDLE handle = as_file(base_handle(file.fd));
    ULONG i = 0;
    while (i != h.count && entries[i].handle != handle) ++i;
    if (i == h.count) ::new (&entries[h.count++]) entry{handle, closed, 0};
    if (file.events & POLLRDNORM) entries[i].events |= readiness(action::when_readable);
    if (file.events & POLLWRNORM) entries[i].events |= readiness(action::when_writable);
    if (file.events & POLLRDBAND) entries[i].events |= readiness(action::when_urgent);
  }
  static constexpr ULONG closed = 0x20; // AFD_POLL_LOCAL_CLOSE

  alignas(8) unsigned char own_[sizeof(head) + own_entries * sizeof(entry)];
  std::unique_ptr<std::uint64_t[]> large_;
  polled_files whole_{own_, 0};
};

inline failure create(native_handle_type& out) noexcept {
  return open_socket(AF_INET, SOCK_DGRAM, 0, true, out);
}

inline failure add(native_handle_type, const WSAPOLLFD* files, ULONG count, request& r) noexcept {
  return r.assign(files, count);
}

inline bool remove(native_handle_type, const WSAPOLLFD*, ULONG) noexcept { return true; }

} // namespace watch_set
}}} // namespace rouse::ROUSE_ABI::os
#endif

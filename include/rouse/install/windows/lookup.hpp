// What install/lookup.hpp needs to know of Winsock's getaddrinfo and GetAddrInfoW.
#pragma once
#include <rouse/config.hpp>
#include <rouse/install/lookup.hpp>
#include <rouse/install/windows/real_calls.hpp>
#include <rouse/os/address.hpp>
#include <rouse/os/windows/socket.hpp>

#if ROUSE_WINDOWS
#include <string>

namespace rouse { inline namespace ROUSE_ABI { namespace os { namespace parked {

/// Wakes a fiber from another thread. It is a socket, so that a fiber can wait for it like for
/// others: to signal, it sends itself a datagram.
class socket_event {
public:
  socket_event() noexcept = default;
  socket_event(const socket_event&) = delete;
  socket_event& operator=(const socket_event&) = delete;
  ~socket_event() {
    if (handle_ != no_handle) real::closesocket(handle_);
  }

  [[nodiscard]] bool create() noexcept {
    if (!open_socket(AF_INET, SOCK_DGRAM, 0, true, handle_) && connect_to_itself()) return true;
    ::WSASetLastError(WSA_NOT_ENOUGH_MEMORY);
    return false;
  }
  void signal() const noexcept { real::send(handle_, "", 1, 0); }
  [[nodiscard]] WSAPOLLFD file() const noexcept { return {handle_, POLLRDNORM, 0}; }
  /// When to look at `finished` at the latest, because datagrams may get lost.
  [[nodiscard]] static clock::time_point next_look() noexcept {
    return clock::now() + std::chrono::milliseconds(200);
  }

private:
  bool connect_to_itself() noexcept {
    socket_address a = socket_address::wildcard(AF_INET);
    a.v4.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
    return ::bind(handle_, &a.any, a.length) == 0 &&
           ::getsockname(handle_, &a.any, &a.length) == 0 &&
           real::connect(handle_, &a.any, a.length) == 0;
  }

  SOCKET handle_ = no_handle;
};

/// What both functions have in common.
struct winsock_names {
  using event = socket_event;

  /// Whether the result for a numeric address is final, or a resolver has to be asked.
  static bool is_final(int result) noexcept { return result == 0; }
  /// The last error after `result`, which is the same number, as with Winsock itself.
  /// @param before  the last error before the call.
  static int error_of(int result, int, int before) noexcept {
    return result != 0 ? result : before;
  }
  /// The result of a call that failed with the last error.
  static int failed_call() noexcept { return ::WSAGetLastError(); }
  static interruption ends() noexcept { return {}; }
};

struct narrow_names : winsock_names {
  using string = std::string;
  using information = addrinfo;
  static int look_up(const char* host, const char* service, const addrinfo* hints,
                     addrinfo** found) noexcept {
    return real::getaddrinfo(host, service, hints, found);
  }
  static void free(addrinfo* a) noexcept { ::freeaddrinfo(a); }
};

struct wide_names : winsock_names {
  using string = std::wstring;
  using information = ADDRINFOW;
  static int look_up(const wchar_t* host, const wchar_t* service, const ADDRINFOW* hints,
                     ADDRINFOW** found) noexcept {
    return real::GetAddrInfoW(host, service, hints, found);
  }
  static void free(ADDRINFOW* a) noexcept { ::FreeAddrInfoW(a); }
};

}}}} // namespace rouse::ROUSE_ABI::os::parked
#endif

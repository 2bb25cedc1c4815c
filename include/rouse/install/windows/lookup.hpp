// How getaddrinfo and GetAddrInfoW of Winsock are looked up by a helper thread.
#pragma once
#include <rouse/config.hpp>
#include <rouse/install/lookup.hpp>
#include <rouse/install/windows/real_calls.hpp>
#include <rouse/os/address.hpp>
#include <rouse/os/windows/socket.hpp>

#if ROUSE_WINDOWS
#include <string>

namespace rouse { inline namespace ROUSE_ABI { namespace os { namespace parked {

/// What one thread tells another by way of a socket, which can be waited for like others: it sends
/// itself a datagram.
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
  /// Datagrams get lost.
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

/// What the two functions have in common.
struct winsock_names {
  using event = socket_event;

  /// Whether a resolver has nothing to add to a result for a numeric address.
  static bool is_final(int result) noexcept { return result == 0; }
  /// The last error after `result`: as Winsock does it, the same number.
  static int error_of(int result, int, int before) noexcept {
    return result != 0 ? result : before;
  }
  /// The result that stands for the last error.
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

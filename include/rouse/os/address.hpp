// What both systems call a socket address, and the headers that they declare it in.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/endpoint.hpp>

#include <array>
#include <cstdint>
#include <cstring>

#if ROUSE_WINDOWS
#if defined(_MSC_VER) && defined(_WINSOCKAPI_) && !defined(_WINSOCK2API_)
#error "rouse: <windows.h> came first, with the old <winsock.h>: define WIN32_LEAN_AND_MEAN"
#endif
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#if defined(__MINGW32__) && defined(_WINSOCKAPI_) && !defined(_WINSOCK2API_)
#undef _WINSOCKAPI_ // mingw-w64's two headers go together; without it a warning asks for an order
#endif
#include <winsock2.h>

#include <ws2tcpip.h>

#include <windows.h>
#if !defined(_WIN32_WINNT) || _WIN32_WINNT < 0x0600
#error "rouse: _WIN32_WINNT must be 0x0600 (Windows Vista) or above: CancelIoEx is not there before"
#endif
#if defined(_MSC_VER)
#pragma comment(lib, "ws2_32")
#endif
#else
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#endif

namespace rouse::inline ROUSE_ABI {

#if ROUSE_WINDOWS
/// The system's own handle: a SOCKET here, a file descriptor on Linux.
using native_handle_type = std::uintptr_t;
static_assert(sizeof(native_handle_type) == sizeof(SOCKET));
#else
/// The system's own handle: a file descriptor here, a SOCKET on Windows.
using native_handle_type = int;
#endif

namespace os {

static_assert(family_ipv4 == AF_INET && family_ipv6 == AF_INET6);

/// A socket address in the kernel's form, with its length.
struct socket_address {
  union {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
  };
  socklen_t length = 0;

  socket_address() noexcept { std::memset(&v6, 0, sizeof v6); }
  explicit socket_address(const endpoint& ep) noexcept : socket_address() {
    const auto bytes = ep.bytes();
    any.sa_family = static_cast<decltype(any.sa_family)>(ep.family());
    if (ep.family() == AF_INET) {
      v4.sin_port = htons(ep.port());
      std::memcpy(&v4.sin_addr, bytes.data(), sizeof v4.sin_addr);
      length = sizeof v4;
    } else if (ep.family() == AF_INET6) {
      v6.sin6_port = htons(ep.port());
      v6.sin6_scope_id = ep.scope_id();
      std::memcpy(&v6.sin6_addr, bytes.data(), sizeof v6.sin6_addr);
      length = sizeof v6;
    }
  }
  /// Any address of a family, any port; length 0 where the family is not an Internet one.
  static socket_address wildcard(int family) noexcept {
    socket_address a;
    a.any.sa_family = static_cast<decltype(a.any.sa_family)>(family);
    if (family == AF_INET)
      a.length = sizeof a.v4;
    else if (family == AF_INET6)
      a.length = sizeof a.v6;
    return a;
  }

  /// Unspecified where the family is not an Internet one.
  [[nodiscard]] endpoint to_endpoint() const noexcept {
    if (any.sa_family == AF_INET && length >= static_cast<socklen_t>(sizeof v4)) {
      std::array<unsigned char, 4> bytes;
      std::memcpy(bytes.data(), &v4.sin_addr, bytes.size());
      return endpoint::ipv4(bytes, ntohs(v4.sin_port));
    }
    if (any.sa_family == AF_INET6 && length >= static_cast<socklen_t>(sizeof v6)) {
      std::array<unsigned char, 16> bytes;
      std::memcpy(bytes.data(), &v6.sin6_addr, bytes.size());
      return endpoint::ipv6(bytes, ntohs(v6.sin6_port), v6.sin6_scope_id);
    }
    return {};
  }
};

} // namespace os
} // namespace rouse::inline ROUSE_ABI

// Socket addresses in the kernel's form, and the system headers that declare them.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/endpoint.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

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
#undef _WINSOCKAPI_ // else mingw-w64 warns about the headers' order
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
#include <sys/un.h>
#endif

namespace rouse { inline namespace ROUSE_ABI {

#if ROUSE_WINDOWS
/// The system's handle of a socket: a SOCKET here, a file descriptor on Linux.
using native_handle_type = std::uintptr_t;
static_assert(sizeof(native_handle_type) == sizeof(SOCKET));

namespace os {
/// The address of a Unix-domain socket, as in <afunix.h>, which older SDKs lack.
struct sockaddr_un {
  ADDRESS_FAMILY sun_family;
  char sun_path[108];
};
} // namespace os
#else
/// The system's handle of a socket: a file descriptor here, a SOCKET on Windows.
using native_handle_type = int;
#endif

namespace os {

static_assert(family_ipv4 == AF_INET && family_ipv6 == AF_INET6 && family_local == AF_UNIX);

/// A socket address in the kernel's form, with its length.
struct socket_address {
  union {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
    sockaddr_un local;
  };
  socklen_t length = 0;

  /// The size of the largest address, which is the room for the kernel to write to. (For a path of
  /// 108 bytes Linux reports a length of 111, which includes a NUL that did not fit.)
  static constexpr socklen_t room = sizeof(sockaddr_un);
  /// The offset of the name. (clang does not accept offsetof of Windows' C library as a constant
  /// expression.)
  static constexpr std::size_t before_name = sizeof(sockaddr_un) - sizeof(sockaddr_un::sun_path);

  socket_address() noexcept { std::memset(&v6, 0, sizeof v6); }
  explicit socket_address(const endpoint& ep) noexcept : socket_address() {
    assign(ep);
    note_length();
  }
  /// The wildcard address and port 0 of a family; for Unix-domain sockets an address without a
  /// name. For other families the length is 0.
  static socket_address wildcard(int family) noexcept {
    socket_address a;
    a.any.sa_family = static_cast<decltype(a.any.sa_family)>(family);
    if (family == AF_INET)
      a.length = sizeof a.v4;
    else if (family == AF_INET6)
      a.length = sizeof a.v6;
    else if (family == AF_UNIX)
      a.length = before_name;
    a.note_length();
    return a;
  }

  /// Returns an unspecified endpoint if the family is none of the three.
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
    const auto size = static_cast<std::size_t>(length);
    if (any.sa_family == AF_UNIX && size >= before_name) return endpoint::named(name(size));
    return {};
  }

private:
  void assign(const endpoint& ep) noexcept {
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
    } else if (ep.family() == AF_UNIX) {
      name(bytes);
    }
  }

  // Some systems keep the length in the address, too.
  void note_length() noexcept {
#if ROUSE_DARWIN
    any.sa_len = static_cast<decltype(any.sa_len)>(length);
#endif
  }

  // A path ends with a NUL if there is room for one, and the NUL counts. An abstract name (Linux
  // only) starts with a NUL, and its length is that of the address.
  void name(std::span<const unsigned char> bytes) noexcept {
    if (!bytes.empty()) std::memcpy(local.sun_path, bytes.data(), bytes.size());
    std::size_t size = bytes.size();
    if (size != 0 && size != sizeof local.sun_path && bytes[0] != 0) local.sun_path[size++] = '\0';
    length = static_cast<socklen_t>(before_name + size);
  }
  [[nodiscard]] std::string_view name(std::size_t size) const noexcept {
    size = size < sizeof local ? size - before_name : sizeof local.sun_path;
    const std::string_view all(local.sun_path, size);
    const bool abstract = ROUSE_LINUX && size != 0 && all[0] == '\0';
    return abstract ? all : all.substr(0, all.find('\0'));
  }
};

} // namespace os
}} // namespace rouse::ROUSE_ABI

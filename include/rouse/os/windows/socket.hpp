// Sockets on Windows: the calls that need no engine.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/os/address.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#if ROUSE_WINDOWS
namespace rouse { inline namespace ROUSE_ABI { namespace os {

inline constexpr native_handle_type no_handle = ~native_handle_type{0}; // INVALID_SOCKET
inline constexpr int shutdown_recv = SD_RECEIVE, shutdown_send = SD_SEND, shutdown_both = SD_BOTH;
/// The name of the option with the seconds of lingering.
inline constexpr int linger_name = SO_LINGER;
/// Windows has no such option. The number is that of the BSDs, and no option of Winsock has it.
inline constexpr int reuse_port_name = 0x0200;
/// UDP_SEND_MSG_SIZE and UDP_RECV_MAX_COALESCED_SIZE of newer <ws2ipdef.h>, and the value that
/// switches the latter on: the most bytes that may be received as one message.
inline constexpr int udp_segment_name = 2, udp_gro_name = 3, udp_gro_on = 65527;
/// Whether the system distributes connections among several listeners that share an address.
inline constexpr bool spreads_connections = false;
/// The most bytes that one request asks for. The pages of an overlapped request are locked in
/// memory until it completes, and a large one fails with WSAENOBUFS if lockable pages run out.
inline constexpr std::size_t largest_request = std::size_t{4} << 20;
/// The number of accepts that a server keeps pending. A peer that finds a pending AcceptEx need not
/// wait for the next one. Each holds one socket.
inline constexpr int accepts_at_once = 8;

/// What the kernel needs for an operation in addition to rouse::operation.
struct kernel_record : OVERLAPPED {
  kernel_record() noexcept : OVERLAPPED{} {}
  native_handle_type incoming = no_handle; ///< accept: the future connection's socket
};

inline failure last_error() noexcept { return failure::from_os(::WSAGetLastError()); }
inline failure outcome(int result) noexcept { return result < 0 ? last_error() : failure{}; }

/// Starts Winsock, once; it must be started before its first call. It is never stopped, because
/// sockets may outlive every object that could know when to.
inline failure start_winsock() noexcept {
  static const int result = [] {
    WSADATA data;
    return ::WSAStartup(MAKEWORD(2, 2), &data);
  }();
  return failure::from_os(result);
}

/// Closes the handle without waiting. With SO_LINGER and a time, closesocket would wait, or, in
/// non-blocking mode, fail with WSAEWOULDBLOCK and leave the socket open. So the option is switched
/// off, and Windows sends the rest in the background.
inline void close_socket(native_handle_type h) noexcept {
  ::linger option{};
  int size = sizeof option;
  const auto value = reinterpret_cast<char*>(&option);
  if (::getsockopt(h, SOL_SOCKET, SO_LINGER, value, &size) == 0 && option.l_onoff != 0 &&
      option.l_linger != 0) {
    option.l_onoff = 0;
    ::setsockopt(h, SOL_SOCKET, SO_LINGER, value, size);
  }
  ::closesocket(h);
}

inline void close_copy(native_handle_type h) noexcept { close_socket(h); } // there is no fork

/// Whether sockets of this type must be connected before they can receive.
inline bool is_connected_type(int type) noexcept { return type == SOCK_STREAM; }

namespace detail {
// Wine reports WSAEINVAL for a UDP option that it does not know.
inline failure unknown_option(int level, failure f) noexcept {
  const bool unknown = level == IPPROTO_UDP && f == failure::from_os(WSAEINVAL);
  return unknown ? failure::from_os(WSAENOPROTOOPT) : f;
}
} // namespace detail

/// @param size  before the call the size of the buffer, after it the size of the value.
inline failure get_option(native_handle_type h, int level, int name, void* value,
                          std::size_t& size) noexcept {
  if (level == SOL_SOCKET && name == reuse_port_name) return failure::from_os(WSAENOPROTOOPT);
  // Some options are documented to be an int, but write only one byte of it.
  std::memset(value, 0, size);
  auto length = static_cast<int>(size);
  const failure f = outcome(::getsockopt(h, level, name, static_cast<char*>(value), &length));
  size = static_cast<std::size_t>(length);
  return detail::unknown_option(level, f);
}

inline failure set_option(native_handle_type h, int level, int name, const void* value,
                          std::size_t size) noexcept {
  if (level == SOL_SOCKET && name == reuse_port_name) return failure::from_os(WSAENOPROTOOPT);
  const failure f = outcome(
      ::setsockopt(h, level, name, static_cast<const char*>(value), static_cast<int>(size)));
  if (!f || level != IPPROTO_UDP) return f;
  DWORD now = 0;
  std::size_t room = sizeof now;
  return get_option(h, level, name, &now, room) ? detail::unknown_option(level, f) : f;
}

/// Matters to code that uses the handle without rouse, and to the calls that never wait. Overlapped
/// calls work in either mode.
inline failure set_blocking(native_handle_type h, bool blocking) noexcept {
  u_long on = blocking ? 0 : 1;
  return outcome(::ioctlsocket(h, static_cast<long>(FIONBIO), &on));
}

/// Like socket. Programs that this one starts do not inherit the handle.
inline failure open_socket(int family, int type, int protocol, bool blocking,
                           native_handle_type& out) noexcept {
  if (failure f = start_winsock()) return f;
  out = ::WSASocketW(family, type, protocol, nullptr, 0,
                     WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
  if (out == no_handle) return last_error();
  return blocking ? failure{} : set_blocking(out, false);
}

inline failure bind(native_handle_type h, const endpoint& local, bool stream) noexcept {
  const socket_address a(local);
  // Without the option, any other program could bind the same port and take over the connections.
  // An address with connections in TIME_WAIT can be bound again nevertheless, which is the purpose
  // of SO_REUSEADDR on other systems. The option has no effect (WSAEINVAL) if the user has set
  // SO_REUSEADDR before.
  const int on = 1;
  if (stream)
    ::setsockopt(h, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, reinterpret_cast<const char*>(&on), sizeof on);
  return outcome(::bind(h, &a.any, a.length));
}

/// Binds an unbound socket to the wildcard address, for calls that need an address on Windows while
/// Linux picks one by itself. A bound socket keeps its address.
inline failure bind_if_unbound(native_handle_type h, int family) noexcept {
  const socket_address a = socket_address::wildcard(family);
  if (a.length == 0) return {};
  const failure f = outcome(::bind(h, &a.any, a.length));
  return f == failure::from_os(WSAEINVAL) ? failure{} : f;
}

inline failure listen(native_handle_type h, int backlog, int family) noexcept {
  const failure f = outcome(::listen(h, backlog));
  if (f != failure::from_os(WSAEINVAL)) return f;
  if (const failure unbound = bind_if_unbound(h, family)) return unbound;
  return outcome(::listen(h, backlog));
}

inline failure shutdown(native_handle_type h, int how) noexcept {
  return outcome(::shutdown(h, how));
}

/// Determines the family and the type of a handle that was made elsewhere.
inline failure describe(native_handle_type h, int& family, int& type) noexcept {
  if (failure f = start_winsock()) return f;
  WSAPROTOCOL_INFOW info;
  std::size_t size = sizeof info;
  if (failure f = get_option(h, SOL_SOCKET, SO_PROTOCOL_INFOW, &info, size)) return f;
  family = info.iAddressFamily;
  type = info.iSocketType;
  return {};
}

/// An unbound socket has the wildcard address of its family, as on Linux.
inline failure local_endpoint(native_handle_type h, endpoint& out) noexcept {
  socket_address a;
  a.length = socket_address::room;
  failure f = outcome(::getsockname(h, &a.any, &a.length));
  if (f == failure::from_os(WSAEINVAL)) {
    int family = 0, type = 0;
    f = describe(h, family, type);
    a = socket_address::wildcard(family);
  }
  if (!f) out = a.to_endpoint();
  return f;
}

inline failure remote_endpoint(native_handle_type h, endpoint& out) noexcept {
  socket_address a;
  a.length = socket_address::room;
  if (::getpeername(h, &a.any, &a.length) < 0) return last_error();
  out = a.to_endpoint();
  return {};
}

/// Finds the right error for a stream that was never connected. Once it was shut down or its
/// connect has failed, the system reports that it has ended (0 bytes) or is broken (WSAESHUTDOWN;
/// WSAECONNRESET under Wine). The right error is not_connected.
/// @param ended  whether the call was to receive and has received nothing.
/// @returns WSAENOTCONN in this case, else `error`.
inline failure explain_unconnected(const socket_state& d, bool ended, failure error) noexcept {
  const bool broken =
      error == failure::from_os(WSAESHUTDOWN) || error == failure::from_os(WSAECONNRESET);
  const bool doubtful = error ? broken : ended;
  if (!d.unconnected || !doubtful) return error;
  // The program may have connected it by a system call of its own.
  endpoint peer;
  const failure f = remote_endpoint(static_cast<native_handle_type>(d.native), peer);
  return f == failure::from_os(WSAENOTCONN) ? f : error;
}

namespace detail {
struct socket_guard {
  native_handle_type handle = no_handle;
  ~socket_guard() {
    if (handle != no_handle) ::closesocket(handle);
  }
};

// Accepts connections until one of them is that of `client`: any program may have connected first.
inline failure accept_own(native_handle_type listener, native_handle_type client,
                          socket_guard& out) noexcept {
  endpoint wanted, peer;
  failure f = local_endpoint(client, wanted);
  while (!f && peer != wanted) {
    const socket_guard other{std::exchange(out.handle, ::accept(listener, nullptr, nullptr))};
    f = out.handle == no_handle ? last_error() : remote_endpoint(out.handle, peer);
  }
  return f;
}
} // namespace detail

/// Makes two sockets that are connected to each other, in blocking mode. They are TCP sockets,
/// since Windows has no socketpair.
/// @returns WSAEAFNOSUPPORT for a type other than SOCK_STREAM.
inline failure open_pair(int type, native_handle_type (&out)[2]) noexcept {
  if (type != SOCK_STREAM) return failure::from_os(WSAEAFNOSUPPORT);
  detail::socket_guard listener, ends[2];
  endpoint where = endpoint::ipv4({127, 0, 0, 1}, 0);
  failure f = open_socket(AF_INET, SOCK_STREAM, 0, true, listener.handle);
  if (!f) f = bind(listener.handle, where, true);
  if (!f) f = outcome(::listen(listener.handle, 1));
  if (!f) f = local_endpoint(listener.handle, where);
  if (!f) f = open_socket(AF_INET, SOCK_STREAM, 0, true, ends[0].handle);
  const socket_address a(where);
  if (!f) f = outcome(::connect(ends[0].handle, &a.any, a.length));
  if (!f) f = detail::accept_own(listener.handle, ends[0].handle, ends[1]);
  if (f) return f;
  ::SetHandleInformation(reinterpret_cast<HANDLE>(ends[1].handle), HANDLE_FLAG_INHERIT, 0);
  for (int i = 0; i != 2; ++i) {
    const int on = 1;
    (void)set_option(ends[i].handle, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    out[i] = std::exchange(ends[i].handle, no_handle);
  }
  return {};
}

/// A message in the form of Winsock: where its bytes are, and the peer's address. It points into
/// itself, so it must not move between being filled in and the completion of the call that uses it.
class message {
public:
  void to_receive(void* data, std::size_t size) noexcept {
    one_piece(data, size);
    peer_.length = socket_address::room;
  }
  void to_send(void* data, std::size_t size, const endpoint& to) noexcept {
    one_piece(data, size);
    peer_ = socket_address(to);
  }
  /// A message in several pieces, without an address.
  void in_pieces(WSABUF* pieces, std::size_t count) noexcept {
    pieces_ = pieces;
    count_ = static_cast<DWORD>(count);
    peer_.length = 0;
  }
  /// These two add an address to a message that `in_pieces` has filled in.
  void with_sender() noexcept { peer_.length = socket_address::room; }
  void with_destination(const endpoint& to) noexcept { peer_ = socket_address(to); }

  [[nodiscard]] WSABUF* pieces() noexcept { return pieces_; }
  [[nodiscard]] DWORD count() const noexcept { return count_; }
  /// Null if the message has no address.
  [[nodiscard]] sockaddr* address() noexcept { return peer_.length ? &peer_.any : nullptr; }
  [[nodiscard]] socklen_t& address_length() noexcept { return peer_.length; }
  /// The sender's address.
  [[nodiscard]] endpoint peer() const noexcept { return peer_.to_endpoint(); }

private:
  void one_piece(void* data, std::size_t size) noexcept {
    piece_ = {static_cast<ULONG>(size), static_cast<char*>(data)};
    pieces_ = &piece_;
    count_ = 1;
  }

  socket_address peer_;
  WSABUF piece_{};
  WSABUF* pieces_ = nullptr;
  DWORD count_ = 0;
};

/// A message that holds the list of its pieces: `clear`, `add` until `full`, then `end`.
class message_in_pieces : public message {
public:
  static constexpr std::size_t most = 16;

  void clear() noexcept { count_ = 0; }
  [[nodiscard]] bool full() const noexcept { return count_ == most; }
  void add(void* data, std::size_t size) noexcept {
    pieces_[count_++] = {static_cast<ULONG>(size), static_cast<char*>(data)};
  }
  void end() noexcept { in_pieces(pieces_, count_); }

private:
  WSABUF pieces_[most];
  std::size_t count_ = 0;
};

/// Does nothing: a message cannot carry descriptors on Windows.
class message_with_descriptors : public message {
public:
  static constexpr bool supported = false;
  static constexpr std::size_t most = 1;

  bool enclose(std::span<const native_handle_type>) noexcept { return true; }
  void to_send(void*, std::size_t) noexcept {}
  void to_receive(void*, std::size_t) noexcept {}
  [[nodiscard]] bool lost_some() const noexcept { return false; }
  template <class To>
  void take(To) noexcept {}
};

/// Whether an accept failed because this process or the system is short of handles or memory. The
/// condition may be temporary.
inline bool is_shortage(failure f) noexcept {
  switch (f.os_number()) {
  case WSAEMFILE:
  case WSAENOBUFS:
  case ERROR_TOO_MANY_OPEN_FILES:
  case ERROR_NOT_ENOUGH_MEMORY:
  case ERROR_OUTOFMEMORY:
  case ERROR_NO_SYSTEM_RESOURCES:
    return true;
  default:
    return false;
  }
}

/// Always false: Windows reports when the peer's queue has room again.
inline bool is_crowded(failure) noexcept { return false; }

/// Whether an accept failed because a connection died in the queue. The next one may be sound.
inline bool is_stillborn(failure f) noexcept {
  switch (f.os_number()) {
  case WSAECONNRESET:
  case WSAECONNABORTED:
  case WSAENOTCONN:
  case ERROR_NETNAME_DELETED:
  case ERROR_CONNECTION_ABORTED:
    return true;
  default:
    return false;
  }
}

}}} // namespace rouse::ROUSE_ABI::os
#endif

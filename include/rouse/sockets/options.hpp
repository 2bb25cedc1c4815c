// Socket options by name.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/buffer.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/detail/chrono.hpp>
#include <rouse/os/address.hpp>
#include <rouse/os/socket.hpp>

#include <concepts>
#include <cstddef>
#include <type_traits>

namespace rouse { inline namespace ROUSE_ABI {

/// The direction that `shutdown` closes.
enum class shutdown_how : int {
  recv = os::shutdown_recv,
  send = os::shutdown_send,
  both = os::shutdown_both
};
inline constexpr shutdown_how shutdown_recv = shutdown_how::recv;
inline constexpr shutdown_how shutdown_send = shutdown_how::send;
inline constexpr shutdown_how shutdown_both = shutdown_how::both;

/// An option as a type: its `level` and `name`, and its value in the kernel's form. Users may
/// define their own.
template <class O>
concept socket_option = std::default_initializable<O> && requires(O o, const O c) {
  { O::level } -> std::convertible_to<int>;
  { O::name } -> std::convertible_to<int>;
  { c.data() } -> std::convertible_to<const void*>;
  { o.data() } -> std::convertible_to<void*>;
  { c.size() } -> std::convertible_to<std::size_t>;
};

namespace detail {

// The messages about a type that is not an option, and about an unsuitable raw value.
template <class O>
consteval void explain_option() {
  static_assert(socket_option<O>, "rouse: an option is of a type such as tcp_no_delay, or raw: "
                                  "write tcp_no_delay{true}, or level, name and value");
}
template <class T>
consteval void explain_raw_option() {
  static_assert(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>,
                "rouse: the value of a raw option is what the kernel copies: write the int or "
                "the struct itself, not a pointer to it");
}

template <class V>
consteval void explain_option_without_level() {
  static_assert(always_false<V>,
                "rouse: a raw option has a level before its name: write "
                "set_option(rouse::tcp_no_delay{true}), or set_option(IPPROTO_TCP, TCP_NODELAY, "
                "1) and get_option<int>(IPPROTO_TCP, TCP_NODELAY)");
}

} // namespace detail

/// An option that is on or off.
/// @tparam On  the kernel's value for on.
template <int Level, int Name, int On = 1>
class flag_option {
public:
  static constexpr int level = Level, name = Name;
  constexpr flag_option() noexcept = default;
  constexpr explicit flag_option(bool on) noexcept : value_(on ? On : 0) {}
  [[nodiscard]] constexpr bool value() const noexcept { return value_ != 0; }
  constexpr explicit operator bool() const noexcept { return value(); }
  [[nodiscard]] const void* data() const noexcept { return &value_; }
  [[nodiscard]] void* data() noexcept { return &value_; }
  [[nodiscard]] std::size_t size() const noexcept { return sizeof value_; }

private:
  int value_ = 0;
};

/// An option that is a number.
template <int Level, int Name>
class number_option {
public:
  static constexpr int level = Level, name = Name;
  constexpr number_option() noexcept = default;
  constexpr explicit number_option(int value) noexcept : value_(value) {}
  [[nodiscard]] constexpr int value() const noexcept { return value_; }
  [[nodiscard]] const void* data() const noexcept { return &value_; }
  [[nodiscard]] void* data() noexcept { return &value_; }
  [[nodiscard]] std::size_t size() const noexcept { return sizeof value_; }

private:
  int value_ = 0;
};

/// Allows binding an address while old connections of it linger (SO_REUSEADDR). `bind` of a stream
/// socket does not need it; on Windows the option would allow others to take over the port.
using reuse_address = flag_option<SOL_SOCKET, SO_REUSEADDR>;
/// Sends small segments immediately (TCP_NODELAY).
using tcp_no_delay = flag_option<IPPROTO_TCP, TCP_NODELAY>;
/// Probes idle connections (SO_KEEPALIVE).
using keep_alive = flag_option<SOL_SOCKET, SO_KEEPALIVE>;
/// Leaves out-of-band data in its place in the stream (SO_OOBINLINE).
using out_of_band_inline = flag_option<SOL_SOCKET, SO_OOBINLINE>;
/// The size of the kernel's receive buffer, in bytes (SO_RCVBUF). Linux doubles the given value.
using receive_buffer_size = number_option<SOL_SOCKET, SO_RCVBUF>;
/// The size of the kernel's send buffer, in bytes (SO_SNDBUF). Linux doubles the given value.
using send_buffer_size = number_option<SOL_SOCKET, SO_SNDBUF>;
/// Excludes IPv4-mapped addresses from an IPv6 socket (IPV6_V6ONLY). The default is 0 on Linux and
/// 1 on Windows, so set it explicitly.
using v6_only = flag_option<IPPROTO_IPV6, IPV6_V6ONLY>;
/// Allows datagrams to broadcast addresses (SO_BROADCAST).
using broadcast = flag_option<SOL_SOCKET, SO_BROADCAST>;
/// The hop limit of IPv4 packets, 1 to 255 (IP_TTL).
using time_to_live = number_option<IPPROTO_IP, IP_TTL>;
/// The type-of-service byte of IPv4 packets (IP_TOS). Windows ignores it.
using type_of_service = number_option<IPPROTO_IP, IP_TOS>;
/// The hop limit of IPv4 multicast datagrams, 0 to 255; 1 by default (IP_MULTICAST_TTL).
using multicast_time_to_live = number_option<IPPROTO_IP, IP_MULTICAST_TTL>;
/// Delivers IPv4 multicast datagrams also to members on the sending machine; on by default
/// (IP_MULTICAST_LOOP; on Windows an option of the receivers).
using multicast_loop = flag_option<IPPROTO_IP, IP_MULTICAST_LOOP>;
/// The same two options for IPv6 (IPV6_MULTICAST_HOPS, IPV6_MULTICAST_LOOP).
using multicast_hops = number_option<IPPROTO_IPV6, IPV6_MULTICAST_HOPS>;
using multicast_loop_v6 = flag_option<IPPROTO_IPV6, IPV6_MULTICAST_LOOP>;
/// The interface, by index, for outgoing IPv6 multicast datagrams (IPV6_MULTICAST_IF).
using multicast_interface_v6 = number_option<IPPROTO_IPV6, IPV6_MULTICAST_IF>;

/// Splits the data of one send into UDP datagrams of this size, in bytes; the last one may be
/// shorter. 0: no splitting. On Linux the limits are 64 datagrams (newer kernels: 128) and the
/// path's maximum datagram size; beyond them the send fails with invalid_argument or message_size.
/// (UDP_SEGMENT, Linux 4.18; UDP_SEND_MSG_SIZE, Windows 10, 2004. Otherwise, and on Wine:
/// no_protocol_option.)
using udp_segment = number_option<IPPROTO_UDP, os::udp_segment_name>;
/// Allows the kernel to merge UDP datagrams of one sender and one size, up to 64 KiB. `recv_batch`
/// then reports in `segment` where to split them. The other calls do not report it, and data beyond
/// the buffer is lost: give each slot 64 KiB. (UDP_GRO, Linux 5.0; UDP_RECV_MAX_COALESCED_SIZE,
/// Windows 10, 2004. Otherwise, and on Wine: no_protocol_option.)
using udp_gro = flag_option<IPPROTO_UDP, os::udp_gro_name, os::udp_gro_on>;

/// The interface, by its address, for outgoing IPv4 multicast datagrams (IP_MULTICAST_IF).
class multicast_interface {
public:
  static constexpr int level = IPPROTO_IP, name = IP_MULTICAST_IF;
  multicast_interface() noexcept = default;
  /// @param address  IPv4; the port is ignored.
  explicit multicast_interface(const endpoint& address) noexcept
      : value_(os::socket_address(address).v4.sin_addr) {}
  [[nodiscard]] endpoint address() const noexcept {
    os::socket_address a = os::socket_address::wildcard(AF_INET);
    a.v4.sin_addr = value_;
    return a.to_endpoint();
  }
  [[nodiscard]] const void* data() const noexcept { return &value_; }
  [[nodiscard]] void* data() noexcept { return &value_; }
  [[nodiscard]] std::size_t size() const noexcept { return sizeof value_; }

private:
  ::in_addr value_{};
};

/// Allows several sockets to listen on one port; the kernel distributes connections among them
/// (SO_REUSEPORT). Not on Windows: no_protocol_option.
using reuse_port = flag_option<SOL_SOCKET, os::reuse_port_name>;

/// What closing does with unsent bytes (SO_LINGER). Off: the system sends them in the background.
/// On with 0: it discards them and resets the connection. On with a time: the system's own close
/// waits until the bytes are sent or the time has passed. A `socket` that is closed or destroyed
/// never waits, because that would block the loop: it switches the option off first. (To wait, call
/// `shutdown(shutdown_send)`, then `recv` until the peer has closed.) A handle given up by
/// `release` keeps the option.
class linger {
public:
  static constexpr int level = SOL_SOCKET, name = os::linger_name;
  linger() noexcept = default;
  /// @param time  rounded up to seconds; a negative one is 0. A time beyond the system's range
  /// (65535 s on Windows) is the longest possible one.
  template <class Rep, class Period>
  linger(bool on, std::chrono::duration<Rep, Period> time) noexcept {
    using onoff = decltype(value_.l_onoff);
    using seconds = std::chrono::duration<decltype(value_.l_linger)>;
    const bool some = time > time.zero();
    value_.l_onoff = static_cast<onoff>(on);
    value_.l_linger = some ? detail::saturated<seconds>(time).count() : seconds::zero().count();
  }
  [[nodiscard]] bool on() const noexcept { return value_.l_onoff != 0; }
  [[nodiscard]] std::chrono::seconds time() const noexcept {
    return std::chrono::seconds(value_.l_linger);
  }
  [[nodiscard]] const void* data() const noexcept { return &value_; }
  [[nodiscard]] void* data() noexcept { return &value_; }
  [[nodiscard]] std::size_t size() const noexcept { return sizeof value_; }

private:
  ::linger value_{};
};

}} // namespace rouse::ROUSE_ABI

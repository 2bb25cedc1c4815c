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

/// Which direction `shutdown` ends.
enum class shutdown_how : int {
  recv = os::shutdown_recv,
  send = os::shutdown_send,
  both = os::shutdown_both
};
inline constexpr shutdown_how shutdown_recv = shutdown_how::recv;
inline constexpr shutdown_how shutdown_send = shutdown_how::send;
inline constexpr shutdown_how shutdown_both = shutdown_how::both;

/// An option by type: where it is (`level`, `name`) and its value in the kernel's form. Users may
/// write their own.
template <class O>
concept socket_option = std::default_initializable<O> && requires(O o, const O c) {
  { O::level } -> std::convertible_to<int>;
  { O::name } -> std::convertible_to<int>;
  { c.data() } -> std::convertible_to<const void*>;
  { o.data() } -> std::convertible_to<void*>;
  { c.size() } -> std::convertible_to<std::size_t>;
};

namespace detail {

// Say in words what is no option, and no value of a raw one.
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

/// One that is on or off.
/// @tparam On  what the kernel takes for on.
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

/// One that is a number.
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

/// Whether an address may be bound while old connections of it linger (SO_REUSEADDR). `bind` of a
/// stream socket does what is right without it; on Windows it would let others steal the port.
using reuse_address = flag_option<SOL_SOCKET, SO_REUSEADDR>;
/// Whether small segments go out at once (TCP_NODELAY).
using tcp_no_delay = flag_option<IPPROTO_TCP, TCP_NODELAY>;
/// Whether an idle connection is probed (SO_KEEPALIVE).
using keep_alive = flag_option<SOL_SOCKET, SO_KEEPALIVE>;
/// Whether out-of-band data comes in its place in the stream (SO_OOBINLINE).
using out_of_band_inline = flag_option<SOL_SOCKET, SO_OOBINLINE>;
/// Bytes of the kernel's receive buffer (SO_RCVBUF). Linux doubles what it is given.
using receive_buffer_size = number_option<SOL_SOCKET, SO_RCVBUF>;
/// Bytes of the kernel's send buffer (SO_SNDBUF). Linux doubles what it is given.
using send_buffer_size = number_option<SOL_SOCKET, SO_SNDBUF>;
/// Whether an IPv6 socket refuses IPv4-mapped peers (IPV6_V6ONLY). Linux starts with 0, Windows
/// with 1: say which you want.
using v6_only = flag_option<IPPROTO_IPV6, IPV6_V6ONLY>;
/// Whether datagrams may go to broadcast addresses (SO_BROADCAST).
using broadcast = flag_option<SOL_SOCKET, SO_BROADCAST>;
/// Hops that an IPv4 packet may take, 1 to 255 (IP_TTL).
using time_to_live = number_option<IPPROTO_IP, IP_TTL>;
/// The type-of-service byte of IPv4 packets (IP_TOS). Windows ignores it.
using type_of_service = number_option<IPPROTO_IP, IP_TOS>;
/// Hops that an IPv4 multicast datagram may take, 0 to 255; the system starts with 1
/// (IP_MULTICAST_TTL).
using multicast_time_to_live = number_option<IPPROTO_IP, IP_MULTICAST_TTL>;
/// Whether this machine's members get what it sends to an IPv4 group, which they do unless told
/// otherwise (IP_MULTICAST_LOOP; on Windows it is the receivers' to say).
using multicast_loop = flag_option<IPPROTO_IP, IP_MULTICAST_LOOP>;
/// The same for IPv6 (IPV6_MULTICAST_HOPS, IPV6_MULTICAST_LOOP).
using multicast_hops = number_option<IPPROTO_IPV6, IPV6_MULTICAST_HOPS>;
using multicast_loop_v6 = flag_option<IPPROTO_IPV6, IPV6_MULTICAST_LOOP>;
/// The interface, by index, that IPv6 multicast datagrams leave by (IPV6_MULTICAST_IF).
using multicast_interface_v6 = number_option<IPPROTO_IPV6, IPV6_MULTICAST_IF>;

/// Cuts what is sent at once into UDP datagrams of this many bytes, the last of what is left; 0
/// does not. On Linux at most 64 of them (newer kernels: 128), none larger than the way to the peer
/// takes: else the send is invalid_argument, or message_size. (UDP_SEGMENT, Linux 4.18;
/// UDP_SEND_MSG_SIZE, Windows 10, 2004. Elsewhere, and under Wine: no_protocol_option.)
using udp_segment = number_option<IPPROTO_UDP, os::udp_segment_name>;
/// Whether UDP datagrams of one sender and one size may come as one, up to 64 KiB: `recv_batch`
/// then says in `segment` where they part. (The other calls do not, and of those that do not fit
/// the rest is gone: give each slot 64 KiB.) (UDP_GRO, Linux 5.0; UDP_RECV_MAX_COALESCED_SIZE,
/// Windows 10, 2004. Elsewhere, and under Wine: no_protocol_option.)
using udp_gro = flag_option<IPPROTO_UDP, os::udp_gro_name, os::udp_gro_on>;

/// The interface, by its address, that IPv4 multicast datagrams leave by (IP_MULTICAST_IF).
class multicast_interface {
public:
  static constexpr int level = IPPROTO_IP, name = IP_MULTICAST_IF;
  multicast_interface() noexcept = default;
  /// @param address  IPv4; the port does not matter.
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

/// Whether several sockets may listen on one port, the kernel spreading connections among them
/// (SO_REUSEPORT). Windows has none: no_protocol_option.
using reuse_port = flag_option<SOL_SOCKET, os::reuse_port_name>;

/// What `close` does with bytes not yet sent (SO_LINGER): off, it sends them in the background; on
/// with 0, it throws them away and resets the connection. On with a time, the system's own calls
/// wait until the bytes are sent or the time has passed; a socket of rouse, closed by `close` or by
/// its destructor, does not, as that would hold up the loop: it switches the option off. (To wait,
/// `shutdown(shutdown_send)`, then `recv` until the peer has closed.) A handle that was `release`d
/// keeps the option.
class linger {
public:
  static constexpr int level = SOL_SOCKET, name = SO_LINGER;
  linger() noexcept = default;
  /// @param time  of any type, rounded up to seconds; negative: none. What the system cannot
  /// represent (on Windows more than 65535 s) is the longest that it can.
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

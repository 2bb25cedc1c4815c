// Calls on datagrams, beyond those that streams have as well.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/buffer.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/os/socket.hpp>
#include <rouse/sockets/list_calls.hpp>
#include <rouse/sockets/socket_part.hpp>
#include <rouse/sockets/when_there_is_room.hpp>

#include <cstddef>
#include <system_error>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {

/// What `recv_from` returns: `auto [n, from] = s.recv_from(buf);`
struct datagram {
  std::size_t bytes = 0;
  endpoint from;
};

namespace detail {

struct recv_from_call {
  using value_type = datagram;
  static constexpr const char* name = "rouse: recv_from";
  static constexpr const char* misuse = empty_buffer;
  socket_state* socket;
  mutable_buffer buffer;
  os::message message{};

  bool prepare(operation& op) noexcept {
    message.to_receive(buffer.data(), buffer.size());
    op.action = action::recv_from;
    op.target = socket;
    op.data = &message;
    op.size = buffer.size();
    if (buffer.size() == 0) op.error = std::errc::invalid_argument;
    return !op.error;
  }
  bool advance(operation&) noexcept { return true; }
  datagram value(operation& op) noexcept {
    const bool received = !op.error || op.error.code() == std::errc::message_size;
    return received ? datagram{op.bytes, message.peer()} : datagram{};
  }
};

struct send_to_call {
  using value_type = std::size_t;
  static constexpr const char* name = "rouse: send_to";
  socket_state* socket;
  const_buffer buffer;
  endpoint to;
  os::message message{};

  bool prepare(operation& op) noexcept {
    message.to_send(const_cast<void*>(buffer.data()), buffer.size(), to);
    op.action = action::send_to;
    op.target = socket;
    op.data = &message;
    op.size = buffer.size();
    if (socket->open() && to.family() != socket->family)
      op.error = std::errc::address_family_not_supported;
    return !op.error;
  }
  bool advance(operation&) noexcept { return true; }
  std::size_t value(operation& op) noexcept { return op.bytes; }
};

struct recv_from_list_call : list_call<mutable_buffer, action::recv_from, false> {
  using value_type = datagram;
  static constexpr const char* name = "rouse: recv_from into a list";

  bool prepare(operation& op) noexcept {
    const bool valid = list_call::prepare(op);
    message.with_sender();
    return valid;
  }
  datagram value(operation& op) noexcept {
    const bool received = !op.error || op.error.code() == std::errc::message_size;
    return received ? datagram{list.moved(), message.peer()} : datagram{};
  }
};

struct send_to_list_call : list_call<const_buffer, action::send_to, false> {
  static constexpr const char* name = "rouse: send_to of a list";
  endpoint to;

  bool prepare(operation& op) noexcept {
    const bool valid = list_call::prepare(op);
    message.with_destination(to);
    if (socket->open() && to.family() != socket->family)
      op.error = std::errc::address_family_not_supported;
    return valid && !op.error;
  }
};

/// A part of `socket`: the calls on datagrams.
template <class Socket>
class datagram_calls : public socket_part<datagram_calls<Socket>, Socket> {
public:
  /// Receives one datagram and its sender's address. Completes when a datagram has arrived.
  ///
  /// @param buffer  borrowed until the call has completed. If it is too small, it receives the
  /// beginning of the datagram, the rest is lost, and the call fails with message_size.
  /// @returns the number of bytes, 0 for an empty datagram, and the sender: `auto [n, from] =
  /// s.recv_from(buf);`. The sender is unspecified for a stream, and for a sender without a name.
  ///
  /// Errors: those of `recv`; message_size (MSG_TRUNC; WSAEMSGSIZE); connection_refused on Linux,
  /// if the socket is connected and the peer's port is closed. Cost: no allocation; io_uring one
  /// SQE, epoll one recvmsg(2), IOCP one WSARecvFrom. Source: recvmsg(2); IORING_OP_RECVMSG, Linux
  /// 5.3.
  template <class...>
  decltype(auto) recv_from(bytes_to_fill<Socket> buffer, location at = location::current()) {
    return this->start(recv_from_call{this->record(), buffer}, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) recv_from(bytes_to_fill<Socket> buffer, First&& first, How&& how = How(),
                           call_site at = location::current()) {
    return this->start(recv_from_call{this->record(), buffer}, at, std::forward<First>(first),
                       std::forward<How>(how));
  }
  /// Receives one datagram into several buffers, filled one after the other; see `socket`.
  template <class First = limit, class How = nothing>
  decltype(auto) recv_from(list_to_fill<Socket> list, First&& first = First(), How&& how = How(),
                           call_site at = location::current()) {
    return this->start(recv_from_list_call{{this->record(), list}}, at, std::forward<First>(first),
                       std::forward<How>(how));
  }

  /// Sends one datagram to `to`. The system chooses an address for an unbound socket. The call
  /// waits while the queue of a local receiver is full.
  ///
  /// @param buffer  borrowed, unchanged, until the call has completed. Empty: an empty datagram.
  /// @returns the number of bytes: all of them.
  ///
  /// Errors: message_size (larger than a datagram can be), permission_denied (to a broadcast
  /// address without `broadcast`), network_unreachable, address_family_not_supported (`to` has
  /// another family), connection_refused, no_such_file_or_directory (no socket is bound to the
  /// path). Source: sendmsg(2); IORING_OP_SENDMSG, Linux 5.3; WSASendTo.
  template <class...>
  decltype(auto) send_to(bytes_to_send<Socket> buffer, const endpoint& to,
                         location at = location::current()) {
    return this->start(when_there_is_room<send_to_call>{{this->record(), buffer, to}}, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) send_to(bytes_to_send<Socket> buffer, const endpoint& to, First&& first,
                         How&& how = How(), call_site at = location::current()) {
    return this->start(when_there_is_room<send_to_call>{{this->record(), buffer, to}}, at,
                       std::forward<First>(first), std::forward<How>(how));
  }

  /// Sends one datagram that consists of several buffers; see `socket`.
  template <class First = limit, class How = nothing>
  decltype(auto) send_to(list_to_send<Socket> list, const endpoint& to, First&& first = First(),
                         How&& how = How(), call_site at = location::current()) {
    return this->start(when_there_is_room<send_to_list_call>{{{this->record(), list}, to}}, at,
                       std::forward<First>(first), std::forward<How>(how));
  }

  template <class Buffer, endpoint_piece Piece, class... Rest>
  void send_to(const Buffer&, const Piece&, const Rest&...) {
    explain_endpoint<Piece, Rest...>();
  }

  /// Joins a multicast group: the socket receives datagrams that are sent to the group and to the
  /// socket's port, until `leave_group` or close.
  ///
  /// @param group            the group's address; the port is ignored.
  /// @param interface_index  the network interface (if_nametoindex(3)); 0: the system chooses.
  /// @param source           if given, only this sender's datagrams (source-specific multicast).
  ///
  /// Errors: address_in_use (already a member), no_such_device, address_not_available,
  /// invalid_argument (not a multicast address), address_family_not_supported. Source: RFC 3678;
  /// ip(7), ipv6(7), MCAST_JOIN_GROUP.
  void join_group(const endpoint& group, unsigned interface_index = 0) {
    this->check(change(true, group, nullptr, interface_index), "rouse: join_group");
  }
  void join_group(const endpoint& group, unsigned interface_index, std::error_code& ec) noexcept {
    ec = change(true, group, nullptr, interface_index).code();
  }
  void join_group(const endpoint& group, unsigned interface_index, const endpoint& source) {
    this->check(change(true, group, &source, interface_index), "rouse: join_group");
  }
  void join_group(const endpoint& group, unsigned interface_index, const endpoint& source,
                  std::error_code& ec) noexcept {
    ec = change(true, group, &source, interface_index).code();
  }
  void leave_group(const endpoint& group, unsigned interface_index = 0) {
    this->check(change(false, group, nullptr, interface_index), "rouse: leave_group");
  }
  void leave_group(const endpoint& group, unsigned interface_index, std::error_code& ec) noexcept {
    ec = change(false, group, nullptr, interface_index).code();
  }
  void leave_group(const endpoint& group, unsigned interface_index, const endpoint& source) {
    this->check(change(false, group, &source, interface_index), "rouse: leave_group");
  }
  void leave_group(const endpoint& group, unsigned interface_index, const endpoint& source,
                   std::error_code& ec) noexcept {
    ec = change(false, group, &source, interface_index).code();
  }

  template <endpoint_piece Piece, class... Rest>
  void join_group(const Piece&, const Rest&...) {
    explain_endpoint<Piece>();
  }
  template <endpoint_piece Piece, class... Rest>
  void leave_group(const Piece&, const Rest&...) {
    explain_endpoint<Piece>();
  }

private:
  failure change(bool join, const endpoint& group, const endpoint* source,
                 unsigned interface_index) noexcept {
    return this->on_handle([&](native_handle_type h) {
      if (group.family() != this->record()->family ||
          (source && source->family() != this->record()->family))
        return failure(std::errc::address_family_not_supported);
      return Socket::sockets::change_membership(h, join, group, source, interface_index);
    });
  }
};

} // namespace detail
}} // namespace rouse::ROUSE_ABI

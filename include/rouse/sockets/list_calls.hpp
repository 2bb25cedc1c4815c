// Scatter and gather: calls on lists of buffers.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/buffer.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/os/socket.hpp>
#include <rouse/sockets/datagram_calls.hpp>
#include <rouse/sockets/socket_part.hpp>
#include <rouse/sockets/when_there_is_room.hpp>

#include <cstddef>
#include <source_location>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// A call on a list: how far it has come, and the request for what comes next.
///
/// @tparam Asks  what it asks an engine for.  @tparam All  whether it goes on until the list is
/// done.
template <class Buffer, action Asks, bool All>
struct list_call {
  using value_type = std::size_t;
  static constexpr bool sends = Asks == action::send_to;
  static constexpr const char* name = sends ? "rouse: send of a list" : "rouse: recv into a list";
  static constexpr const char* misuse = empty_buffer;

  socket_state* socket;
  buffer_list<Buffer> list;
  std::size_t moved = 0;
  std::size_t at = 0; // the first buffer that is not done
  std::size_t done_of_it = 0; // bytes
  os::message_in_pieces message{};

  bool prepare(operation& op) noexcept {
    op.target = socket;
    op.action = Asks;
    op.data = &message;
    fill(op);
    if (socket->type != SOCK_STREAM) return whole(op);
    if (op.size != 0) return true;
    if constexpr (sends) {
      if (!socket->open()) op.error = std::errc::bad_file_descriptor;
    } else {
      op.error = std::errc::invalid_argument; // 0 would read as the end of the stream
    }
    return false;
  }

  bool advance(operation& op) noexcept {
    moved += op.bytes;
    if (!All || op.error || (!sends && op.bytes == 0)) return true;
    skip(op.bytes);
    fill(op);
    return op.size == 0;
  }

  std::size_t value(operation&) noexcept { return moved; }

private:
  // As many pieces as go into one request.
  void fill(operation& op) noexcept {
    message.clear();
    op.size = 0;
    std::size_t begin = done_of_it;
    for (std::size_t i = at; i != list.size() && !message.full() && op.size != os::largest_request;
         ++i) {
      const std::size_t left = list[i].size() - begin, room = os::largest_request - op.size;
      const std::size_t size = left < room ? left : room;
      auto* const data = static_cast<const char*>(list[i].data()) + begin;
      if (size != 0) message.add(const_cast<char*>(data), size); // written to only where it may be
      op.size += size;
      begin = 0;
    }
    message.end();
  }

  void skip(std::size_t bytes) noexcept {
    while (bytes != 0) {
      const std::size_t left = list[at].size() - done_of_it;
      if (bytes < left) {
        done_of_it += bytes;
        return;
      }
      bytes -= left;
      done_of_it = 0;
      ++at;
    }
  }

  // A datagram goes out, or comes in, in one request, or not at all.
  bool whole(operation& op) const noexcept {
    std::size_t all = 0;
    for (std::size_t i = 0; i != list.size(); ++i) all += list[i].size();
    if (all != op.size) op.error = std::errc::message_size;
    if (!sends && all == 0) op.error = std::errc::invalid_argument;
    return !op.error;
  }
};

struct recv_from_list_call : list_call<mutable_buffer, action::recv_from, false> {
  using value_type = datagram;
  static constexpr const char* name = "rouse: recv_from into a list";

  bool prepare(operation& op) noexcept {
    const bool sound = list_call::prepare(op);
    message.with_sender();
    return sound;
  }
  datagram value(operation& op) noexcept {
    const bool came = !op.error || op.error.code() == std::errc::message_size;
    return came ? datagram{moved, message.peer()} : datagram{};
  }
};

struct send_to_list_call : list_call<const_buffer, action::send_to, false> {
  static constexpr const char* name = "rouse: send_to of a list";
  endpoint to;

  bool prepare(operation& op) noexcept {
    const bool sound = list_call::prepare(op);
    message.with_destination(to);
    if (socket->open() && to.family() != socket->family)
      op.error = std::errc::address_family_not_supported;
    return sound && !op.error;
  }
};

/// A part of `socket`: its calls on lists of buffers.
template <class Socket>
class list_calls : public socket_part<list_calls<Socket>, Socket> {
  template <class Buffer, action Asks, bool All, class Limit, class... How>
  decltype(auto) begin(buffer_list<Buffer> list, Limit l, How&&... how) {
    return list_calls::socket_part::begin(list_call<Buffer, Asks, All>{this->record(), list},
                                          std::move(l), std::forward<How>(how)...);
  }

public:
  /// The call of the same name, with several buffers instead of one: filled, or sent, one after the
  /// other. An array, a vector or a span of `mutable_buffer` (`const_buffer` to send), borrowed
  /// with all that it names until the call has completed:
  ///
  ///     std::array parts{rouse::const_buffer(head), rouse::const_buffer(body)};
  ///     co_await conn.send_all(parts);
  ///
  /// One request takes 16 that are not empty; of a longer list `recv` and `send` do what fits,
  /// `send_all` and `recv_exactly` the rest in further requests. A datagram cannot be split: on
  /// such a socket a longer list is message_size, and nothing is sent, or taken.
  /// Source: recvmsg(2), sendmsg(2); IORING_OP_RECVMSG, IORING_OP_SENDMSG; WSARecvFrom, WSASendTo.
  template <class How = nothing>
    requires(!limit_first<How>)
  decltype(auto) recv(list_to_fill<Socket> list, How&& how = How(),
                      call_site at = std::source_location::current()) {
    return begin<mutable_buffer, action::recv_from, false>(list, no_limit{at},
                                                           std::forward<How>(how));
  }
  template <class... How>
  decltype(auto) recv(list_to_fill<Socket> list, limit l, How&&... how) {
    return begin<mutable_buffer, action::recv_from, false>(list, std::move(l),
                                                           std::forward<How>(how)...);
  }
  template <class How = nothing>
    requires(!limit_first<How>)
  decltype(auto) recv_exactly(list_to_fill<Socket> list, How&& how = How(),
                              call_site at = std::source_location::current()) {
    return begin<mutable_buffer, action::recv_from, true>(list, no_limit{at},
                                                          std::forward<How>(how));
  }
  template <class... How>
  decltype(auto) recv_exactly(list_to_fill<Socket> list, limit l, How&&... how) {
    return begin<mutable_buffer, action::recv_from, true>(list, std::move(l),
                                                          std::forward<How>(how)...);
  }
  template <class How = nothing>
    requires(!limit_first<How>)
  decltype(auto) send(list_to_send<Socket> list, How&& how = How(),
                      call_site at = std::source_location::current()) {
    return begin<const_buffer, action::send_to, false>(list, no_limit{at}, std::forward<How>(how));
  }
  template <class... How>
  decltype(auto) send(list_to_send<Socket> list, limit l, How&&... how) {
    return begin<const_buffer, action::send_to, false>(list, std::move(l),
                                                       std::forward<How>(how)...);
  }
  template <class How = nothing>
    requires(!limit_first<How>)
  decltype(auto) send_all(list_to_send<Socket> list, How&& how = How(),
                          call_site at = std::source_location::current()) {
    return begin<const_buffer, action::send_to, true>(list, no_limit{at}, std::forward<How>(how));
  }
  template <class... How>
  decltype(auto) send_all(list_to_send<Socket> list, limit l, How&&... how) {
    return begin<const_buffer, action::send_to, true>(list, std::move(l),
                                                      std::forward<How>(how)...);
  }
  template <class How = nothing>
    requires(!limit_first<How>)
  decltype(auto) recv_from(list_to_fill<Socket> list, How&& how = How(),
                           call_site at = std::source_location::current()) {
    return list_calls::socket_part::begin(recv_from_list_call{{this->record(), list}}, no_limit{at},
                                          std::forward<How>(how));
  }
  template <class... How>
  decltype(auto) recv_from(list_to_fill<Socket> list, limit l, How&&... how) {
    return list_calls::socket_part::begin(recv_from_list_call{{this->record(), list}}, std::move(l),
                                          std::forward<How>(how)...);
  }
  template <class How = nothing>
    requires(!limit_first<How>)
  decltype(auto) send_to(list_to_send<Socket> list, const endpoint& to, How&& how = How(),
                         call_site at = std::source_location::current()) {
    return list_calls::socket_part::begin(
        when_there_is_room<send_to_list_call>{{{this->record(), list}, to}}, no_limit{at},
        std::forward<How>(how));
  }
  template <class... How>
  decltype(auto) send_to(list_to_send<Socket> list, const endpoint& to, limit l, How&&... how) {
    return list_calls::socket_part::begin(
        when_there_is_room<send_to_list_call>{{{this->record(), list}, to}}, std::move(l),
        std::forward<How>(how)...);
  }
};

}}} // namespace rouse::ROUSE_ABI::detail

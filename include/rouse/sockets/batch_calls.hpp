// Batches: several datagrams received or sent in one call.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/batch.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/os/batch.hpp>
#include <rouse/os/socket.hpp>
#include <rouse/sockets/socket_part.hpp>
#include <rouse/sockets/when_there_is_room.hpp>

#include <cstddef>
#include <span>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

// Only for datagrams. On a stream, each slot would hold an arbitrary piece of it, or its end.
inline failure check_datagrams(const socket_state& socket) noexcept {
  const bool has_datagrams = socket.type == SOCK_DGRAM || socket.type == SOCK_RAW;
  if (!socket.open()) return std::errc::bad_file_descriptor;
  return has_datagrams ? failure{} : failure(std::errc::operation_not_supported);
}

/// The attempt runs whenever the socket is readable. It holds the engine's lock, so that a cancel
/// finds either no datagram taken or the call completed.
template <class Sockets>
struct recv_batch_call : retry_when_ready {
  using value_type = std::size_t;
  static constexpr const char* name = "rouse: recv_batch";
  static constexpr const char* misuse = "no slots, or one with an empty buffer";
  socket_state* socket;
  std::span<incoming> slots;
  std::size_t taken = 0;

  recv_batch_call(socket_state* d, incoming_batch b) noexcept
      : retry_when_ready(&recv_batch_call::try_now, "recv_batch"), socket(d), slots(b.items()) {}

  bool prepare(operation& op) noexcept {
    op.action = action::when_readable;
    op.target = socket;
    op.retry = this;
    op.error = check_datagrams(*socket);
    bool valid = !slots.empty();
    for (const incoming& slot : slots) valid = valid && slot.buffer.size() != 0;
    if (!op.error && !valid) op.error = std::errc::invalid_argument;
    return !op.error;
  }
  bool advance(operation&) noexcept { return true; }
  std::size_t value(operation&) noexcept { return taken; }

private:
  static bool try_now(operation& op) noexcept {
    auto& self = static_cast<recv_batch_call&>(*op.retry);
    const auto h = static_cast<native_handle_type>(op.target->native);
    const bool done =
        Sockets::recv_batch_now(h, op.target->family, self.slots, self.taken, op.error);
    for (const incoming& slot : self.slots.first(self.taken)) op.bytes += slot.bytes;
    return done;
  }
};

/// Each attempt runs when there is room to send, and sends as many as one system call takes, so
/// that other calls get their turn.
template <class Sockets>
struct send_batch_call : retry_when_ready {
  using value_type = std::size_t;
  static constexpr const char* name = "rouse: send_batch";
  socket_state* socket;
  std::span<const outgoing> items;
  std::size_t sent = 0;

  send_batch_call(socket_state* d, outgoing_batch b) noexcept
      : retry_when_ready(&send_batch_call::try_now, "send_batch"), socket(d), items(b.items()) {}

  bool prepare(operation& op) noexcept {
    op.action = action::when_writable;
    op.target = socket;
    op.retry = this;
    op.error = check_datagrams(*socket);
    return !op.error && !items.empty();
  }
  bool advance(operation& op) noexcept { return op.error || sent == items.size(); }
  std::size_t value(operation&) noexcept { return sent; }

private:
  static bool try_now(operation& op) noexcept {
    auto& self = static_cast<send_batch_call&>(*op.retry);
    const auto h = static_cast<native_handle_type>(op.target->native);
    const int family = op.target->family;
    const auto part = self.valid_part(family);
    if (part.empty()) {
      op.error = std::errc::address_family_not_supported;
      return true;
    }
    std::size_t sent = 0;
    const bool done = Sockets::send_batch_now(h, family, part, sent, op.error);
    for (const outgoing& item : part.first(sent)) op.bytes += item.buffer.size();
    self.sent += sent;
    return done;
  }

  // The next items, up to the first one with an address of another family.
  [[nodiscard]] std::span<const outgoing> valid_part(int family) const noexcept {
    const auto left = items.subspan(sent);
    const std::size_t most = left.size() < os::largest_batch ? left.size() : os::largest_batch;
    std::size_t n = 0;
    while (n != most &&
           (left[n].to.family() == family_unspecified || left[n].to.family() == family))
      ++n;
    return left.first(n);
  }
};

/// A part of `socket`: the calls on several datagrams.
template <class Socket>
class batch_calls : public socket_part<batch_calls<Socket>, Socket> {
public:
  /// Receives all datagrams that have arrived, as many as there are slots. Completes when there is
  /// at least one:
  ///
  ///     std::array<char, 1500> room[32];
  ///     rouse::incoming slots[32];
  ///     for (int i = 0; i != 32; ++i) slots[i].buffer = room[i];
  ///     const std::size_t n = co_await s.recv_batch(slots);
  ///     for (const auto& d : std::span(slots).first(n)) ...   // d.buffer, d.bytes, d.from
  ///
  /// @param slots  an array, a vector or a span of `incoming`, borrowed with its buffers until the
  /// call has completed. No buffer may be empty.
  /// @returns the number of datagrams: they are in the first slots, in order, and the other slots
  /// are unchanged. 0 on Linux after the receiving direction was shut down. A datagram larger than
  /// its buffer does not fail the call: its slot says `truncated`.
  ///
  /// Errors: those of `recv_from` except message_size, and only if no datagram was taken;
  /// invalid_argument (no slots, or an empty buffer), operation_not_supported (a stream).
  /// Cancellation: a request; a datagram that was taken is returned. While the slots are filled,
  /// other users of the engine wait. Cost: no allocation; Linux a recvmmsg(2) for every 64 slots
  /// (on io_uring and epoll), after a request to wait if nothing has arrived; Windows a WSARecvMsg
  /// for each datagram. 16 KiB of stack. Source: recvmmsg(2), Linux 2.6.33; WSARecvMsg.
  template <class...>
  decltype(auto) recv_batch(incoming_batch slots, location at = location::current()) {
    return this->start(recv_batch_call<typename Socket::sockets>{this->record(), slots}, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) recv_batch(incoming_batch slots, First&& first, How&& how = How(),
                            call_site at = location::current()) {
    return this->start(recv_batch_call<typename Socket::sockets>{this->record(), slots}, at,
                       std::forward<First>(first), std::forward<How>(how));
  }

  /// Sends several datagrams, in order. Waits while the socket has no room. Completes when all are
  /// sent.
  ///
  /// @param items  an array, a vector or a span of `outgoing`, borrowed with its buffers,
  /// unchanged, until the call has completed. Each has a destination, or none if the socket is
  /// connected. Empty: completes at once with 0.
  /// @returns the number of datagrams sent: all. Beside an error (with an `ec` or a handler), the
  /// number sent before it, which is the index of the item that failed. A limit covers the whole
  /// call.
  ///
  /// Errors: those of `send_to` and `send`; operation_not_supported (a stream). Cost: no
  /// allocation; Linux a sendmmsg(2) for every 64 items (on io_uring and epoll); Windows a
  /// WSASendTo for each. 16 KiB of stack. Source: sendmmsg(2), Linux 3.0; WSASendTo.
  template <class...>
  decltype(auto) send_batch(batch_to_send<Socket> items, location at = location::current()) {
    return this->start(
        when_there_is_room<send_batch_call<typename Socket::sockets>>{{this->record(), items}}, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) send_batch(batch_to_send<Socket> items, First&& first, How&& how = How(),
                            call_site at = location::current()) {
    return this->start(
        when_there_is_room<send_batch_call<typename Socket::sockets>>{{this->record(), items}}, at,
        std::forward<First>(first), std::forward<How>(how));
  }
};

}}} // namespace rouse::ROUSE_ABI::detail

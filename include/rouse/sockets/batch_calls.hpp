// Batches: several datagrams received, or sent, in one call.
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

// Of a connection, a batch would be pieces of a stream; and its end, once for each slot.
inline failure check_datagrams(const socket_state& socket) noexcept {
  const bool has_datagrams = socket.type == SOCK_DGRAM || socket.type == SOCK_RAW;
  if (!socket.open()) return std::errc::bad_file_descriptor;
  return has_datagrams ? failure{} : failure(std::errc::operation_not_supported);
}

/// Tried whenever the socket is readable: with the engine's lock held, so that a cancel finds
/// either nothing taken, or the call done.
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
    const bool done = os::recv_batch_now(h, op.target->family, self.slots, self.taken, op.error);
    for (const incoming& slot : self.slots.first(self.taken)) op.bytes += slot.bytes;
    return done;
  }
};

/// Tried whenever there is room to send, as many as one system call takes: others have their turn
/// in between.
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
    const bool done = os::send_batch_now(h, family, part, sent, op.error);
    for (const outgoing& item : part.first(sent)) op.bytes += item.buffer.size();
    self.sent += sent;
    return done;
  }

  // What comes next, up to one whose address is of another family.
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

/// A part of `socket`: its calls on several datagrams.
template <class Socket>
class batch_calls : public socket_part<batch_calls<Socket>, Socket> {
public:
  /// Receives at least one datagram, waiting if none has come, and with it all others that are
  /// there already, as many as there are slots:
  ///
  ///     std::array<char, 1500> room[32];
  ///     rouse::incoming slots[32];
  ///     for (int i = 0; i != 32; ++i) slots[i].buffer = room[i];
  ///     const std::size_t n = co_await s.recv_batch(slots);
  ///     for (const auto& d : std::span(slots).first(n)) ...   // d.buffer, d.bytes, d.from
  ///
  /// @param slots  an array, a vector or a span of `incoming`, borrowed with its buffers until the
  /// call has completed; each needs a buffer that is not empty.
  /// @returns how many came: they are in the first slots, in order, and the other slots are as
  /// they were; 0 on Linux once the receiving side was shut down. One that is larger than its
  /// buffer is no error of the call: its slot says `truncated`.
  ///
  /// Errors: as `recv_from`, but message_size, and only where no datagram was taken;
  /// invalid_argument (no slots, or one without room), operation_not_supported (a stream).
  /// Cancellation: a request; a datagram that was taken is told. Others that use the engine wait
  /// while the slots are filled.
  /// Cost: no allocation; Linux a recvmmsg(2) for every 64 slots (io_uring and epoll the same), and
  /// where nothing is there a request to wait before; Windows a WSARecvMsg for each datagram. 16
  /// KiB of stack. Source: recvmmsg(2), Linux 2.6.33; WSARecvMsg.
  template <class...>
  decltype(auto) recv_batch(incoming_batch slots, location at = location::current()) {
    return this->start(recv_batch_call{this->record(), slots}, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) recv_batch(incoming_batch slots, First&& first, How&& how = How(),
                            call_site at = location::current()) {
    return this->start(recv_batch_call{this->record(), slots}, at, std::forward<First>(first),
                       std::forward<How>(how));
  }

  /// Sends all of several datagrams, in order, waiting where the socket has no room for more.
  ///
  /// @param items  an array, a vector or a span of `outgoing`, borrowed with its buffers,
  /// unchanged, until the call has completed. Each has its own destination, or none, where the
  /// socket is connected. No items: completes at once with 0.
  /// @returns how many were sent: all, unless there is an error; then how many went before it (in
  /// the `ec` form and for handlers), so that the next one is the item that failed. `l` holds for
  /// the whole.
  ///
  /// Errors: as `send_to` and `send`; operation_not_supported (a stream).
  /// Cost: no allocation; Linux a sendmmsg(2) for every 64 items (io_uring and epoll the same);
  /// Windows a WSASendTo for each. 16 KiB of stack. Source: sendmmsg(2), Linux 3.0; WSASendTo.
  template <class...>
  decltype(auto) send_batch(batch_to_send<Socket> items, location at = location::current()) {
    return this->start(when_there_is_room<send_batch_call>{{this->record(), items}}, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) send_batch(batch_to_send<Socket> items, First&& first, How&& how = How(),
                            call_site at = location::current()) {
    return this->start(when_there_is_room<send_batch_call>{{this->record(), items}}, at,
                       std::forward<First>(first), std::forward<How>(how));
  }
};

}}} // namespace rouse::ROUSE_ABI::detail

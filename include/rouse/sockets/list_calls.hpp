// The description of a call on several buffers (scatter and gather).
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/buffer.hpp>
#include <rouse/core/buffer_cursor.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/os/socket.hpp>

#include <cstddef>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// A call on several buffers, how far it has come, and the message for its next request.
///
/// @tparam Asks  the request's action.
/// @tparam All   true: requests until all buffers are done.
template <class Buffer, action Asks, bool All>
struct list_call {
  using value_type = std::size_t;
  static constexpr bool sends = Asks == action::send_to;
  static constexpr const char* name = sends ? "rouse: send of a list" : "rouse: recv into a list";
  static constexpr const char* misuse = empty_buffer;

  socket_state* socket;
  buffer_cursor<Buffer, some_buffers<Buffer>> list;
  os::message_in_pieces message{};

  list_call(socket_state* d, const some_buffers<Buffer>& buffers) noexcept
      : socket(d), list(buffers) {}

  bool prepare(operation& op) noexcept {
    op.target = socket;
    op.action = Asks;
    op.data = &message;
    fill(op);
    if (socket->type != SOCK_STREAM) return fits_one_datagram(op);
    if (op.size != 0) return true;
    if constexpr (sends) {
      if (!socket->open()) op.error = std::errc::bad_file_descriptor;
    } else {
      op.error = std::errc::invalid_argument; // 0 would mean the end of the stream
    }
    return false;
  }

  bool advance(operation& op) noexcept {
    list.add(op.bytes);
    if (!All || op.error || (!sends && op.bytes == 0)) return true;
    fill(op);
    return op.size == 0;
  }

  std::size_t value(operation&) noexcept { return list.moved(); }

private:
  // Fills the message with as many pieces as one request takes.
  void fill(operation& op) noexcept {
    message.clear();
    op.size = 0;
    list.for_each_piece([&](const Buffer& piece) {
      const std::size_t room = os::largest_request - op.size;
      const std::size_t size = piece.size() < room ? piece.size() : room;
      message.add(const_cast<void*>(static_cast<const void*>(piece.data())),
                  size); // sends only read
      op.size += size;
      return !message.full() && op.size != os::largest_request;
    });
    message.end();
  }

  // A datagram is sent or received in one request, or not at all.
  bool fits_one_datagram(operation& op) const noexcept {
    std::size_t all = 0;
    list.for_each_piece([&](const Buffer& piece) {
      all += piece.size();
      return true;
    });
    if (all != op.size) op.error = std::errc::message_size;
    if (!sends && all == 0) op.error = std::errc::invalid_argument;
    return !op.error;
  }
};

using recv_list_call = list_call<mutable_buffer, action::recv_from, false>;
using recv_exactly_list_call = list_call<mutable_buffer, action::recv_from, true>;
using send_list_call = list_call<const_buffer, action::send_to, false>;
using send_all_list_call = list_call<const_buffer, action::send_to, true>;

}}} // namespace rouse::ROUSE_ABI::detail

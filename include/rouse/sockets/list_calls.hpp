// The description of a call on several buffers (scatter and gather).
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/buffer.hpp>
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
  some_buffers<Buffer> list;
  std::size_t moved = 0;
  std::size_t current = 0; // the first unfinished buffer
  std::size_t offset = 0; // bytes of it that are done
  os::message_in_pieces message{};

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
    moved += op.bytes;
    if (!All || op.error || (!sends && op.bytes == 0)) return true;
    skip(op.bytes);
    fill(op);
    return op.size == 0;
  }

  std::size_t value(operation&) noexcept { return moved; }

private:
  // Fills the message with as many pieces as one request takes.
  void fill(operation& op) noexcept {
    message.clear();
    op.size = 0;
    std::size_t begin = offset;
    for (std::size_t i = current;
         i != list.size() && !message.full() && op.size != os::largest_request; ++i) {
      const std::size_t left = list[i].size() - begin, room = os::largest_request - op.size;
      const std::size_t size = left < room ? left : room;
      auto* const data = static_cast<const char*>(list[i].data()) + begin;
      if (size != 0) message.add(const_cast<char*>(data), size); // read only if sent
      op.size += size;
      begin = 0;
    }
    message.end();
  }

  void skip(std::size_t bytes) noexcept {
    while (bytes != 0) {
      const std::size_t left = list[current].size() - offset;
      if (bytes < left) {
        offset += bytes;
        return;
      }
      bytes -= left;
      offset = 0;
      ++current;
    }
  }

  // A datagram is sent or received in one request, or not at all.
  bool fits_one_datagram(operation& op) const noexcept {
    std::size_t all = 0;
    for (std::size_t i = 0; i != list.size(); ++i) all += list[i].size();
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

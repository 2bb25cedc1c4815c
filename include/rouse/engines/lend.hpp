// How drivers fill a buffer of the engine's pool for `receive`.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/socket_state.hpp>
#include <rouse/detail/buffer_pool.hpp>
#include <rouse/os/socket.hpp>

#include <cstddef>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// After a receive: a stream that has filled a buffer is likely to have more for the next one. A
/// few KiB, such as the end of a message, do not yet mean that it has no more.
inline void note_fill(operation& op) noexcept {
  if (op.bytes == 0) return; // the end, or nothing yet
  bool& streams = op.target->streams;
  const std::size_t enough = streams ? buffer_pool::room / 4 : buffer_pool::room;
  streams = op.bytes >= enough && op.target->type == SOCK_STREAM;
}

/// Gives `op` a buffer, a large one if the socket streams, and calls `recv()`, which fills it and
/// returns whether it could. If it could not, the buffer goes back, and the result is false. True:
/// done, perhaps with not_enough_memory.
template <class Recv>
bool lend(operation& op, buffer_pool& from, Recv recv) noexcept {
  op.data = op.target->streams ? from.lend_large() : nullptr;
  op.size = op.data ? buffer_pool::large_room : buffer_pool::room;
  if (!op.data) op.data = from.lend();
  if (!op.data) op.error = std::errc::not_enough_memory;
  if (!op.data || recv()) {
    note_fill(op);
    return true;
  }
  buffer_pool::give_back(static_cast<std::byte*>(std::exchange(op.data, nullptr)));
  return false;
}

}}} // namespace rouse::ROUSE_ABI::detail

// How drivers fill a buffer of the engine's pool for `receive`.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/detail/buffer_pool.hpp>

#include <cstddef>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// Gives `op` a buffer and calls `recv()`, which fills it and returns whether it could. If it could
/// not, the buffer goes back, and the result is false. True: done, perhaps with not_enough_memory.
template <class Recv>
bool lend(operation& op, buffer_pool& from, Recv recv) noexcept {
  op.data = from.lend();
  op.size = buffer_pool::room;
  if (!op.data) op.error = std::errc::not_enough_memory;
  if (!op.data || recv()) return true;
  buffer_pool::give_back(static_cast<std::byte*>(std::exchange(op.data, nullptr)));
  return false;
}

}}} // namespace rouse::ROUSE_ABI::detail

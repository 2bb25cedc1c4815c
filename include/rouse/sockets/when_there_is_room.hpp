// A call that waits while the queue of a local peer is full.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/pause.hpp>
#include <rouse/detail/chrono.hpp>
#include <rouse/os/socket.hpp>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

// Retries `Call` while the queue of its Unix-domain peer is full: no event announces when it
// drains.
template <class Call>
struct when_there_is_room : Call {
  static constexpr auto length = std::chrono::milliseconds(1);
  pause retry_pause{"wait for room in the peer's queue"};

  bool advance(operation& op) noexcept {
    if (pause::is(op)) return !retry_pause.end(op) || !this->prepare(op);
    if (!os::is_crowded(op.error)) return Call::advance(op);
    retry_pause.begin(op, length);
    return false;
  }
};

}}} // namespace rouse::ROUSE_ABI::detail

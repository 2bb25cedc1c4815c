// What an engine knows about one open socket.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/clock.hpp>
#include <rouse/detail/intrusive_list.hpp>

#include <cstdint>

namespace rouse { inline namespace ROUSE_ABI {

class operation;

/// An engine's record of one open socket: the opaque handle of the layers above. Each driver
/// derives its own type from it.
///
/// The engine that made it owns it while `owner` is set. Once `owner` is null (the scheduler is
/// gone, the socket is closed and nothing on it is pending), the socket that holds it owns it.
class socket_state : public detail::list_node {
public:
  virtual ~socket_state() = default;

  void* owner = nullptr; ///< the scheduler that the socket belongs to
  std::intptr_t native = -1; ///< the system's handle, -1 when closed
  clock::duration default_timeout = (clock::duration::max)(); ///< limit of calls without a deadline
  std::uint32_t cancel_count = 0; ///< how often everything pending on it was cancelled
  std::int16_t family = 0; ///< AF_...
  std::int16_t type = 0; ///< SOCK_...
  detail::list<operation> inbound; ///< pending receives and accepts, oldest first
  detail::list<operation> outbound; ///< pending sends and connects, oldest first
  detail::list<operation> urgent; ///< pending when_urgent, oldest first
  detail::list<operation> paused; ///< calls that wait before they try again, and direct ones
  bool closing = false; ///< closing or closed: no operation starts on it
  bool unconnected = false; ///< a stream that no `connect` has connected; it never reads as ended
  bool awaits_signals = false; ///< for `dump`: the library made it, to wait for signals
  bool streams = false; ///< receives of late filled their buffers: the next one takes a large one
  // The flags are last, so that those of a driver's record share eight bytes with them.

  [[nodiscard]] bool open() const noexcept { return native != -1 && !closing; }
  [[nodiscard]] bool busy() const noexcept {
    return !inbound.empty() || !outbound.empty() || !urgent.empty() || !paused.empty();
  }
  /// Where `op` is queued while it is pending.
  [[nodiscard]] detail::list<operation>& queue_of(const operation& op) noexcept;
  /// Calls `f(list)` for each of the four queues.
  template <class F>
  void for_each_queue(F f) {
    f(inbound);
    f(outbound);
    f(urgent);
    f(paused);
  }
};

}} // namespace rouse::ROUSE_ABI

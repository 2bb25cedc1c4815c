// Several datagrams without waiting, one after the other: macOS has no call for more than one.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/batch.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/address.hpp>
#include <rouse/os/posix/message.hpp>
#include <rouse/os/posix/socket.hpp>

#include <cstddef>
#include <span>

#if ROUSE_DARWIN
namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// The most datagrams that are sent before other operations have their turn.
inline constexpr std::size_t largest_batch = 64;

/// Receives the datagrams that are there, at most one for each slot. Returns false if there are
/// none. An error after the first datagram is not reported.
/// @param taken  0 before the call, the number of filled slots after it.
inline bool recv_batch_now(native_handle_type h, int /*family*/, std::span<incoming> slots,
                           std::size_t& taken, failure& error) noexcept {
  for (incoming& slot : slots) {
    message m;
    m.to_receive(slot.buffer.data(), slot.buffer.size());
    const ssize_t n =
        detail::retry_interrupted([&] { return ::recvmsg(h, &m.header(), MSG_DONTWAIT); });
    if (n < 0) return taken != 0 || detail::store_error(error);
    slot.bytes = slot.segment = static_cast<std::size_t>(n);
    slot.truncated = m.cut_short();
    slot.from = m.peer();
    ++taken;
  }
  return true;
}

/// Sends `items` in order, up to the first that fails or would have to wait. Returns false if that
/// is the first of all and it would have to wait. `error` is set only if the first of all fails.
/// @param items  at most `largest_batch`.
inline bool send_batch_now(native_handle_type h, int family, std::span<const outgoing> items,
                           std::size_t& sent, failure& error) noexcept {
  for (const outgoing& item : items) {
    message m;
    void* const data = const_cast<void*>(item.buffer.data()); // read only
    const bool named = item.to.family() != family_unspecified;
    m.to_send(data, item.buffer.size(), item.to);
    if (!named) m.header().msg_name = nullptr;
    const ssize_t n = detail::retry_interrupted(
        [&] { return ::sendmsg(h, &m.header(), MSG_DONTWAIT | no_signal); });
    if (n >= 0) {
      ++sent;
      continue;
    }
    if (sent != 0 || detail::store_error(error)) return true;
    if (family != AF_UNIX || !named) return false;
    error = failure::from_os(EAGAIN); // no edge will come: see is_crowded
    return true;
  }
  return true;
}

}}} // namespace rouse::ROUSE_ABI::os
#endif

// Several datagrams without waiting, one after the other: Windows has no call for more than one.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/batch.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/address.hpp>
#include <rouse/os/windows/iocp.hpp>
#include <rouse/os/windows/socket.hpp>

#include <cstddef>
#include <cstring>
#include <span>

#if ROUSE_WINDOWS
namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// The most datagrams that are sent before other operations have their turn.
inline constexpr std::size_t largest_batch = 64;

namespace detail {

inline std::size_t segment_of(WSAMSG& m, std::size_t all) noexcept {
  constexpr INT coalesced_info = 3; // UDP_COALESCED_INFO
  for (WSACMSGHDR* c = WSA_CMSG_FIRSTHDR(&m); c; c = WSA_CMSG_NXTHDR(&m, c)) {
    if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != coalesced_info) continue;
    DWORD size = 0;
    std::memcpy(&size, WSA_CMSG_DATA(c), sizeof size);
    return size;
  }
  return all;
}

inline WSABUF piece_of(const void* data, std::size_t size) noexcept {
  // WSABUF counts in 32 bits, and no datagram is this large.
  constexpr std::size_t most = 1 << 30;
  return {static_cast<ULONG>(size < most ? size : most),
          static_cast<CHAR*>(const_cast<void*>(data))};
}

// Returns 0 or an error number.
inline int recv_one(native_handle_type h, LPFN_WSARECVMSG recv_msg, incoming& slot) noexcept {
  constexpr ULONG cut_short = 0x0100; // MSG_TRUNC
  alignas(WSACMSGHDR) CHAR control[WSA_CMSG_SPACE(sizeof(DWORD))];
  socket_address from;
  WSABUF piece = piece_of(slot.buffer.data(), slot.buffer.size());
  WSAMSG m{&from.any, socket_address::room, &piece, 1, {sizeof control, control}, 0};
  DWORD bytes = 0;
  const int error = recv_msg(h, &m, &bytes, nullptr, nullptr) == 0 ? 0 : ::WSAGetLastError();
  if (error != 0 && error != WSAEMSGSIZE) return error;
  slot.truncated = error == WSAEMSGSIZE || (m.dwFlags & cut_short) != 0;
  slot.bytes = slot.truncated ? slot.buffer.size() : bytes;
  from.length = m.namelen;
  slot.from = from.to_endpoint();
  slot.segment = error == 0 && m.Control.len != 0 ? segment_of(m, slot.bytes) : slot.bytes;
  return 0;
}

// Returns 0 or an error number.
inline int send_one(native_handle_type h, const outgoing& item) noexcept {
  const socket_address to(item.to);
  const bool named = to.length != 0;
  WSABUF piece = piece_of(item.buffer.data(), item.buffer.size());
  DWORD bytes = 0;
  if (::WSASendTo(h, &piece, 1, &bytes, 0, named ? &to.any : nullptr, to.length, nullptr,
                  nullptr) == 0)
    return 0;
  const int error = ::WSAGetLastError();
  const bool nowhere = !named && lacks_destination(h, failure::from_os(error));
  return nowhere ? WSAEDESTADDRREQ : error; // as on Linux
}

} // namespace detail

/// Receives the datagrams that are there, at most one for each slot. Returns false if there are
/// none. An error after the first datagram is not reported.
/// @param taken  0 before the call, the number of filled slots after it.
inline bool recv_batch_now(native_handle_type h, int /*family*/, std::span<incoming> slots,
                           std::size_t& taken, failure& error) noexcept {
  LPFN_WSARECVMSG recv_msg = nullptr;
  error = find_extension(h, WSAID_WSARECVMSG, recv_msg);
  if (!error) error = set_blocking(h, false);
  if (error) return true;
  for (incoming& slot : slots) {
    const int number = detail::recv_one(h, recv_msg, slot);
    if (number != 0) {
      if (taken == 0 && number != WSAEWOULDBLOCK) error = failure::from_os(number);
      break;
    }
    ++taken;
  }
  return taken != 0 || error;
}

/// Sends `items` in order, up to the first that fails or would have to wait. Returns false if that
/// is the first of all and it would have to wait. `error` is set only if the first of all fails.
/// @param items  at most `largest_batch`.
inline bool send_batch_now(native_handle_type h, int /*family*/, std::span<const outgoing> items,
                           std::size_t& sent, failure& error) noexcept {
  if ((error = set_blocking(h, false))) return true;
  for (const outgoing& item : items) {
    const int number = detail::send_one(h, item);
    if (number != 0) {
      if (sent == 0 && number != WSAEWOULDBLOCK) error = failure::from_os(number);
      break;
    }
    ++sent;
  }
  return sent != 0 || error;
}

}}} // namespace rouse::ROUSE_ABI::os
#endif

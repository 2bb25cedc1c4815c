// Several datagrams in one system call that never waits.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/batch.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/address.hpp>
#include <rouse/os/posix/socket.hpp>

#include <cstddef>
#include <cstring>
#include <ctime>
#include <new>
#include <span>

#if ROUSE_LINUX
#include <sys/uio.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// The most datagrams that one system call takes.
inline constexpr std::size_t largest_batch = 64;

namespace detail {

// The array of messages for recvmmsg(2) and sendmmsg(2). It takes 16 KiB of stack. The constructor
// leaves it uninitialized, and only the used entries are ever written.
class messages {
public:
  messages() noexcept {}
  messages(const messages&) = delete;
  messages& operator=(const messages&) = delete;

  // @param with_control  receive control messages too. Not for a Unix-domain socket, where they may
  // carry descriptors.
  void to_receive(std::span<const incoming> slots, bool with_control) noexcept {
    for (std::size_t i = 0; i != slots.size(); ++i) {
      msghdr& m = describe(i, slots[i].buffer.data(), slots[i].buffer.size());
      m.msg_name = &(new (&peers_[i].address) socket_address)->any;
      m.msg_namelen = socket_address::room;
      if (!with_control) continue;
      m.msg_control = peers_[i].control;
      m.msg_controllen = sizeof peers_[i].control;
    }
  }
  void to_send(std::span<const outgoing> items) noexcept {
    for (std::size_t i = 0; i != items.size(); ++i) {
      auto* const data = const_cast<void*>(items[i].buffer.data()); // read only
      msghdr& m = describe(i, data, items[i].buffer.size());
      if (items[i].to.family() == family_unspecified) continue;
      auto* const to = new (&peers_[i].address) socket_address(items[i].to);
      m.msg_name = &to->any;
      m.msg_namelen = to->length;
    }
  }

  void fill_in(std::span<incoming> came) noexcept {
    for (std::size_t i = 0; i != came.size(); ++i) {
      msghdr& m = headers_[i].msg_hdr;
      incoming& slot = came[i];
      slot.bytes = headers_[i].msg_len;
      slot.truncated = (m.msg_flags & MSG_TRUNC) != 0;
      peers_[i].address.length = m.msg_namelen;
      slot.from = peers_[i].address.to_endpoint();
      slot.segment = m.msg_controllen == 0 ? slot.bytes : segment(m, slot.bytes);
    }
  }

  [[nodiscard]] mmsghdr* headers() noexcept { return headers_; }

private:
  msghdr& describe(std::size_t i, void* data, std::size_t size) noexcept {
    pieces_[i] = {data, size};
    headers_[i] = {};
    headers_[i].msg_hdr.msg_iov = &pieces_[i];
    headers_[i].msg_hdr.msg_iovlen = 1;
    return headers_[i].msg_hdr;
  }

  static std::size_t segment(msghdr& m, std::size_t all) noexcept {
    for (cmsghdr* c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
      if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != udp_gro_name) continue;
      int size = 0;
      std::memcpy(&size, CMSG_DATA(c), sizeof size);
      return static_cast<std::size_t>(size);
    }
    return all;
  }

  struct peer {
    peer() noexcept {}
    union {
      socket_address address;
    };
    // For the segment size. A time stamp, if the program has enabled them, comes before it.
    alignas(cmsghdr) unsigned char control[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(timespec))];
  };

  mmsghdr headers_[largest_batch];
  iovec pieces_[largest_batch];
  peer peers_[largest_batch];
};

} // namespace detail

/// Receives the datagrams that are there, at most one for each slot. Returns false if there are
/// none.
///
/// An error after the first datagram is not reported. recvmmsg(2) keeps it for the next call. Only
/// an error at the beginning of a further system call here is lost; it can only be an ICMP error
/// about a datagram that this socket has sent.
/// @param taken  0 before the call, the number of filled slots after it.
inline bool recv_batch_now(native_handle_type h, int family, std::span<incoming> slots,
                           std::size_t& taken, failure& error) noexcept {
  detail::messages m;
  while (taken != slots.size()) {
    const std::size_t left = slots.size() - taken;
    const auto part = slots.subspan(taken, left < largest_batch ? left : largest_batch);
    m.to_receive(part, family != AF_UNIX);
    const int n = detail::retry_interrupted([&] {
      return ::recvmmsg(h, m.headers(), static_cast<unsigned>(part.size()),
                        MSG_DONTWAIT | message_flags, nullptr);
    });
    if (n < 0) return taken != 0 || detail::store_error(error);
    const auto came = static_cast<std::size_t>(n);
    m.fill_in(part.first(came));
    taken += came;
    if (came != part.size()) break;
  }
  return true;
}

/// Sends `items` in order, up to the first that fails or would have to wait. Returns false if that
/// is the first of all and it would have to wait. `error` is set only if the first of all fails.
/// @param items  at most `largest_batch`.
inline bool send_batch_now(native_handle_type h, int family, std::span<const outgoing> items,
                           std::size_t& sent, failure& error) noexcept {
  detail::messages m;
  m.to_send(items);
  const int n = detail::retry_interrupted([&] {
    return ::sendmmsg(h, m.headers(), static_cast<unsigned>(items.size()),
                      MSG_DONTWAIT | MSG_NOSIGNAL);
  });
  if (n >= 0) {
    sent = static_cast<std::size_t>(n);
    return true;
  }
  if (detail::store_error(error)) return true;
  if (family != AF_UNIX || items[0].to.family() == family_unspecified) return false;
  error = failure::from_os(EAGAIN); // no edge will come: see is_crowded
  return true;
}

}}} // namespace rouse::ROUSE_ABI::os
#endif

// Messages for recvmsg(2) and sendmsg(2): with an address, in several pieces, with descriptors.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/os/address.hpp>
#include <rouse/os/darwin/socket_calls.hpp>
#include <rouse/os/linux/socket_calls.hpp>

#if !ROUSE_WINDOWS
#include <cstddef>
#include <cstring>
#include <span>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// A message in the kernel's form: where its bytes are, and the peer's address. It points into
/// itself, so it must not move between being filled in and the completion of the call that uses it.
class message {
public:
  void to_receive(void* data, std::size_t size) noexcept {
    describe(data, size, socket_address::room);
  }
  void to_send(void* data, std::size_t size, const endpoint& to) noexcept {
    peer_ = socket_address(to);
    describe(data, size, peer_.length);
  }

  /// A message in several pieces, without an address.
  void in_pieces(iovec* pieces, std::size_t count) noexcept {
    header_ = {};
    header_.msg_iov = pieces;
    header_.msg_iovlen = static_cast<decltype(header_.msg_iovlen)>(count);
  }
  /// These two add an address to a message that `in_pieces` has filled in.
  void with_sender() noexcept { address(socket_address::room); }
  void with_destination(const endpoint& to) noexcept {
    peer_ = socket_address(to);
    address(peer_.length);
  }

  [[nodiscard]] msghdr& header() noexcept { return header_; }
  /// Whether the received message was larger than the buffer; the rest of it is lost.
  [[nodiscard]] bool cut_short() const noexcept { return (header_.msg_flags & MSG_TRUNC) != 0; }
  /// The sender's address.
  [[nodiscard]] endpoint peer() const noexcept {
    socket_address from = peer_;
    from.length = header_.msg_namelen;
    return from.to_endpoint();
  }

private:
  void describe(void* data, std::size_t size, socklen_t room) noexcept {
    piece_ = {data, size};
    in_pieces(&piece_, 1);
    address(room);
  }
  void address(socklen_t room) noexcept {
    header_.msg_name = &peer_.any;
    header_.msg_namelen = room;
  }

  socket_address peer_;
  iovec piece_{};
  msghdr header_{};
};

/// A message that holds the list of its pieces: `clear`, `add` until `full`, then `end`.
class message_in_pieces : public message {
public:
  static constexpr std::size_t most = 16;

  void clear() noexcept { count_ = 0; }
  [[nodiscard]] bool full() const noexcept { return count_ == most; }
  void add(void* data, std::size_t size) noexcept { pieces_[count_++] = {data, size}; }
  void end() noexcept { in_pieces(pieces_, count_); }

private:
  iovec pieces_[most];
  std::size_t count_ = 0;
};

/// A message that carries descriptors (SCM_RIGHTS). Received descriptors that are not taken stay
/// open.
class message_with_descriptors : public message {
public:
  static constexpr bool supported = true;
  static constexpr std::size_t most = 253; // SCM_MAX_FD

  // Clears the first header, so that `take` finds no descriptors if nothing was received.
  message_with_descriptors() noexcept { std::memset(control_, 0, sizeof(cmsghdr)); }

  /// Copies the numbers of the descriptors to send. False: there are more than `most`.
  bool enclose(std::span<const int> handles) noexcept {
    if (handles.size() > most) return false;
    if (handles.empty()) return true;
    const auto length = static_cast<decltype(cmsghdr::cmsg_len)>(CMSG_LEN(handles.size_bytes()));
    const cmsghdr head{length, SOL_SOCKET, SCM_RIGHTS};
    std::memcpy(control_, &head, sizeof head);
    std::memcpy(control_ + CMSG_LEN(0), handles.data(), handles.size_bytes());
    enclosed_ = CMSG_SPACE(handles.size_bytes());
    return true;
  }
  void to_send(void* data, std::size_t size) noexcept { describe(data, size, enclosed_); }
  void to_receive(void* data, std::size_t size) noexcept { describe(data, size, sizeof control_); }

  /// Whether the kernel has closed some of the received descriptors because this process has no
  /// room for them.
  [[nodiscard]] bool lost_some() noexcept { return (header().msg_flags & MSG_CTRUNC) != 0; }
  /// Calls `to(descriptor)` for each received descriptor, the first time that it is called. Closes
  /// the descriptor of the sending process that the kernel adds for SO_PASSPIDFD, since the public
  /// calls have no way to return it.
  template <class To>
  void take(To to) noexcept {
    for (cmsghdr* c = CMSG_FIRSTHDR(&header()); c; c = CMSG_NXTHDR(&header(), c)) {
      if (c->cmsg_level != SOL_SOCKET) continue;
      if (c->cmsg_type == SCM_RIGHTS)
        for_each(*c, [&](int h) {
          system_calls::prepare_received(h);
          to(h);
        });
      else if (c->cmsg_type == pid_descriptor)
        for_each(*c, [](int h) { ::close(h); }); // a negative number is an error
    }
    header().msg_controllen = 0;
  }

private:
  static constexpr int pid_descriptor = 0x04; // SCM_PIDFD, Linux 6.5
  // For other control messages that the program may have enabled, which come before the
  // descriptors: time stamps, credentials, a security label, the sending process.
  static constexpr std::size_t room_for_others = 512;

  template <class Use>
  static void for_each(cmsghdr& c, Use use) noexcept {
    int h = -1;
    for (std::size_t at = CMSG_LEN(0); at + sizeof h <= c.cmsg_len; at += sizeof h) {
      std::memcpy(&h, reinterpret_cast<unsigned char*>(&c) + at, sizeof h);
      use(h);
    }
  }

  void describe(void* data, std::size_t size, std::size_t control) noexcept {
    piece_ = {data, size};
    in_pieces(&piece_, 1);
    header().msg_control = control != 0 ? control_ : nullptr;
    header().msg_controllen = static_cast<decltype(msghdr::msg_controllen)>(control);
  }

  iovec piece_{};
  std::size_t enclosed_ = 0;
  alignas(cmsghdr) unsigned char control_[CMSG_SPACE(most * sizeof(int)) + room_for_others];
};

}}} // namespace rouse::ROUSE_ABI::os
#endif

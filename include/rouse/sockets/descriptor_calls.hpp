// Descriptors handed from process to process: calls of local sockets on Linux.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/buffer.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/os/socket.hpp>
#include <rouse/sockets/socket_part.hpp>
#include <rouse/sockets/stream_calls.hpp>

#include <cstddef>
#include <span>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {

/// Descriptors that have been received. It owns them: those that nobody takes are closed with it.
///
/// Move-only. Cost: 1 KiB, as 253 are the most that come at once.
class [[nodiscard]] received_descriptors {
public:
  static constexpr std::size_t most = os::message_with_descriptors::most;

  received_descriptors() noexcept = default;
  received_descriptors(received_descriptors&& other) noexcept { swap(other); }
  received_descriptors& operator=(received_descriptors&& other) noexcept {
    received_descriptors old(std::move(*this));
    swap(other);
    return *this;
  }
  ~received_descriptors() {
    for (const native_handle_type h : *this) {
      if (h != os::no_handle) os::close_socket(h);
    }
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  /// Borrowed; that of one that was taken is no handle.
  [[nodiscard]] native_handle_type operator[](std::size_t i) const noexcept { return handles_[i]; }
  [[nodiscard]] const native_handle_type* begin() const noexcept { return handles_; }
  [[nodiscard]] const native_handle_type* end() const noexcept { return handles_ + size_; }

  /// It is the caller's from then on: `socket<S>::adopt(sched, handles.take(0))`.
  [[nodiscard]] native_handle_type take(std::size_t i) noexcept {
    return std::exchange(handles_[i], os::no_handle);
  }
  /// Takes one in. There must be room.
  void add(native_handle_type h) noexcept { handles_[size_++] = h; }

private:
  // Of what there is on either side.
  void swap(received_descriptors& other) noexcept {
    const std::size_t longer = size_ < other.size_ ? other.size_ : size_;
    for (std::size_t i = 0; i != longer; ++i) {
      const native_handle_type mine = i < size_ ? handles_[i] : os::no_handle;
      handles_[i] = i < other.size_ ? other.handles_[i] : os::no_handle;
      other.handles_[i] = mine;
    }
    std::swap(size_, other.size_);
  }

  std::size_t size_ = 0;
  native_handle_type handles_[most]; // the first size_ have a value
};

/// What `recv_descriptors` gives: `auto [n, handles] = s.recv_descriptors(buf);`
struct delivery {
  std::size_t bytes = 0;
  received_descriptors descriptors;
};

namespace detail {

inline failure check_passing(const socket_state& socket) noexcept {
  if (!socket.open()) return std::errc::bad_file_descriptor;
  if (socket.family != family_local) return std::errc::address_family_not_supported;
  if (!os::message_with_descriptors::supported) return std::errc::operation_not_supported;
  return {};
}

struct send_descriptors_call {
  using value_type = std::size_t;
  static constexpr const char* name = "rouse: send_descriptors";
  static constexpr const char* misuse = "more than 253 descriptors, or an empty buffer";
  socket_state* socket;
  const_buffer buffer;
  os::message_with_descriptors message;
  bool too_many;

  send_descriptors_call(socket_state* d, const_buffer b,
                        std::span<const native_handle_type> handles) noexcept
      : socket(d), buffer(b), too_many(!message.enclose(handles)) {}

  bool prepare(operation& op) noexcept {
    request_send(op, socket, buffer);
    op.action = action::send_to;
    message.to_send(op.data, op.size);
    op.data = &message;
    op.error = check_passing(*socket);
    if (!op.error && (too_many || (buffer.size() == 0 && socket->type == SOCK_STREAM)))
      op.error = std::errc::invalid_argument;
    return !op.error;
  }
  bool advance(operation&) noexcept { return true; }
  std::size_t value(operation& op) noexcept { return op.bytes; }
};

struct recv_descriptors_call {
  using value_type = delivery;
  static constexpr const char* name = "rouse: recv_descriptors";
  static constexpr const char* misuse = empty_buffer;
  socket_state* socket;
  mutable_buffer buffer;
  os::message_with_descriptors message{};

  bool prepare(operation& op) noexcept {
    request_recv(op, socket, buffer);
    op.action = action::recv_from;
    message.to_receive(op.data, op.size);
    op.data = &message;
    op.error = check_passing(*socket);
    if (!op.error && buffer.size() == 0) op.error = std::errc::invalid_argument;
    return !op.error;
  }
  bool advance(operation& op) noexcept {
    if (!op.error && message.lost_some()) op.error = std::errc::too_many_files_open;
    return true;
  }
  delivery value(operation& op) noexcept {
    delivery d{op.bytes, {}};
    message.take([&](native_handle_type h) { d.descriptors.add(h); });
    return d;
  }
  template <class Engine>
  void discard(operation& op, Engine&) noexcept {
    (void)value(op);
  }
};

/// A part of `socket`: the calls that pass descriptors.
template <class Socket>
class descriptor_calls : public socket_part<descriptor_calls<Socket>, Socket> {
public:
  /// As `send`, and with the first byte go descriptors (of files, sockets, anything): whoever
  /// receives them in another process has the same open files. Local sockets on Linux only.
  ///
  /// @param buffer   as of `send`; of a stream one byte at least, as nothing else carries them.
  /// @param handles  at most 253. Copied; they stay the caller's, and open until the call has
  /// completed.
  /// @returns bytes taken: perhaps fewer than there are, of a stream (`send_all` the rest).
  ///
  /// Errors: invalid_argument (more than 253, or no bytes), bad_file_descriptor (one of them),
  /// address_family_not_supported (not a local socket), operation_not_supported (Windows),
  /// ETOOMANYREFS (too many under way). Cost: as a datagram's, and 1.5 KiB for the call.
  /// Source: unix(7), SCM_RIGHTS; on io_uring Linux 5.13.
  template <class...>
  decltype(auto) send_descriptors(bytes_to_send<Socket> buffer,
                                  std::span<const native_handle_type> handles,
                                  location at = location::current()) {
    return this->start(send_descriptors_call{this->record(), buffer, handles}, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) send_descriptors(bytes_to_send<Socket> buffer,
                                  std::span<const native_handle_type> handles, First&& first,
                                  How&& how = How(), call_site at = location::current()) {
    return this->start(send_descriptors_call{this->record(), buffer, handles}, at,
                       std::forward<First>(first), std::forward<How>(how));
  }

  /// As `recv`, with the descriptors that came with these bytes: `auto [n, handles] = ...`.
  ///
  /// They are this process's from then on, not inherited by programs that it executes, and closed
  /// where nobody takes them: a call that is abandoned leaks none. (`recv` and the others close
  /// them unseen.) A stream gives those of one `send_descriptors` at a time. What else the kernel
  /// is asked to tell (SO_PASSCRED, SO_PASSPIDFD, time stamps) is passed over, and takes no room
  /// from them.
  ///
  /// Errors: as `recv`; of a datagram message_size; too_many_files_open (this process could not
  /// have all of them: the others are gone; in the `ec` form and for handlers those that came are
  /// given). Others as `send_descriptors`. Cost: as a datagram's, and 1.5 KiB for the call.
  /// Source: unix(7), SCM_RIGHTS; recvmsg(2), MSG_CMSG_CLOEXEC; on io_uring Linux 5.13.
  template <class...>
  decltype(auto) recv_descriptors(bytes_to_fill<Socket> buffer, location at = location::current()) {
    return this->start(recv_descriptors_call{this->record(), buffer}, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) recv_descriptors(bytes_to_fill<Socket> buffer, First&& first, How&& how = How(),
                                  call_site at = location::current()) {
    return this->start(recv_descriptors_call{this->record(), buffer}, at,
                       std::forward<First>(first), std::forward<How>(how));
  }
};

} // namespace detail
}} // namespace rouse::ROUSE_ABI

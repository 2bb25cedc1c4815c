// Passing descriptors between processes, over Unix-domain sockets on Linux.
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

/// Received descriptors. It owns them, and its destructor closes those that were not taken.
///
/// Move-only. Size: 1 KiB; at most 253 descriptors arrive in one call.
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
  /// Borrowed; after `take`, an invalid handle.
  [[nodiscard]] native_handle_type operator[](std::size_t i) const noexcept { return handles_[i]; }
  [[nodiscard]] const native_handle_type* begin() const noexcept { return handles_; }
  [[nodiscard]] const native_handle_type* end() const noexcept { return handles_ + size_; }

  /// Takes one out; the caller then owns it: `socket<S>::adopt(sched, handles.take(0))`.
  [[nodiscard]] native_handle_type take(std::size_t i) noexcept {
    return std::exchange(handles_[i], os::no_handle);
  }
  /// Adds one. There must be room.
  void add(native_handle_type h) noexcept { handles_[size_++] = h; }

private:
  // Swaps only the elements in use.
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
  native_handle_type handles_[most]; // only the first size_ are initialized
};

/// What `recv_descriptors` returns: `auto [n, handles] = s.recv_descriptors(buf);`
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
  /// Like `send`, but the first byte carries descriptors (of files, sockets, anything). The process
  /// that receives them has the same open files. Only Unix-domain sockets on Linux.
  ///
  /// @param buffer   as for `send`; on a stream at least one byte, which carries the descriptors.
  /// @param handles  at most 253. Copied; they stay the caller's, and must stay open until the call
  /// has completed.
  /// @returns the number of bytes taken; on a stream possibly fewer than given (`send_all` the
  /// rest).
  ///
  /// Errors: invalid_argument (more than 253, or no bytes), bad_file_descriptor (one of `handles`),
  /// address_family_not_supported (not a Unix-domain socket), operation_not_supported (Windows),
  /// ETOOMANYREFS (too many descriptors in flight). Cost: that of a datagram, and 1.5 KiB for the
  /// call. Source: unix(7), SCM_RIGHTS; on io_uring Linux 5.13.
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

  /// Like `recv`, and returns the descriptors that came with the bytes: `auto [n, handles] = ...`.
  ///
  /// The received descriptors belong to this process, are not inherited by programs that it
  /// executes, and are closed if they are not taken: an abandoned call leaks none. (`recv` and the
  /// other calls close them.) A stream delivers the descriptors of one `send_descriptors` at a
  /// time. Other control messages (SO_PASSCRED, SO_PASSPIDFD, time stamps) are skipped and take no
  /// room from the descriptors.
  ///
  /// Errors: those of `recv`; message_size for a datagram; too_many_files_open (this process could
  /// not receive all of them, and the others are lost; with an `ec` or a handler, those that
  /// arrived are returned). Otherwise as `send_descriptors`. Cost: that of a datagram, and 1.5 KiB
  /// for the call. Source: unix(7), SCM_RIGHTS; recvmsg(2), MSG_CMSG_CLOEXEC; on io_uring Linux
  /// 5.13.
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

// The system's sockets as one type, so that a driver can bring others: a network in memory.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/batch.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/attempts.hpp>
#include <rouse/os/batch.hpp>
#include <rouse/os/socket.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// Everything that sockets need besides operations of an engine: calls that do not wait. The
/// functions are those of the man pages; each gives the reason of a failure.
///
/// `..._now` functions return false if the call would block, else true with the number of bytes (or
/// messages) or the error.
struct system_sockets {
  /// Whether the system distributes connections among several listeners that share an address.
  static constexpr bool spreads_connections = os::spreads_connections;
  /// The number of accepts that a server keeps pending.
  static constexpr int accepts_at_once = os::accepts_at_once;

  /// @param blocking  the mode that the driver wants.
  static failure open(int family, int type, int protocol, bool blocking,
                      native_handle_type& out) noexcept {
    return open_socket(family, type, protocol, blocking, out);
  }
  /// Two sockets that are connected to each other, in blocking mode.
  static failure open_pair(int type, native_handle_type (&out)[2]) noexcept {
    return os::open_pair(type, out);
  }
  /// Does not wait, whatever SO_LINGER says.
  static void close(native_handle_type h) noexcept { close_socket(h); }
  /// In a forked child: leaves the parent's socket as it is.
  static void close_copy(native_handle_type h) noexcept { os::close_copy(h); }
  static failure set_blocking(native_handle_type h, bool blocking) noexcept {
    return os::set_blocking(h, blocking);
  }
  /// The family and the type of a socket made elsewhere.
  static failure describe(native_handle_type h, int& family, int& type) noexcept {
    return os::describe(h, family, type);
  }
  /// Whether sockets of this type have to be connected before they receive.
  static bool must_connect(int type) noexcept { return is_connected_type(type); }

  /// What an error, or the end of the stream, means on a socket that may not be connected.
  /// @param ended  a call that receives has received nothing.
  static failure explain(const socket_state& s, bool ended, failure error) noexcept {
    return explain_unconnected(s, ended, error);
  }

  static failure bind(native_handle_type h, const endpoint& local, bool stream) noexcept {
    return os::bind(h, local, stream);
  }
  static failure listen(native_handle_type h, int backlog, int family) noexcept {
    return os::listen(h, backlog, family);
  }
  static failure shutdown(native_handle_type h, int how) noexcept { return os::shutdown(h, how); }
  static failure local_endpoint(native_handle_type h, endpoint& out) noexcept {
    return os::local_endpoint(h, out);
  }
  static failure remote_endpoint(native_handle_type h, endpoint& out) noexcept {
    return os::remote_endpoint(h, out);
  }
  static failure set_option(native_handle_type h, int level, int name, const void* value,
                            std::size_t size) noexcept {
    return os::set_option(h, level, name, value, size);
  }
  static failure get_option(native_handle_type h, int level, int name, void* value,
                            std::size_t& size) noexcept {
    return os::get_option(h, level, name, value, size);
  }
  static failure change_membership(native_handle_type h, bool join, const endpoint& group,
                                   const endpoint* source, unsigned interface_index) noexcept {
    return os::change_membership(h, join, group, source, interface_index);
  }

  static bool recv_now(native_handle_type h, int type, void* data, std::size_t size,
                       std::size_t& bytes, failure& error) noexcept {
    return os::recv_now(h, type, data, size, bytes, error);
  }
  static bool peek_now(native_handle_type h, void* data, std::size_t size, std::size_t& bytes,
                       failure& error) noexcept {
    return os::peek_now(h, data, size, bytes, error);
  }
  static bool send_now(native_handle_type h, const void* data, std::size_t size, bool urgent,
                       std::size_t& bytes, failure& error) noexcept {
    return os::send_now(h, data, size, urgent, bytes, error);
  }
  static bool recv_urgent_now(native_handle_type h, void* data, std::size_t size,
                              std::size_t& bytes, failure& error) noexcept {
    return os::recv_urgent_now(h, data, size, bytes, error);
  }
  static bool send_file_now(native_handle_type h, native_file_type file, std::uint64_t offset,
                            std::size_t size, std::size_t& bytes, failure& error) noexcept {
    return os::send_file_now(h, file, offset, size, bytes, error);
  }
  static bool recv_batch_now(native_handle_type h, int family, std::span<incoming> slots,
                             std::size_t& count, failure& error) noexcept {
    return os::recv_batch_now(h, family, slots, count, error);
  }
  static bool send_batch_now(native_handle_type h, int family, std::span<const outgoing> items,
                             std::size_t& count, failure& error) noexcept {
    return os::send_batch_now(h, family, items, count, error);
  }
};

}}} // namespace rouse::ROUSE_ABI::os

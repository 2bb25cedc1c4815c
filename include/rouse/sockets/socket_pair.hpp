// Two sockets that are connected to each other.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/socket.hpp>
#include <rouse/sockets/socket.hpp>

#include <system_error>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {

/// Creates two sockets that are connected to each other: `auto [here, there] =
/// rouse::socket_pair(sched);`. Does not wait.
///
/// @param type  SOCK_STREAM; on Linux also SOCK_DGRAM, which keeps the order of datagrams and loses
/// none.
/// @returns the sockets; with an `ec`, both closed if the call fails.
///
/// On Linux they are unnamed Unix-domain sockets. Windows has no such call: the sockets are the
/// ends of a TCP connection over the loopback interface, family AF_INET, without delay
/// (tcp_no_delay). The library checks that it is connected to itself; a firewall may see the
/// connection.
///
/// Errors: too_many_files_open; address_family_not_supported (on Windows, if not a stream);
/// invalid_argument. Source: socketpair(2), unix(7).
template <class Scheduler>
[[nodiscard]] std::pair<socket<Scheduler>, socket<Scheduler>> socket_pair(Scheduler& s, int type,
                                                                          std::error_code& ec) {
  std::pair<socket<Scheduler>, socket<Scheduler>> pair;
  using sockets = typename Scheduler::engine_type::sockets;
  native_handle_type ends[2] = {os::no_handle, os::no_handle};
  ec = sockets::open_pair(type, ends).code();
  for (auto* const end : {&pair.first, &pair.second}) {
    const native_handle_type h = ends[end == &pair.second];
    if (!ec) *end = socket<Scheduler>::adopt(s, h, ec);
    if (!end->is_open() && h != os::no_handle) sockets::close(h);
  }
  if (ec) pair.first.close();
  return pair;
}
template <class Scheduler>
[[nodiscard]] std::pair<socket<Scheduler>, socket<Scheduler>> socket_pair(Scheduler& s,
                                                                          int type = SOCK_STREAM) {
  std::error_code ec;
  auto pair = socket_pair(s, type, ec);
  if (ec) detail::throw_error(ec, "rouse: socket_pair");
  return pair;
}

}} // namespace rouse::ROUSE_ABI

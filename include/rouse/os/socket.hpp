// Sockets on this platform: the socket calls that need no engine. One of the two os/.../socket.hpp
// is empty. Below is what is the same on both systems.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/address.hpp>
#include <rouse/os/posix/socket.hpp>
#include <rouse/os/windows/socket.hpp>

#include <cstring>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// Joins a multicast group or leaves it.
/// @param source  if not null, only datagrams from this address.
/// @param interface_index  0: the system picks the interface.
inline failure change_membership(native_handle_type h, bool join, const endpoint& group,
                                 const endpoint* source, unsigned interface_index) noexcept {
  const int level = group.family() == AF_INET ? int{IPPROTO_IP} : int{IPPROTO_IPV6};
  const auto store = [](sockaddr_storage& there, const endpoint& ep) {
    const socket_address a(ep);
    std::memcpy(&there, &a.v6, sizeof a.v6);
  };
  if (!source) {
    group_req request{};
    request.gr_interface = interface_index;
    store(request.gr_group, group);
    return set_option(h, level, join ? MCAST_JOIN_GROUP : MCAST_LEAVE_GROUP, &request,
                      sizeof request);
  }
  group_source_req request{};
  request.gsr_interface = interface_index;
  store(request.gsr_group, group);
  store(request.gsr_source, *source);
  return set_option(h, level, join ? MCAST_JOIN_SOURCE_GROUP : MCAST_LEAVE_SOURCE_GROUP, &request,
                    sizeof request);
}

}}} // namespace rouse::ROUSE_ABI::os

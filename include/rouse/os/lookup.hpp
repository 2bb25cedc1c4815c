// Name resolution by the system's own call, which blocks, so it needs a thread of its own.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/address.hpp>
#include <rouse/os/socket.hpp>
#include <rouse/os/without_signals.hpp>

#include <string>
#include <vector>

#if !ROUSE_WINDOWS
#include <netdb.h>
#endif

namespace rouse { inline namespace ROUSE_ABI { namespace os {
namespace detail {

// The failure for a result of getaddrinfo other than 0.
inline failure lookup_failure(int result) noexcept {
  switch (result) {
#if ROUSE_WINDOWS
  case WSATYPE_NOT_FOUND:
    return resolve_error::service_not_found;
  case WSATRY_AGAIN:
    return resolve_error::try_again;
  case WSANO_RECOVERY:
    return resolve_error::server_failure;
  case WSAHOST_NOT_FOUND:
  case WSANO_DATA:
    return resolve_error::host_not_found;
  default: // Wine may pass on a negative number of Linux
    return result > 0 ? failure::from_os(result) : failure(resolve_error::host_not_found);
#else
  case EAI_SERVICE:
    return resolve_error::service_not_found;
  case EAI_AGAIN:
    return resolve_error::try_again;
  case EAI_FAIL:
    return resolve_error::server_failure;
  case EAI_MEMORY:
    return std::errc::not_enough_memory;
  case EAI_SYSTEM:
    return last_error();
  default: // EAI_NONAME; also EAI_NODATA, EAI_ADDRFAMILY in some libraries
    return resolve_error::host_not_found;
#endif
  }
}

} // namespace detail

/// Resolves a host name, and blocks meanwhile: for seconds if no name server answers.
/// @param service  a name. If it is empty, no service is looked up and the ports are 0.
/// @param found  gets each IPv4 or IPv6 endpoint once, in the system's order of preference.
///
/// Source: getaddrinfo(3); getaddrinfo of Winsock.
inline failure look_up(const std::string& host, const std::string& service,
                       std::vector<endpoint>& found) {
  addrinfo wanted{};
  // With a service, any socket type: some services exist for datagrams only.
  wanted.ai_socktype = service.empty() ? SOCK_STREAM : 0;
  addrinfo* list = nullptr;
  const int result =
      ::getaddrinfo(host.c_str(), service.empty() ? nullptr : service.c_str(), &wanted, &list);
  if (result != 0) return detail::lookup_failure(result);
  for (const addrinfo* a = list; a; a = a->ai_next) {
    if (a->ai_family != AF_INET && a->ai_family != AF_INET6) continue;
    socket_address address;
    address.length = static_cast<socklen_t>(a->ai_addrlen);
    const std::size_t bytes = a->ai_addrlen, room = sizeof address.v6;
    std::memcpy(&address.v6, a->ai_addr, bytes < room ? bytes : room);
    const endpoint ep = address.to_endpoint();
    bool known = false;
    for (const endpoint& other : found) known = known || other == ep;
    if (!known) found.push_back(ep);
  }
  ::freeaddrinfo(list);
  return found.empty() ? failure(resolve_error::host_not_found) : failure{};
}

}}} // namespace rouse::ROUSE_ABI::os

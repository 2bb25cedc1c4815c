// Looks up the endpoints of a host and a service.
#pragma once
#include <rouse/concepts/scheduler.hpp>
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/waiting.hpp>
#include <rouse/sockets/lookups.hpp>

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

template <class S>
concept port_or_name = std::convertible_to<const S&, std::string_view> ||
                       (std::integral<S> && !std::same_as<S, bool> && !std::same_as<S, char>);

template <class S>
consteval void explain_service() {
  static_assert(port_or_name<S>,
                "rouse: a host is followed by its service, a number or a name: 80, \"80\", "
                "\"http\"; a limit comes after it");
}

// The host and the service of a call: the endpoint, if no lookup is needed, or else the lookup.
struct name_query {
  endpoint known;
  failure refused;
  lookup_share lookup_;

  template <class Engine, class Service>
  name_query(Engine& engine, std::string_view host, const Service& service) {
    if constexpr (std::integral<Service>)
      begin(engine, host, {}, static_cast<long long>(service));
    else if constexpr (port_or_name<Service>)
      by_name(engine, host, service);
  }

  /// True: `op` waits for the lookup. False: the result, or an error, is there already.
  bool begin(operation& op) noexcept {
    op.error = refused;
    if (!lookup_) return false;
    request_wait(op, &lookup_->completed);
    op.error = lookup_helpers::request(*lookup_);
    return !op.error;
  }

  failure why() const noexcept { return lookup_ ? lookup_->why : failure(); }
  std::vector<endpoint> result() {
    if (lookup_) return std::move(lookup_->found);
    return {known};
  }

private:
  template <class Engine>
  void by_name(Engine& engine, std::string_view host, std::string_view service) {
    if (service.find_first_not_of("0123456789") != std::string_view::npos)
      return begin(engine, host, service, 0);
    long long port = 0;
    for (const char digit : service.substr(0, 6)) port = port * 10 + (digit - '0');
    begin(engine, host, {}, port);
  }

  template <class Engine>
  void begin(Engine& engine, std::string_view host, std::string_view service, long long port) {
    std::error_code ec;
    if (port < 0 || port > 65535)
      refused = std::errc::invalid_argument;
    else if (host.empty() || host.find('\0') != host.npos)
      refused = resolve_error::host_not_found; // some systems: this host
    else if (service.find('\0') != service.npos || service.find_first_of(" +-") == 0)
      refused = resolve_error::service_not_found; // some systems: "-1" is a port
    else if (known = endpoint(host, port, ec); ec || !service.empty())
      lookup_.reset(new engine_lookup<Engine>(engine, std::string(host), std::string(service),
                                              static_cast<std::uint16_t>(port)));
  }
};

struct resolve_call {
  using value_type = std::vector<endpoint>;
  static constexpr const char* name = "rouse: resolve";
  static constexpr const char* misuse = "a port is a number from 0 to 65535";
  name_query query;

  bool prepare(operation& op) noexcept { return query.begin(op); }
  bool advance(operation& op) noexcept {
    if (!op.error) op.error = query.why();
    return true;
  }
  std::vector<endpoint> value(operation& op) {
    if (op.error) return {};
    return query.result();
  }
};

template <class Scheduler, class Service>
resolve_call resolve_of(Scheduler& s, std::string_view host, const Service& service) {
  explain_service<Service>();
  return {{s.engine(), host, service}};
}

} // namespace detail

/// Looks up the endpoints of a service of a host. The loop continues meanwhile.
///
///     for (const rouse::endpoint& ep : co_await rouse::resolve(sched, "example.org", "https", 5s))
///
/// The system looks up names, in helper threads that exist only meanwhile. Up to 8 lookups run at
/// once; further ones wait in order. A numeric address with a numeric port needs no lookup and
/// completes at once. A running lookup cannot be interrupted: a call that ends before it (limit,
/// stop_token, cancel, end of the flow or the scheduler) completes at once, and the result is
/// dropped later; until then the lookup counts among the 8. The program's exit waits for no lookup.
///
/// @param host     a name, in ASCII, or an address without brackets. Copied.
/// @param service  a port, 0 to 65535, or the name of a service; "" is port 0. Copied.
/// @returns at least one endpoint, each once, in the system's order of preference (RFC 6724).
///
/// Without a limit the call waits as long as the system does, which may be a minute.
///
/// Errors: those of resolve_error; invalid_argument (not a port), timed_out, operation_canceled,
/// resource_unavailable_try_again (no thread could be started), not_enough_memory. Threads: the
/// scheduler's own. Cost: some allocations; for a name also a thread. Source: getaddrinfo(3);
/// getaddrinfo of Winsock, because the cancellation of its asynchronous GetAddrInfoExW is not
/// reliable.
template <scheduler Scheduler, class Service>
decltype(auto) resolve(Scheduler& s, std::string_view host, const Service& service,
                       detail::location at = detail::location::current()) {
  return detail::begin_call(&s, detail::resolve_of(s, host, service), at);
}
template <scheduler Scheduler, class Service, class First = limit, class How = detail::nothing>
decltype(auto) resolve(Scheduler& s, std::string_view host, const Service& service, First&& first,
                       How&& how = How(), detail::call_site at = detail::location::current()) {
  return detail::begin_call(&s, detail::resolve_of(s, host, service), at,
                            std::forward<First>(first), std::forward<How>(how));
}

}} // namespace rouse::ROUSE_ABI

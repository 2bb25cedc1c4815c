// Making TLS connections: connect, accept, handshake.
#pragma once
#include <rouse/concepts/scheduler.hpp>
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/sockets/connect.hpp>
#include <rouse/sockets/socket.hpp>
#include <rouse/tls/connection.hpp>
#include <rouse/tls/context.hpp>
#include <rouse/tls/openssl.hpp>
#include <rouse/tls/socket.hpp>

#include <string_view>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace tls {
namespace detail {

/// Shakes hands over a connected socket.
template <class Scheduler>
class handshake_call {
public:
  using value_type = tls::socket<Scheduler>;
  static constexpr const char* name = "rouse: tls: handshake";
  static constexpr const char* misuse = "no name to verify, or no certificate";

  handshake_call() noexcept = default;
  handshake_call(rouse::socket<Scheduler>&& s, ssl_ptr&& p, failure why) noexcept {
    adopt(std::move(s), std::move(p), why);
  }

  /// `why`: the reason for which `p` is null.
  void adopt(rouse::socket<Scheduler>&& s, ssl_ptr&& p, failure why) noexcept {
    why_ = why;
    if (!why_ && !s.is_open()) why_ = std::errc::bad_file_descriptor;
    if (!why_)
      connection_ =
          connection_ref<Scheduler>(connection<Scheduler>::make(std::move(s), std::move(p), why_));
  }
  bool prepare(operation& op) noexcept {
    op.error = why_;
    return !op.error && connection_->begin(op, waiter_);
  }
  bool advance(operation& op) noexcept {
    const bool ended =
        connection_->run(op, waiter_, [this](operation& o) { return connection_->handshake(o); });
    if (ended && op.error) close();
    return ended;
  }
  value_type value(operation&) noexcept { return value_type(std::move(connection_)); }
  template <class Engine>
  void discard(operation&, Engine&) noexcept {
    close();
  }

private:
  void close() noexcept {
    if (connection_) connection_->close(false);
    connection_ = {};
  }

  connection_ref<Scheduler> connection_;
  failure why_;
  event_waiter waiter_;
};

/// Connects to a host, then shakes hands, under one limit.
template <class Scheduler>
class connect_call {
public:
  using value_type = tls::socket<Scheduler>;
  static constexpr const char* name = "rouse: tls: connect";
  static constexpr const char* misuse = "no address, an invalid port, or no name to verify";

  connect_call(rouse::detail::connect_to_call<Scheduler> c, const client_context& context,
               std::string_view host)
      : connect_(std::move(c)), prepared_(context.prepare(host, why_)) {}

  bool prepare(operation& op) noexcept {
    op.error = why_;
    return !op.error && connect_.prepare(op);
  }
  bool advance(operation& op) noexcept {
    if (connected_) return handshake_.advance(op);
    if (!connect_.advance(op)) return false;
    if (op.error) return true;
    handshake_.adopt(connect_.value(op), std::move(prepared_), {});
    connected_ = true;
    if (!handshake_.prepare(op)) return true;
    op.cancel_count = op.target->cancel_count; // the target is new
    return false;
  }
  value_type value(operation& op) noexcept { return handshake_.value(op); }
  template <class Engine>
  void discard(operation& op, Engine& engine) noexcept {
    if (connected_)
      handshake_.discard(op, engine);
    else
      connect_.discard(op, engine);
  }

private:
  rouse::detail::connect_to_call<Scheduler> connect_;
  failure why_; // for which there is no SSL object
  ssl_ptr prepared_;
  handshake_call<Scheduler> handshake_;
  bool connected_ = false;
};

template <class Scheduler, class Service>
auto connect_to(Scheduler& s, const client_context& context, std::string_view host,
                const Service& service) {
  return connect_call<Scheduler>(rouse::detail::connect_to(s, host, service), context, host);
}

template <class Scheduler>
auto client_handshake(const client_context& context, rouse::socket<Scheduler>&& s,
                      std::string_view name) noexcept {
  failure why;
  ssl_ptr p = context.prepare(name, why);
  return handshake_call<Scheduler>(std::move(s), std::move(p), why);
}
template <class Scheduler>
auto server_handshake(const server_context& context, rouse::socket<Scheduler>&& s) noexcept {
  failure why;
  ssl_ptr p = context.prepare(why);
  return handshake_call<Scheduler>(std::move(s), std::move(p), why);
}

} // namespace detail

/// Connects to a service of a host as `rouse::connect` does, then shakes hands. The peer must
/// prove, by its certificate, that it is `host`.
///
///     rouse::tls::client_context web;
///     auto s = co_await rouse::tls::connect(sched, web, "example.org", "https", 5s);
///
/// @param host     a name, in ASCII, or an address: what the certificate must contain. Copied.
/// @param service  a port, 0 to 65535, or the name of a service. Copied.
///
/// A limit covers the whole call: the lookup, the connection, the handshake.
///
/// Errors: those of `rouse::connect`; invalid_argument (an empty host, or one that begins with a
/// dot, or has a zero byte, or a '%' that does not begin the zone of an IPv6 address: nothing is
/// connected then); tls::error::no_roots (likewise); certificate_rejected, with the reason in
/// words; handshake_failed; not_tls. Cancellation: nothing remains. Threads: the scheduler's own.
/// Cost: that of `rouse::connect`, and a connection's.
template <scheduler Scheduler, class Service>
decltype(auto) connect(Scheduler& s, const client_context& context, std::string_view host,
                       const Service& service,
                       rouse::detail::location at = rouse::detail::location::current()) {
  return rouse::detail::begin_call(&s, detail::connect_to(s, context, host, service), at);
}
template <scheduler Scheduler, class Service, class First = limit,
          class How = rouse::detail::nothing>
decltype(auto) connect(Scheduler& s, const client_context& context, std::string_view host,
                       const Service& service, First&& first, How&& how = How(),
                       rouse::detail::call_site at = rouse::detail::location::current()) {
  return rouse::detail::begin_call(&s, detail::connect_to(s, context, host, service), at,
                                   std::forward<First>(first), std::forward<How>(how));
}

/// Shakes hands as the client over a socket that is connected already: to a proxy, or after a
/// command such as STARTTLS. No byte of the peer's may have been read beyond that command.
///
///     auto s = co_await rouse::tls::handshake(web, std::move(plain), "example.org", 5s);
///
/// @param transport  owned by the call, and closed if it fails.
/// @param name       what the peer's certificate must contain.
///
/// Errors: those of `tls::connect` after the connection.
template <scheduler Scheduler>
decltype(auto) handshake(const client_context& context, rouse::socket<Scheduler> transport,
                         std::string_view name,
                         rouse::detail::location at = rouse::detail::location::current()) {
  Scheduler* const s = transport.scheduler();
  return rouse::detail::begin_call(s, detail::client_handshake(context, std::move(transport), name),
                                   at);
}
template <scheduler Scheduler, class First = limit, class How = rouse::detail::nothing>
decltype(auto) handshake(const client_context& context, rouse::socket<Scheduler> transport,
                         std::string_view name, First&& first, How&& how = How(),
                         rouse::detail::call_site at = rouse::detail::location::current()) {
  Scheduler* const s = transport.scheduler();
  return rouse::detail::begin_call(s, detail::client_handshake(context, std::move(transport), name),
                                   at, std::forward<First>(first), std::forward<How>(how));
}

/// Shakes hands as the server over a connection that was accepted. Give it a limit, and do not wait
/// for it where connections are accepted, because a peer can take as long as it likes; `serve` does
/// both.
///
///     auto s = co_await rouse::tls::accept(site, co_await listener.accept(), 5s);
///
/// @param transport  owned by the call, and closed if it fails.
///
/// Errors: tls::error::handshake_failed, not_tls, certificate_rejected (of a client's), those of
/// `recv` and `send`; invalid_argument (the context has no certificate).
template <scheduler Scheduler>
decltype(auto) accept(const server_context& context, rouse::socket<Scheduler> transport,
                      rouse::detail::location at = rouse::detail::location::current()) {
  Scheduler* const s = transport.scheduler();
  return rouse::detail::begin_call(s, detail::server_handshake(context, std::move(transport)), at);
}
template <scheduler Scheduler, class First = limit, class How = rouse::detail::nothing>
decltype(auto) accept(const server_context& context, rouse::socket<Scheduler> transport,
                      First&& first, How&& how = How(),
                      rouse::detail::call_site at = rouse::detail::location::current()) {
  Scheduler* const s = transport.scheduler();
  return rouse::detail::begin_call(s, detail::server_handshake(context, std::move(transport)), at,
                                   std::forward<First>(first), std::forward<How>(how));
}

}}} // namespace rouse::ROUSE_ABI::tls

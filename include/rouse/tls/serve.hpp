// Servers of TLS connections: serve and per_core with a handshake before the handler.
//
// A handshake belongs to the flow of its connection. While a peer takes its time, the server
// accepts others.
//
//     serve, per_core:  accept --> flow of the connection:  handshake --> handler
//                         ^------- at once                  under a limit
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/clock.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/task.hpp>
#include <rouse/detail/chrono.hpp>
#include <rouse/serving/per_core.hpp>
#include <rouse/serving/serve.hpp>
#include <rouse/sockets/socket.hpp>
#include <rouse/tls/connect.hpp>
#include <rouse/tls/context.hpp>
#include <rouse/tls/socket.hpp>

#include <concepts>
#include <cstddef>
#include <exception>
#include <source_location>
#include <system_error>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {
namespace tls {

/// Limits of a server of TLS connections.
struct serve_limits {
  /// Maximum number of open connections, among them those in the handshake. While it is reached,
  /// the server accepts none.
  std::size_t connections = rouse::serve_limits{}.connections;
  /// How long a handshake may take.
  clock::duration handshake = std::chrono::seconds(10);
};

namespace detail {

/// A handler of plain connections, which shakes hands and calls the handler of TLS connections.
///
/// A copy, which `per_core` makes for each core, has an SSL_CTX of its own. Shared by several
/// threads, its counters and locks would be what the threads wait for.
template <class Scheduler, class Handler>
class encrypted {
  static_assert(std::invocable<Handler&, tls::socket<Scheduler>>,
                "rouse: a server with a tls::server_context needs a handler of TLS sockets of its "
                "scheduler: [](rouse::tls::socket<...> connection) { ... }");

public:
  /// Throws invalid_argument for a context without a certificate: every handshake would fail.
  encrypted(const server_context& context, Handler handler, clock::duration limit)
      : context_(context), handler_(std::move(handler)), limit_(limit) {
    failure why;
    if (!context_.prepare(why))
      rouse::detail::throw_error(why.code(), "rouse: tls: serve: the context has no certificate");
  }
  encrypted(const encrypted& other)
      : context_(other.context_.clone()), handler_(other.handler_), limit_(other.limit_) {}
  encrypted(encrypted&&) = default;
  encrypted& operator=(const encrypted&) = delete;
  ~encrypted() = default;

  task<> operator()(rouse::socket<Scheduler> transport)
    requires(Scheduler::template accepts<done>)
  {
    std::error_code ec;
    tls::socket<Scheduler> s = co_await tls::accept(context_, std::move(transport), limit_, ec);
    if (!ec) co_await rouse::detail::call_handler(handler_, std::move(s));
  }
  // Callbacks: the loop discards its handlers before `this` is destroyed.
  void operator()(rouse::socket<Scheduler> transport) {
    tls::accept(context_, std::move(transport), limit_,
                [this](std::error_code ec, tls::socket<Scheduler> s) {
                  if (!ec) handler_(std::move(s));
                });
  }

private:
  server_context context_;
  Handler handler_;
  clock::duration limit_;
};

} // namespace detail
} // namespace tls

/// Accepts TLS connections from a listener, and starts a flow for each of them: `serve` with a
/// handshake.
///
///     rouse::tls::server_context site{"fullchain.pem", "key.pem"};
///     auto service = rouse::serve(sched, std::move(listener), site,
///                                 [](rouse::tls::socket<rouse::fibers> c) { ... },
///                                 {.connections = 1000, .handshake = 5s});
///
/// The handshake takes place in the flow of the connection, so a slow peer delays no other. A
/// handshake that fails or reaches its limit ends its connection only, and is reported nowhere: on
/// a public address, most failures come from scanners. (To see them, call `serve` without a
/// context, and `tls::accept` in its handler.)
///
/// One template of a handler serves plain and TLS connections:
///
///     struct echo {
///       template <rouse::byte_stream Stream>
///       rouse::task<> operator()(Stream conn) const {
///         while (auto bytes = co_await conn.receive()) co_await conn.send_all(bytes);
///       }
///     };
///     rouse::serve(sched, std::move(plain_listener), echo());
///     rouse::serve(sched, std::move(tls_listener), site, echo());
///
/// @param site     copied: a later `site.reload` reaches the server.
/// @param handler  called with each connection after its handshake. Otherwise as of `serve`.
/// @param limits, on_error  as of `serve`. `on_error` gets exceptions of the handler only.
/// @returns a handle to the server. `connections()` counts those in the handshake as well.
///
/// Errors: invalid_argument (the context has no certificate). Otherwise those of `serve`. Cost:
/// that of `serve`, a connection's of TLS, and the frame of a further task.
template <class Scheduler, class Handler, class OnError = detail::rethrow_from_run>
server<Scheduler> serve(Scheduler& sched, socket<Scheduler> listener,
                        const tls::server_context& site, Handler handler,
                        tls::serve_limits limits = {}, OnError on_error = {},
                        const std::source_location& where = std::source_location::current()) {
  return serve(
      sched, std::move(listener),
      tls::detail::encrypted<Scheduler, Handler>(site, std::move(handler), limits.handshake),
      serve_limits{limits.connections}, std::move(on_error), where);
}

/// Serves TLS connections on several cores until `cores.stop()`: `cores.run` with a handshake.
///
///     rouse::per_core<rouse::coroutines> cores{{"0.0.0.0", 443}};
///     rouse::serve(cores, site, [](rouse::tls::socket<rouse::coroutines> c) -> rouse::task<> {
///       ...
///     });
///
/// @param site     each core gets a clone of it. A later `site.reload` reaches all of them.
/// @param handler  copied for each core, and called there with each connection after its handshake.
/// @param limits, on_error  as of `per_core::run`. `on_error` gets exceptions of the handler only.
///
/// Handshakes, errors, and cost: as of `serve` with a context, and of `per_core::run`.
template <class Scheduler, class Handler, class OnError = detail::rethrow_from_run>
void serve(per_core<Scheduler>& cores, const tls::server_context& site, Handler handler,
           tls::serve_limits limits = {}, OnError on_error = {}) {
  cores.run(tls::detail::encrypted<Scheduler, Handler>(site.clone(), std::move(handler),
                                                       limits.handshake),
            serve_limits{limits.connections}, std::move(on_error));
}

}} // namespace rouse::ROUSE_ABI

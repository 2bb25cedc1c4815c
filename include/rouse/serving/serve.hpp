// serve: a flow for each connection, a limit on their number, and an orderly stop.
//
//     flow                  does                                      until
//     serving::run          acquires a permit, accepts, spawns        stop, or accept fails
//                           then waits; cancels at the deadline       no connection is left
//     serve_one             runs the handler, reports what it throws  the handler returns
//
// Each flow holds a shared_ptr to the `serving` object. The `server` handle holds only the
// server_state, which does not refer to the engine and may outlive it.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/flow.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/task.hpp>
#include <rouse/flows/sync.hpp>
#include <rouse/schedulers/basic_scheduler.hpp>
#include <rouse/sockets/socket.hpp>

#include <atomic>
#include <concepts>
#include <cstddef>
#include <exception>
#include <memory>
#include <source_location>
#include <stop_token>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace rouse { inline namespace ROUSE_ABI {

/// Limits of a server.
struct serve_limits {
  /// Maximum number of open connections. While it is reached, the server accepts none; further
  /// peers wait in the listener's queue.
  std::size_t connections = static_cast<std::size_t>(-1);
};

namespace detail {

// State shared by the handle of a server and its flows. It may outlive the engine.
template <class Threading>
class server_state {
public:
  std::atomic<std::size_t> connections{0};
  std::atomic<bool> cancelled{false}; // the connections, at the deadline

  void stop(deadline when) noexcept {
    typename Threading::lock lock(mutex_);
    if (!stopping_.stop_requested() || when < due_) due_ = when;
    stopping_.request_stop();
    due_changed_.request_stop();
  }
  [[nodiscard]] std::stop_token stopping() const noexcept { return stopping_.get_token(); }

  /// The limit for waiting: the deadline of `stop`; its token is stopped when that one changes.
  [[nodiscard]] limit until_due() {
    typename Threading::lock lock(mutex_);
    due_changed_ = {};
    return {cancelled ? deadline() : due_, due_changed_.get_token()};
  }

private:
  ROUSE_NO_UNIQUE_ADDRESS typename Threading::mutex mutex_;
  deadline due_; // set by stop()
  std::stop_source stopping_; // of accepting
  std::stop_source due_changed_;
};

// Default of on_error: run() throws the exceptions of the handlers.
struct rethrow_from_run {};

template <class Handler, class Socket>
decltype(auto) call_handler(Handler& handler, Socket conn) {
  if constexpr (std::is_void_v<decltype(handler(std::move(conn)))>)
    return handler(std::move(conn)), done{};
  else
    return handler(std::move(conn));
}

// The flow of a connection. `report` is called inside the catch block, so it can use
// std::current_exception(). The permit is returned last.
template <class Handler, class Permit, class Socket, class Report>
task<> serve_one(Handler& handler, Permit, Socket conn, Report report) {
#if ROUSE_EXCEPTIONS
  std::error_code ec;
  const endpoint peer = conn.remote_endpoint(ec);
  try {
    co_await call_handler(handler, std::move(conn));
  } catch (const flow_unwind&) {
    throw;
  } catch (...) {
    report(peer);
  }
#else
  (void)report;
  co_await call_handler(handler, std::move(conn));
#endif
}

// True if the current exception is a std::system_error with operation_canceled.
inline bool is_cancel() noexcept {
#if ROUSE_EXCEPTIONS
  try {
    throw;
  } catch (const std::system_error& e) {
    return e.code() == std::errc::operation_canceled;
  } catch (...) {
  }
#endif
  return false;
}

// What the accepting flow and the flows of the connections share; each keeps it alive.
template <class Scheduler, class Handler, class OnError>
class serving {
  using socket_type = socket<Scheduler>;
  using state_type = server_state<typename Scheduler::engine_type::threading>;

public:
  serving(Scheduler& s, socket_type listener, Handler h, serve_limits limits, OnError e,
          const std::source_location& where)
      : state(std::make_shared<state_type>()), sched_(s), listener_(std::move(listener)),
        handler_(std::move(h)), on_error_(std::move(e)), spawned_at_(where),
        permits_(s, limits.connections), open_connections_(s) {}

  const std::shared_ptr<state_type> state;

  static task<> run(std::shared_ptr<serving> self) {
    std::vector<flow_handle<Scheduler>> flows;
    std::error_code why;
#if ROUSE_EXCEPTIONS
    std::exception_ptr thrown;
    try {
      why = co_await self->accept_all(flows, self);
    } catch (const flow_unwind&) {
      throw;
    } catch (...) {
      thrown = std::current_exception(); // memory is short: ends like a failed accept
    }
#else
    why = co_await self->accept_all(flows, self);
#endif
    self->listener_.close();
    co_await self->drain(flows);
#if ROUSE_EXCEPTIONS
    if (thrown) std::rethrow_exception(thrown);
#endif
    if (why) throw_error(why, "rouse: serve: accept");
  }

private:
  // Counts an open connection. Its destructor returns the permit, however the flow ends.
  class permit {
  public:
    explicit permit(std::shared_ptr<serving> s) noexcept : serving_(std::move(s)) {
      serving_->open_connections_.add();
      ++serving_->state->connections;
    }
    permit(permit&&) noexcept = default;
    ~permit() {
      if (!serving_) return;
      --serving_->state->connections;
      serving_->permits_.release();
      serving_->open_connections_.finish();
    }

  private:
    std::shared_ptr<serving> serving_;
  };

  // Returns the error that ended the accepting; none after stop().
  task<std::error_code> accept_all(std::vector<flow_handle<Scheduler>>& flows,
                                   const std::shared_ptr<serving>& self) {
    const std::stop_token stopping = state->stopping();
    std::error_code ec;
    for (;;) {
      co_await permits_.acquire(stopping, ec);
      if (ec) break;
      socket_type conn = co_await listener_.accept(stopping, ec);
      if (ec) break;
      if (flows.size() == flows.capacity())
        std::erase_if(flows, [](const auto& f) { return f.ended(); });
      flows.push_back(sched_.spawn(
          [this, p = permit(self), c = std::move(conn)]() mutable {
            return serve_one(handler_, std::move(p), std::move(c),
                             [this](const endpoint& peer) { report(peer); });
          },
          spawned_at_));
    }
    co_return stopping.stop_requested() ? std::error_code() : ec;
  }

  // Waits until no connection is left. At the deadline it cancels those that are.
  task<> drain(std::vector<flow_handle<Scheduler>>& flows) {
    std::error_code ec;
    do {
      const limit until = state->until_due();
      co_await open_connections_.wait(until, ec);
      if (ec == std::errc::timed_out) {
        state->cancelled = true;
        for (auto& f : flows) f.cancel();
      } else if (ec && !until.token().stop_requested()) {
        break; // the scheduler is being destroyed, which cancels every flow
      }
    } while (ec);
  }

  // Reports the current exception.
  void report(const endpoint& peer) {
    if (state->cancelled && is_cancel()) return;
    if constexpr (std::same_as<OnError, rethrow_from_run>)
      sched_.engine().raise(std::current_exception());
    else
      on_error_(std::current_exception(), peer);
    (void)peer;
  }

  Scheduler& sched_;
  socket_type listener_;
  Handler handler_;
  ROUSE_NO_UNIQUE_ADDRESS OnError on_error_;
  const std::source_location spawned_at_; // for dump: the call of serve
  flow_semaphore<Scheduler> permits_;
  wait_group<Scheduler> open_connections_;
};

} // namespace detail

/// A handle to a server started by `serve`: stops it and waits for its end. If the handle is
/// dropped, the server runs on until its scheduler is destroyed.
///
/// Threads: `stop` and `join` are called on the scheduler's thread; `connections` and `ended` on
/// any. The handle may be moved and dropped on any thread, also after the scheduler's end.
template <class Scheduler>
class server {
  using call_site = detail::call_site;
  using location = detail::location;
  using nothing = detail::nothing;

public:
  /// Stops accepting and closes the listener. Returns at once; `join` waits for the end.
  ///
  /// @param when  until then connections may end by themselves; afterwards their waiting calls and
  /// all later ones fail with operation_canceled. A second call can only make it earlier.
  void stop(deadline when = clock::duration::zero()) noexcept { state_->stop(when); }

  /// Waits until the server has stopped accepting and no connection is left.
  ///
  /// Errors: the error of `accept`, if that ended the server, not `stop`; timed_out,
  /// operation_canceled (of this call only).
  template <class...>
  decltype(auto) join(location at = location::current()) {
    return accepting_.join(at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) join(First&& first, How&& how = How(), call_site at = location::current()) {
    return accepting_.join(std::forward<First>(first), std::forward<How>(how), at);
  }

  /// Number of open connections.
  [[nodiscard]] std::size_t connections() const noexcept { return state_->connections; }
  /// True once the server has stopped accepting and no connection is left.
  [[nodiscard]] bool ended() const noexcept { return accepting_.ended(); }

private:
  using state_type = detail::server_state<typename Scheduler::engine_type::threading>;
  template <class S, class Handler, class OnError>
  friend server<S> serve(S&, socket<S>, Handler, serve_limits, OnError,
                         const std::source_location&);
  server(std::shared_ptr<state_type> s, flow_handle<Scheduler> f) noexcept
      : state_(std::move(s)), accepting_(std::move(f)) {}

  std::shared_ptr<state_type> state_;
  flow_handle<Scheduler> accepting_;
};

/// Accepts connections from a listener and starts a flow for each of them.
///
///     auto service = rouse::serve(sched, std::move(listener), [](rouse::socket<rouse::fibers> c) {
///       ...
///     });
///     ...
///     service.stop(5s);
///
/// For TLS, a `tls::server_context` follows the listener: see rouse/tls/serve.hpp.
///
/// @param listener  a listening socket; the server owns it.
/// @param handler   called with each connection, in a flow of its own. It returns when the
///                  connection is served, or returns a `task`. The server owns it.
/// @param limits    how many connections may be open.
/// @param on_error  `void(std::exception_ptr, const endpoint& peer)`, called with each exception
///                  that leaves a handler. Without it, `run()` throws them. The other connections
///                  go on in either case.
/// @returns a handle to the server.
///
/// Errors: if accepting fails, the server closes the listener and waits for its connections, and
/// `join` fails with the error; `run()` throws it if the handle was dropped. When the process has
/// no free descriptors, accepting pauses until there is one (see `socket::accept`). Not available
/// with callbacks, which have no flows that wait: call `accept` from its own handler. Threads: the
/// scheduler's own. Cost: for each connection a flow and the frame of a task.
template <class Scheduler, class Handler, class OnError = detail::rethrow_from_run>
server<Scheduler> serve(Scheduler& sched, socket<Scheduler> listener, Handler handler,
                        serve_limits limits = {}, OnError on_error = {},
                        const std::source_location& where = std::source_location::current()) {
  static_assert(std::invocable<Handler&, socket<Scheduler>>,
                "rouse: the handler of serve takes a socket of its scheduler: "
                "[](rouse::socket<...> connection) { ... }");
  static_assert(Scheduler::template accepts<done>,
                "rouse: serve needs flows that wait, which callbacks do not have: call accept from "
                "its own handler");
  static_assert(std::same_as<OnError, detail::rethrow_from_run> ||
                    std::invocable<OnError&, std::exception_ptr, const endpoint&>,
                "rouse: the error hook of serve takes the exception and the peer: "
                "[](std::exception_ptr, const rouse::endpoint&) { ... }");
  using serving = detail::serving<Scheduler, Handler, OnError>;
  auto all = std::make_shared<serving>(sched, std::move(listener), std::move(handler), limits,
                                       std::move(on_error), where);
  auto state = all->state;
  return {std::move(state), sched.spawn(serving::run(std::move(all)), where)};
}

}} // namespace rouse::ROUSE_ABI

// A server: a flow for each connection, no more of them than it bears, and an orderly end.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/flow.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/flows/sync.hpp>
#include <rouse/schedulers/basic_scheduler.hpp>
#include <rouse/schedulers/task.hpp>
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

/// What a server bears.
struct serve_limits {
  /// Connections open at once. At this number it accepts no more; further peers wait in the
  /// listener's queue.
  std::size_t connections = static_cast<std::size_t>(-1);
};

namespace detail {

// What a server's handle and its flows share. Holds nothing of the engine, which it may outlive.
template <class Threading>
class server_state {
public:
  std::atomic<std::size_t> connections{0};
  std::atomic<bool> cancelled{false}; // those that are left

  void stop(deadline when) noexcept {
    typename Threading::lock lock(mutex_);
    if (!stopping_.stop_requested() || when < due_) due_ = when;
    stopping_.request_stop();
    due_changed_.request_stop();
  }
  [[nodiscard]] std::stop_token stopping() const noexcept { return stopping_.get_token(); }

  /// How long the connections have: until then, or until that has changed.
  [[nodiscard]] limit until_due() {
    typename Threading::lock lock(mutex_);
    due_changed_ = {};
    return {cancelled ? deadline() : due_, due_changed_.get_token()};
  }

private:
  ROUSE_NO_UNIQUE_ADDRESS typename Threading::mutex mutex_;
  deadline due_; // once it is to stop
  std::stop_source stopping_; // accepts no more
  std::stop_source due_changed_;
};

// What leaves a connection's flow comes out of run().
struct rethrow_from_run {};

template <class Handler, class Socket>
decltype(auto) call_handler(Handler& handler, Socket conn) {
  if constexpr (std::is_void_v<decltype(handler(std::move(conn)))>)
    return handler(std::move(conn)), done{};
  else
    return handler(std::move(conn));
}

// A connection's flow. What leaves the handler is reported while it is the current exception. The
// permit is given back last.
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

// Whether what is being handled says no more than that a call was cancelled.
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

// The flow that accepts, and those of the connections; each keeps it alive.
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
      thrown = std::current_exception(); // memory is short: it ends as if the accept had failed
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
  // An open connection: whatever becomes of its flow, its place becomes free.
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

  // Why accepting has ended, if nobody asked for it.
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

  // Cancels the connections that are left when it is time.
  task<> drain(std::vector<flow_handle<Scheduler>>& flows) {
    std::error_code ec;
    do {
      const limit until = state->until_due();
      co_await open_connections_.wait(until, ec);
      if (ec == std::errc::timed_out) {
        state->cancelled = true;
        for (auto& f : flows) f.cancel();
      } else if (ec && !until.token().stop_requested()) {
        break; // this flow is cancelled, as all others are: the scheduler goes
      }
    } while (ec);
  }

  // What was thrown just now.
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
  const std::source_location spawned_at_; // of whose flows the connections are
  flow_semaphore<Scheduler> permits_;
  wait_group<Scheduler> open_connections_;
};

} // namespace detail

/// What `serve` gives: to stop the server, and to wait for its end. Dropping it lets the server go
/// on by itself, until its scheduler goes.
///
/// Threads: `stop` and `join` are the scheduler's thread's; `connections` and `ended` are any
/// thread's, and the handle may be moved and dropped in any thread, also after its scheduler.
template <class Scheduler>
class server {
public:
  /// Accepts no more and closes the listener; the connections have until `when` to end by
  /// themselves, then their waiting calls, and all later ones, end with operation_canceled. May be
  /// called again with an earlier time.
  void stop(deadline when = clock::duration::zero()) noexcept { state_->stop(when); }

  /// Waits until no connection is left. Throws why accepting has ended, if that was not `stop`.
  template <class How = detail::nothing>
    requires(!detail::limit_first<How>)
  decltype(auto) join(How&& how = How(), detail::call_site at = std::source_location::current()) {
    return accepting_.join(std::forward<How>(how), at);
  }
  template <class... How>
  decltype(auto) join(limit l, How&&... how) {
    return accepting_.join(std::move(l), std::forward<How>(how)...);
  }

  /// How many are open.
  [[nodiscard]] std::size_t connections() const noexcept { return state_->connections; }
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

/// Serves what comes to a listener, with a flow for each connection.
///
///     auto service = rouse::serve(sched, std::move(listener), [](rouse::socket<rouse::fibers> c) {
///       ...
///     });
///     ...
///     service.stop(5s);
///
/// @param listener  listens already; the server owns it.
/// @param handler   called with each connection, as a flow of its own: returns when it is served,
///                  or gives a `task`.
/// @param limits    what the server bears.
/// @param on_error  `void(std::exception_ptr, const endpoint& peer)`, called with what left a
///                  handler; without one it comes out of `run()`. The others go on in either case.
///
/// Where descriptors run out, accepting pauses until one is free (see `socket::accept`). With
/// callbacks, which have no flows that wait, call `accept` from its own handler. Cost: for each
/// connection a flow, and the frame of a task. Threads: the scheduler's own.
template <class Scheduler, class Handler, class OnError = detail::rethrow_from_run>
server<Scheduler> serve(Scheduler& sched, socket<Scheduler> listener, Handler handler,
                        serve_limits limits = {}, OnError on_error = {},
                        const std::source_location& where = std::source_location::current()) {
  static_assert(std::invocable<Handler&, socket<Scheduler>>,
                "rouse: the handler of serve takes a socket of its scheduler: "
                "[](rouse::socket<...> connection) { ... }");
  static_assert(Scheduler::template accepts<done>,
                "rouse: serve needs flows that wait, which callbacks are not: call accept from its "
                "own handler");
  static_assert(std::same_as<OnError, detail::rethrow_from_run> ||
                    std::invocable<OnError&, std::exception_ptr, const endpoint&>,
                "rouse: the error hook of serve takes what was thrown and the peer: "
                "[](std::exception_ptr, const rouse::endpoint&) { ... }");
  using serving = detail::serving<Scheduler, Handler, OnError>;
  auto all = std::make_shared<serving>(sched, std::move(listener), std::move(handler), limits,
                                       std::move(on_error), where);
  auto state = all->state;
  return {std::move(state), sched.spawn(serving::run(std::move(all)), where)};
}

}} // namespace rouse::ROUSE_ABI

// Connecting to a host by its name, or to the first of several addresses that accepts.
//
// One call waits, first for the lookup of the name, then for several attempts. Each attempt is a
// pending call of its own, on a socket of its own, and shares the connector with the call:
//
//   connect_to_call --wait--> lookup --> connector: list of endpoints
//         ^                                 | try_next(): at once after a failure,
//         |                                 v             else 250 ms after the last
//         |                             connect_attempt, connect_attempt, ...
//         |                                 | deliver()
//         +---- complete ---- ended_ <------+
//         |
//      next_ended()  success: its socket is the result; the others are cancelled
//                    failure: its error is kept; the next address is tried
//      no attempt in progress and no address left: the last error
//
// If the call ends early (limit, cancel, destroyed), leave() cancels the attempts. Each of them
// holds a share of the connector until it has completed; the last share frees the connector.
#pragma once
#include <rouse/concepts/scheduler.hpp>
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/pause.hpp>
#include <rouse/core/waiting.hpp>
#include <rouse/detail/chrono.hpp>
#include <rouse/detail/guarded.hpp>
#include <rouse/detail/intrusive_list.hpp>
#include <rouse/fwd.hpp>
#include <rouse/os/socket.hpp>
#include <rouse/sockets/connection_calls.hpp>
#include <rouse/sockets/resolve.hpp>
#include <rouse/sockets/socket.hpp>
#include <rouse/sockets/when_there_is_room.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

// Alternates between address families, beginning with that of the first endpoint; within a family
// the order stays (RFC 8305, section 4).
inline std::vector<endpoint> interleaved(const std::vector<endpoint>& found) {
  std::vector<endpoint> result, others;
  for (const endpoint& ep : found)
    (ep.family() == found.front().family() ? result : others).push_back(ep);
  for (std::size_t i = 0; i != others.size(); ++i) {
    const std::size_t turn = 2 * i + 1, place = turn < result.size() ? turn : result.size();
    result.insert(result.begin() + static_cast<std::ptrdiff_t>(place), others[i]);
  }
  return result;
}

template <class Scheduler>
class connector;

/// The attempt to connect to one address, with a socket of its own.
template <class Scheduler>
class connect_attempt final
    : public pending_call<typename Scheduler::engine_type, when_there_is_room<connect_call>,
                          no_limit, connect_attempt<Scheduler>> {
  using call = pending_call<typename Scheduler::engine_type, when_there_is_room<connect_call>,
                            no_limit, connect_attempt<Scheduler>>;

public:
  /// @param record  the record of `from`.
  connect_attempt(Scheduler& s, socket<Scheduler>&& from, socket_state* record, const endpoint& to)
      : call(&s.engine(), {{record, to}}, no_limit{}), connection(std::move(from)) {}

  static socket<Scheduler> own(socket_state* record) { return socket<Scheduler>::from(record); }

  /// True: it has ended. False: it will call `c->on_attempt_ended`; `c` lives until then.
  bool begin(std::shared_ptr<connector<Scheduler>> c) noexcept {
    connector_ = std::move(c);
    if (!this->start()) return false;
    connector_.reset();
    return true;
  }
  void deliver() noexcept {
    const auto owner = std::move(connector_); // may free both, at the end
    owner->on_attempt_ended(*this);
  }

  socket<Scheduler> connection;

private:
  std::shared_ptr<connector<Scheduler>> connector_; // while it is in progress
};

/// The attempts of one call, and what the call waits for. Shared with the attempts in progress.
template <class Scheduler>
class connector final : public waitable, public std::enable_shared_from_this<connector<Scheduler>> {
  using attempt = connect_attempt<Scheduler>;

public:
  // How long an attempt runs before the next one joins it (RFC 8305, section 5).
  static constexpr auto stagger = std::chrono::milliseconds(250);

  connector(Scheduler& s, name_query query) : scheduler_(s), query_(std::move(query)) {}
  connector(Scheduler& s, std::span<const endpoint> list)
      : scheduler_(s), list_(list.begin(), list.end()) {}

  /// True: `op` has a request. False: it has failed.
  bool prepare(operation& op) noexcept {
    if (query_ && query_->begin(op)) return true;
    request_wait(op, this); // completes at once, when its limit is known
    return !op.error;
  }

  /// True: the call has ended.
  bool advance(operation& op) noexcept {
    if (looked_up_ ? pause_.end(op) : finish_lookup(op)) return go_on(op);
    leave();
    return true;
  }

  /// The call has ended or is destroyed: cancels the attempts that are left.
  void leave() noexcept {
    for (const auto& a : attempts_)
      if (a.get() != winner_) engine_.cancel(*a);
  }

  [[nodiscard]] socket<Scheduler> take() noexcept {
    return winner_ ? std::move(winner_->connection) : socket<Scheduler>();
  }

  /// Hands an attempt that has ended to the call.
  void on_attempt_ended(attempt& a) noexcept {
    engine_.with_completions([&](completions& completed) {
      ended_.push_back(a);
      if (waiter_) complete(*waiter_, {}, completed);
    });
  }

  // ---- the waitable

  bool enter(operation& op, completions&) noexcept override {
    if (!looked_up_ || !ended_.empty()) return true;
    waiter_ = &op;
    return false;
  }
  void leave(operation&) noexcept override { waiter_ = nullptr; }
  [[nodiscard]] const char* description() const noexcept override { return "connect"; }

private:
  bool finish_lookup(operation& op) noexcept {
    looked_up_ = true;
    if (op.error || !query_) return !op.error;
    op.error = query_->why();
    if (op.error) return false;
    guarded([this] { list_ = interleaved(query_->result()); },
            [&] { op.error = std::errc::not_enough_memory; });
    return !op.error;
  }

  bool go_on(operation& op) noexcept {
    while (true) {
      while (attempt* const a = next_ended()) {
        if (!a->error) {
          winner_ = a;
          op.error = {};
          leave();
          return true;
        }
        why_ = a->error;
        next_at_ = (clock::time_point::min)(); // no reason to wait any longer
      }
      if (started_ == list_.size()) {
        op.error = why_;
        if (in_progress_ == 0) return true;
        pause_.begin(op, (clock::time_point::max)(), this);
        return false;
      }
      if (in_progress_ != 0 && clock::now() < next_at_) {
        pause_.begin(op, next_at_, this);
        return false;
      }
      try_next();
    }
  }

  attempt* next_ended() noexcept {
    operation* op = nullptr;
    engine_.with_completions([&](completions&) {
      if (!ended_.empty()) op = &ended_.pop_front();
    });
    if (!op) return nullptr;
    --in_progress_;
    return static_cast<attempt*>(static_cast<typename Scheduler::engine_type::operation*>(op));
  }

  void try_next() noexcept {
    const endpoint& peer = list_[started_++];
    socket_state* record = engine_.open(&scheduler_, peer.family(), SOCK_STREAM, 0, why_);
    if (!record) return;
    auto from = attempt::own(record); // closes it if memory is short
    const auto begin = [&] {
      attempts_.push_back(std::make_unique<attempt>(scheduler_, std::move(from), record, peer));
      ++in_progress_;
      next_at_ = clock::now() + stagger;
      if (attempts_.back()->begin(this->shared_from_this())) on_attempt_ended(*attempts_.back());
    };
    guarded(begin, [this] { why_ = std::errc::not_enough_memory; });
  }

  Scheduler& scheduler_;
  typename Scheduler::engine_type& engine_ = scheduler_.engine(); // may outlive the scheduler
  std::optional<name_query> query_; // none: the list is known
  bool looked_up_ = false;
  std::vector<endpoint> list_;
  std::size_t started_ = 0; // number of addresses
  std::vector<std::unique_ptr<attempt>> attempts_;
  std::size_t in_progress_ = 0; // number of attempts
  clock::time_point next_at_ = (clock::time_point::min)();
  failure why_ = std::errc::invalid_argument; // the last one; of an empty list
  attempt* winner_ = nullptr;
  pause pause_{"connect"};
  list<operation> ended_; // guarded by the engine's lock, as is the next
  operation* waiter_ = nullptr;
};

template <class Scheduler>
struct connect_to_call {
  using value_type = socket<Scheduler>;
  static constexpr const char* name = "rouse: connect";
  static constexpr const char* misuse = "no address, or an invalid port";
  std::shared_ptr<connector<Scheduler>> attempts;

  bool prepare(operation& op) noexcept { return attempts->prepare(op); }
  bool advance(operation& op) noexcept { return attempts->advance(op); }
  socket<Scheduler> value(operation&) noexcept { return attempts->take(); }
  template <class Engine>
  void discard(operation&, Engine&) noexcept {
    attempts->leave();
  }
};

template <class Scheduler, class Service>
auto connect_to(Scheduler& s, std::string_view host, const Service& service) {
  explain_service<Service>();
  return connect_to_call<Scheduler>{
      std::make_shared<connector<Scheduler>>(s, name_query(s.engine(), host, service))};
}
template <class Scheduler>
auto connect_to(Scheduler& s, std::span<const endpoint> list) {
  return connect_to_call<Scheduler>{std::make_shared<connector<Scheduler>>(s, list)};
}

} // namespace detail

/// Connects to a service of a host: to the first of its addresses that accepts.
///
///     rouse::socket s = co_await rouse::connect(sched, "example.org", "https", 5s);
///
/// The name is looked up as by `resolve`. Then the addresses are tried one after another, IPv6 and
/// IPv4 alternately: the next one at once after a failure, otherwise 250 ms after the previous one,
/// which continues meanwhile. When one has connected, the others are cancelled.
///
/// @param host     a name, in ASCII, or an address without brackets. Copied.
/// @param service  a port, 0 to 65535, or the name of a service. Copied.
/// @returns the connection, a socket of this scheduler.
///
/// A limit covers the whole call, including the lookup.
///
/// Errors: those of `resolve`; otherwise that of the address that failed last: connection_refused,
/// network_unreachable, too_many_files_open, ...; timed_out at the limit. Cancellation: no attempt
/// remains. Threads: the scheduler's own. Cost: that of `resolve`, and an allocation and a socket
/// for each address that is tried. Source: RFC 8305; unlike there, the system's resolver returns
/// the addresses of both families at the same time.
template <scheduler Scheduler, class Service>
decltype(auto) connect(Scheduler& s, std::string_view host, const Service& service,
                       detail::location at = detail::location::current()) {
  return detail::begin_call(&s, detail::connect_to(s, host, service), at);
}
template <scheduler Scheduler, class Service, class First = limit, class How = detail::nothing>
decltype(auto) connect(Scheduler& s, std::string_view host, const Service& service, First&& first,
                       How&& how = How(), detail::call_site at = detail::location::current()) {
  return detail::begin_call(&s, detail::connect_to(s, host, service), at,
                            std::forward<First>(first), std::forward<How>(how));
}

/// Connects to the first of several known endpoints that accepts, in the order of the list.
/// @param list  copied. If it is empty: invalid_argument.
template <scheduler Scheduler>
decltype(auto) connect(Scheduler& s, std::span<const endpoint> list,
                       detail::location at = detail::location::current()) {
  return detail::begin_call(&s, detail::connect_to(s, list), at);
}
template <scheduler Scheduler, class First = limit, class How = detail::nothing>
decltype(auto) connect(Scheduler& s, std::span<const endpoint> list, First&& first,
                       How&& how = How(), detail::call_site at = detail::location::current()) {
  return detail::begin_call(&s, detail::connect_to(s, list), at, std::forward<First>(first),
                            std::forward<How>(how));
}

}} // namespace rouse::ROUSE_ABI

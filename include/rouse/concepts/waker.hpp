// The concept of a waker.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/flow.hpp>

#include <concepts>
#include <cstddef>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

// A waker with calls that return their value directly.
template <class W>
concept blocking_waker = requires { requires W::blocking; };

} // namespace detail

/// A waker starts a call, suspends its caller, and delivers the value or the error when the call
/// completes. It knows nothing of kernels.
///
/// - `W::accepts<Value, How...>` says which arguments may follow the others of a call: nothing, a
///   std::error_code, a handler.
/// - `W::initiate(scheduler*, call, limit, how...)` starts a call and returns what the call
///   returns; see `pending_call`.
///
/// If the calls are to wait and then return, use a `parking_waker`: it needs only a parker, which
/// has two functions.
///
/// Optional:
/// - `spawn(scheduler&, f)` starts a flow. With it, `flow_name` and `for_each_flow(f)`.
/// - `turn(engine&, until, once)` runs a turn of the loop in place of the engine's; `once`: the
///   caller is not run(), which goes on anyway. `leave_loop(engine&)` is called after the last one.
/// - `idle()` says whether the waker itself has nothing left to wait for; `notify(engine&)` makes a
///   thread that waits in `turn` check again.
/// - `cancel(engine&, flow&)` cancels a flow; `end_now(engine&, flow&)` ends one that waits.
/// - `shut_down(engine&)` ends all flows when the scheduler is destroyed. `in_use()` says whether a
///   flow of the scheduler calls it. `leave_behind()` replaces `shut_down` in a forked child.
template <class W>
concept waker = std::destructible<W> && requires {
  { W::template accepts<std::size_t> } -> std::convertible_to<bool>;
};

/// Explains by a static_assert what a type lacks to be a waker.
template <class W>
consteval void explain_waker() {
  static_assert(
      requires { W::template accepts<std::size_t>; },
      "rouse: a waker says how a call may be completed: \"template <class Value, class... How> "
      "static constexpr bool accepts = ...;\"; a parker P becomes one as parking_waker<P>");
}

}} // namespace rouse::ROUSE_ABI

// The concept of a waker.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/flow.hpp>

#include <concepts>
#include <cstddef>

namespace rouse { inline namespace ROUSE_ABI {

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
/// Optional: `spawn(scheduler&, f)`, `shut_down(engine&)`, `turn(engine&, until)`, `cancel(engine&,
/// flow&)`, `idle()`, `notify()`, `for_each_flow(f)` and `flow_name`.
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

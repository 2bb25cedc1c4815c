// What a waker is.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/flow.hpp>

#include <concepts>
#include <cstddef>

namespace rouse { inline namespace ROUSE_ABI {

/// A waker knows nothing of kernels: it starts a call, suspends whoever made it, is told, and
/// delivers value or error.
///
/// - `W::accepts<Value, How...>` says how a call may be completed: which arguments may follow the
/// others.
/// - `W::initiate(scheduler*, call, limit, how...)` starts one, and gives what the call gives; see
/// `pending_call`.
/// A waker that means "wait, then return" is a `parking_waker`: it needs a parker, two functions.
///
/// Optional: `spawn(scheduler&, f)`, `shut_down(engine&)`, `turn(engine&, until)`, `cancel(engine&,
/// flow&)`, `idle()`, `notify()`, `for_each_flow(visit)` and `flow_name`.
template <class W>
concept waker = std::destructible<W> && requires {
  { W::template accepts<std::size_t> } -> std::convertible_to<bool>;
};

/// Says in words what a type lacks to be a waker.
template <class W>
consteval void explain_waker() {
  static_assert(
      requires { W::template accepts<std::size_t>; },
      "rouse: a waker says how a call may be completed: \"template <class Value, class... How> "
      "static constexpr bool accepts = ...;\"; a parker P becomes one as parking_waker<P>");
}

}} // namespace rouse::ROUSE_ABI

// A chain of coroutines that await one another, and the loop that runs it: what `task` and the
// coroutine waker share.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/flow.hpp>

#include <atomic>
#include <coroutine>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

template <class A>
concept awaitable = requires(A&& a) { std::forward<A>(a).await_ready(); } || requires(A&& a) {
  std::forward<A>(a).operator co_await();
} || requires(A&& a) { operator co_await(std::forward<A>(a)); };

template <class F>
concept gives_awaitable = requires(F& f) {
  { f() } -> awaitable;
};

// How a coroutine of a chain awaits `a`: what joins the chain needs none of its own.
template <class A>
decltype(auto) in_chain(A&& a) {
  if constexpr (requires { std::forward<A>(a).in_chain(); })
    return std::forward<A>(a).in_chain();
  else
    return std::forward<A>(a);
}

class coroutine_chain;

/// What every coroutine of a chain has in its promise.
struct chain_link {
  coroutine_chain* chain = nullptr;
  chain_link* parent = nullptr; // who awaits this one, if it is of the chain
  std::coroutine_handle<> self;
  std::coroutine_handle<> continuation; // who awaits this one
  std::coroutine_handle<>* owning_handle =
      nullptr; // where the awaiting side keeps the handle that it will destroy
};

/// At any time one coroutine of a chain runs or waits. When it awaits another, or ends, it says who
/// goes on and returns to the loop in `resume`, so that neither depth nor number of awaits grows
/// the stack, however the compiler was told to compile. (Symmetric transfer is a tail call only
/// where the optimizer makes it one.)
class coroutine_chain {
public:
  flow* spawned_flow = nullptr; // the flow that the chain is, if it was spawned
  bool from_outside = false; // whether a coroutine of another kind awaits the first of the chain
  std::atomic<bool> one_side_done{
      false}; // from_outside: set by the chain's end and by the await's; whoever comes second goes on
  chain_link* leaf = nullptr; // who runs or waits now

  /// Runs the chain until it waits for something or has ended; then `this` may be gone.
  void resume(std::coroutine_handle<> h) {
    do {
      std::coroutine_handle<> next;
      next_ = &next;
      h.resume();
      h = next;
    } while (h);
  }

  /// By a coroutine that suspends: who goes on. Its loop is `resume`'s, or one begun here where
  /// something else resumed it.
  void transfer(std::coroutine_handle<> h) {
    if (next_)
      *next_ = h;
    else
      resume(h);
  }

  /// A coroutine is about to wait for something that may resume it from outside of `resume`.
  [[nodiscard]] std::coroutine_handle<>* exit_loop() noexcept {
    return std::exchange(next_, nullptr);
  }
  /// It did not wait after all.
  void reenter_loop(std::coroutine_handle<>* loop) noexcept { next_ = loop; }

  void push(chain_link& child) noexcept {
    child.chain = this;
    child.parent = leaf;
    leaf = &child;
  }
  /// The innermost coroutine has ended: its parent goes on.
  void pop() noexcept {
    chain_link& ended = *leaf;
    leaf = ended.parent;
    if (ended.continuation &&
        (leaf || !from_outside || one_side_done.exchange(true, std::memory_order_acq_rel)))
      transfer(ended.continuation);
  }

  /// Destroys the waiting coroutines from the innermost up to `last`: a pending operation goes
  /// before the buffers that its callers hold, and depth costs no stack.
  void destroy_through(chain_link& last) noexcept {
    for (bool more = true; more && leaf;) {
      chain_link& doomed = *leaf;
      more = &doomed != &last;
      leaf = doomed.parent;
      if (doomed.owning_handle) *doomed.owning_handle = nullptr;
      doomed.self.destroy();
    }
  }

private:
  std::coroutine_handle<>* next_ = nullptr;
};

}}} // namespace rouse::ROUSE_ABI::detail

// A chain of coroutines that await each other, and the loop that runs it. Shared by `task` and the
// coroutine waker.
//
//     flow  <-ends-  task a  <-awaits-  task b (leaf)  --waits for-->  operation
//
//     resume(b):  b runs, and suspends or ends ---> next = null, or the coroutine to continue
//                 ^------------------------------- until next is null
//
// At any time at most one coroutine of a chain runs. A coroutine that awaits a task or ends stores
// the coroutine to continue with in `next_` and returns to the loop in `resume`. So neither the
// depth nor the number of awaits grows the stack. (Symmetric transfer would do the same, but is a
// tail call only in optimized builds.)
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/flow.hpp>

#include <atomic>
#include <coroutine>
#include <exception>
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

// The awaitable by which a coroutine of a chain awaits `a`. A task has a cheaper one, because it
// joins the chain and needs none of its own.
template <class A>
decltype(auto) in_chain(A&& a) {
  if constexpr (requires { std::forward<A>(a).in_chain(); })
    return std::forward<A>(a).in_chain();
  else
    return std::forward<A>(a);
}

class coroutine_chain;

/// The part of the promise that links a coroutine into its chain.
struct chain_link {
  coroutine_chain* chain = nullptr;
  chain_link* parent = nullptr; // the awaiting coroutine; null: it is not in the chain
  std::coroutine_handle<> self;
  // The handle that the awaiting side would destroy; null: none.
  std::coroutine_handle<>* owning_handle = nullptr;
  std::exception_ptr thrown; // the exception that left the coroutine

  void rethrow() {
#if ROUSE_EXCEPTIONS
    if (thrown) std::rethrow_exception(std::exchange(thrown, nullptr));
#endif
  }
};

/// A coroutine of another kind, which awaits a chain.
class outside_awaiter {
public:
  std::coroutine_handle<> handle;
  /// Called at the end of the chain and at the end of the coroutine's await_suspend, perhaps by two
  /// threads. The second call returns true: then the coroutine continues.
  [[nodiscard]] bool second_side_done() noexcept {
    return one_side_done_.exchange(true, std::memory_order_acq_rel);
  }

private:
  std::atomic<bool> one_side_done_{false};
};

/// The chain: its innermost coroutine, and the loop that runs it. See the top of this file.
class coroutine_chain {
public:
  flow* spawned_flow = nullptr; // null: the chain was not spawned
  outside_awaiter* outside = nullptr; // null: no coroutine of another kind awaits the chain
  chain_link* leaf = nullptr; // the innermost coroutine: it runs or waits

  /// Runs the chain until it waits for something or has ended. Then `this` may have been destroyed.
  void resume(std::coroutine_handle<> h) {
    do {
      std::coroutine_handle<> next;
      next_ = &next;
      h.resume();
      h = next;
    } while (h);
  }

  /// Called by a coroutine that suspends: `h` continues, in the loop of `resume`. If the coroutine
  /// was resumed outside of that loop, a new loop begins here.
  void transfer(std::coroutine_handle<> h) {
    if (next_)
      *next_ = h;
    else
      resume(h);
  }

  /// A coroutine is about to wait for something that may resume it outside of `resume`.
  [[nodiscard]] std::coroutine_handle<>* exit_loop() noexcept {
    return std::exchange(next_, nullptr);
  }
  /// It did not suspend after all.
  void reenter_loop(std::coroutine_handle<>* loop) noexcept { next_ = loop; }

  void push(chain_link& child) noexcept {
    child.chain = this;
    child.parent = leaf;
    leaf = &child;
  }
  /// The innermost coroutine has ended; the coroutine that awaits it continues, or the flow ends.
  void pop() noexcept {
    if (!leaf->parent && spawned_flow) return spawned_flow->end_suspended(); // destroys the leaf
    leaf = leaf->parent;
    if (leaf)
      transfer(leaf->self);
    else if (outside && outside->second_side_done())
      transfer(outside->handle);
  }

  /// Destroys the waiting coroutines from the innermost up to `last`. In this order a pending
  /// operation is destroyed before the buffers that its callers hold, and depth costs no stack.
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

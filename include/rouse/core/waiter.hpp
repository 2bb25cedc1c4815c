// An entry in a wait queue: a call that waits for a value of a channel, a lock, an event.
//
// A call either gets what it wants at once (`try_enter`), or its waiter joins the queue
// (`enqueue`). The waiter leaves it in one of two ways:
// - `admit`: the operation completes, because a value, a permit or the like is there;
// - `leave`: the engine completes the operation by itself, at its limit or by a cancellation.
// Both run with the engine's lock held, so one of them wins and the other finds nothing to do.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/waiting.hpp>
#include <rouse/detail/intrusive_list.hpp>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// An operation's entry in a wait queue. It is part of the call object, which moves only before the
/// operation starts.
///
/// Threads: every function is called with the engine's lock held.
class waiter : public waitable, public list_node {
public:
  waiter() noexcept = default;
  waiter(const waiter&) noexcept : waitable(), list_node() {}
  waiter& operator=(const waiter&) = delete;

  void leave(operation&) noexcept final { unlink(); }

  void enqueue(list<waiter>& queue, operation& op) noexcept {
    op_ = &op;
    queue.push_back(*this);
  }
  /// Takes the waiter out of its queue and completes the operation. A `select` has a waiter in
  /// several queues; it leaves the others too.
  ROUSE_ALWAYS_INLINE void admit(completions& completed, failure error = {}) noexcept {
    admitted_ = true;
    if (op_->awaited != this) [[unlikely]]
      return complete(*op_, error, completed);
    list_node::leave();
    op_->error = error;
    completed.add(*op_);
  }
  [[nodiscard]] bool admitted() const noexcept { return admitted_; }

protected:
  ~waiter() = default;

private:
  operation* op_ = nullptr;
  bool admitted_ = false;
};

/// Base class of waiters. `Derived` provides:
/// - `list<waiter>* try_enter(failure& why, completions&) noexcept`, the attempt without waiting:
///   null means that the call is done, with the error in `why` if it failed; otherwise it returns
///   the queue to wait in;
/// - `awaits`, a text that tells `dump` what the call waits for.
template <class Derived, class Base = waiter>
class waiter_base : public Base {
public:
  using Base::Base;
  bool enter(operation& op, completions& completed) noexcept final {
    list<waiter>* queue = static_cast<Derived&>(*this).try_enter(op.error, completed);
    if (!queue) return true;
    this->enqueue(*queue, op);
    return false;
  }
  [[nodiscard]] const char* description() const noexcept final { return Derived::awaits; }
};

/// Base class of calls that only enter a wait queue.
template <class Waiter>
struct queued_call {
  Waiter waiter;

  bool prepare(operation& op) noexcept {
    request_wait(op, &waiter);
    return true;
  }
  bool advance(operation&) noexcept { return true; }
};
/// A queued_call: a waker may try it before it makes an operation (see wakers/parking.hpp).
template <class Call>
concept waits_in_queue = requires(Call& c, failure& why, completions& completed) {
  c.waiter.try_enter(why, completed);
  c.value();
};

/// Empties a queue: every operation in it completes with `error`.
inline void admit_all(list<waiter>& queue, completions& completed, failure error = {}) noexcept {
  while (!queue.empty()) queue.front().admit(completed, error);
}

}}} // namespace rouse::ROUSE_ABI::detail

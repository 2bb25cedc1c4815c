// Who stands in line for something that flows share: a value of a channel, a lock, an event.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/waiting.hpp>
#include <rouse/detail/intrusive_list.hpp>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// An operation's place in a line. It lives in the call that waits, and is moved only before that.
///
/// Threads: all of it with the engine's lock held.
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
  /// It is served: its operation completes, and leaves whatever other lines it stands in.
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

/// What a visitor derives from: its own class has `list<visitor>* visit(failure& why, answers&)
/// noexcept`, which tries at once: null, it is done, unless `why` says what went wrong; else the
/// line to wait in. And `awaits`, what it waits for, for `dump`.
template <class Derived, class Base = waiter>
class waiter_base : public Base {
public:
  using Base::Base;
  ROUSE_ALWAYS_INLINE bool enter(operation& op, completions& completed) noexcept final {
    list<waiter>* queue = static_cast<Derived&>(*this).try_enter(op.error, completed);
    if (!queue) return true;
    this->enqueue(*queue, op);
    return false;
  }
  [[nodiscard]] const char* description() const noexcept final { return Derived::awaits; }
};

/// A call that is a visit.
template <class Waiter>
struct queued_call {
  Waiter waiter;

  bool prepare(operation& op) noexcept {
    request_wait(op, &waiter);
    return true;
  }
  bool advance(operation&) noexcept { return true; }
};
template <class Call>
concept waits_in_queue = requires(Call& c, failure& why, completions& completed) {
  c.waiter.try_enter(why, completed);
  c.value();
};

/// Serves all who stand in line.
inline void admit_all(list<waiter>& queue, completions& completed, failure error = {}) noexcept {
  while (!queue.empty()) queue.front().admit(completed, error);
}

}}} // namespace rouse::ROUSE_ABI::detail

// Who stands in line for something that flows share: a value of a channel, a lock, an event.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/detail/intrusive_list.hpp>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// An operation's place in a line. It lives in the call that waits, and is moved only before that.
///
/// Threads: all of it with the engine's lock held.
class visitor : public waitable, public list_node {
public:
  visitor() noexcept = default;
  visitor(const visitor&) noexcept : waitable(), list_node() {}
  visitor& operator=(const visitor&) = delete;

  void leave(operation&) noexcept final { unlink(); }

  void stand_in(list<visitor>& line, operation& op) noexcept {
    op_ = &op;
    line.push_back(*this);
  }
  /// It is served: its operation completes, and leaves whatever other lines it stands in.
  ROUSE_ALWAYS_INLINE void serve(answers& answered, failure error = {}) noexcept {
    served_ = true;
    if (op_->awaited != this) [[unlikely]]
      return answer(*op_, error, answered);
    list_node::leave();
    op_->error = error;
    answered.add(*op_);
  }
  [[nodiscard]] bool served() const noexcept { return served_; }

protected:
  ~visitor() = default;

private:
  operation* op_ = nullptr;
  bool served_ = false;
};

/// What a visitor derives from: its own class has `list<visitor>* visit(failure& why, answers&)
/// noexcept`, which tries at once: null, it is done, unless `why` says what went wrong; else the
/// line to wait in. And `awaits`, what it waits for, for `dump`.
template <class Me, class Base = visitor>
class visitor_as : public Base {
public:
  using Base::Base;
  ROUSE_ALWAYS_INLINE bool enter(operation& op, answers& answered) noexcept final {
    list<visitor>* line = static_cast<Me&>(*this).visit(op.error, answered);
    if (!line) return true;
    this->stand_in(*line, op);
    return false;
  }
  [[nodiscard]] const char* words() const noexcept final { return Me::awaits; }
};

/// A call that is a visit.
template <class Visitor>
struct visit_call {
  Visitor me;

  bool prepare(operation& op) noexcept {
    ask_wait(op, &me);
    return true;
  }
  bool advance(operation&) noexcept { return true; }
};
template <class Call>
concept visits = requires(Call& c, failure& why, answers& answered) {
  c.me.visit(why, answered);
  c.value();
};

/// Serves all who stand in line.
inline void serve_all(list<visitor>& line, answers& answered, failure error = {}) noexcept {
  while (!line.empty()) line.front().serve(answered, error);
}

}}} // namespace rouse::ROUSE_ABI::detail

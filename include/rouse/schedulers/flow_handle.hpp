// The handle of a flow: to wait for its end, to cancel or kill it.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/flow.hpp>
#include <rouse/core/limit.hpp>

#include <atomic>
#include <source_location>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {

/// What `spawn` gives: to wait for a flow's end, or to cancel it. Dropping it lets the flow go on
/// by itself; what such a flow throws comes out of `run()`.
///
/// Threads: a handle may be moved, dropped and asked whether its flow has ended in any thread, also
/// while the scheduler is destroyed and afterwards. The rest is the scheduler's thread's (with
/// `threads`, any thread's). Cost: no allocation.
template <class Scheduler>
class flow_handle {
public:
  flow_handle() noexcept = default;
  /// Takes over one reference to `f`.
  explicit flow_handle(flow& f) noexcept : flow_(&f) {}
  flow_handle(flow_handle&& other) noexcept : flow_(std::exchange(other.flow_, nullptr)) {}
  flow_handle& operator=(flow_handle&& other) noexcept {
    if (this != &other) detach(), flow_ = std::exchange(other.flow_, nullptr);
    return *this;
  }
  ~flow_handle() { detach(); }

  /// Lets the flow go on by itself.
  void detach() noexcept {
    if (flow_) std::exchange(flow_, nullptr)->drop();
  }

  /// Gives up the handle: its reference is the caller's to drop.
  [[nodiscard]] flow* release() noexcept { return std::exchange(flow_, nullptr); }

  /// Waits until the flow has ended; throws what left it. One waiter at a time (else
  /// operation_not_permitted). A flow that would wait for its own end gets
  /// resource_deadlock_would_occur.
  template <class How = detail::nothing>
    requires(!detail::limit_first<How>)
  decltype(auto) join(How&& how = How(), detail::call_site at = std::source_location::current()) {
    return begin(no_limit{at}, std::forward<How>(how));
  }
  template <class... How>
  decltype(auto) join(limit l, How&&... how) {
    return begin(std::move(l), std::forward<How>(how)...);
  }

  /// The flow's waiting call, and each later one, ends with operation_canceled.
  void cancel() noexcept {
    if (!flow_ || !flow_->owner) return;
    static_cast<Scheduler*>(flow_->owner)->cancel(*flow_);
  }

  /// Ends the flow at its current or next waiting call, quietly: its destructors run, `join` just
  /// returns. One that has not begun never does; a value or bytes that came first are the flow's,
  /// and it ends at the call after that. A call that destructors make meanwhile gives
  /// operation_canceled.
  ///
  /// Coroutines are destroyed; fibers and threads are unwound by an exception that is no
  /// std::exception (without exceptions: as `cancel`). A thread is not stopped outside of its
  /// calls.
  ///
  /// A fiber or a thread may catch that exception, but must not call on for ever: after 10,000
  /// refused calls (after ten seconds, if there were 100) a message on stderr names where the flow
  /// was spawned, and the program is aborted. The same holds for a flow whose scheduler is being
  /// destroyed.
  void kill() noexcept {
    if (!flow_ || !flow_->owner) return;
    flow_->killed = true;
    cancel();
  }
  [[nodiscard]] bool alive() const noexcept { return !ended(); }

  [[nodiscard]] bool ended() const noexcept {
    return !flow_ || flow_->ended.is_set.load(std::memory_order_acquire);
  }

private:
  template <class Limit, class... How>
  decltype(auto) begin(Limit l, How&&... how) {
    auto* owner = flow_ ? static_cast<Scheduler*>(flow_->owner) : nullptr;
    return Scheduler::initiate(owner, detail::join_call{flow_}, std::move(l),
                               std::forward<How>(how)...);
  }

  flow* flow_ = nullptr;
};

}} // namespace rouse::ROUSE_ABI

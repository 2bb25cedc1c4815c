// The handle of a flow: to wait for its end, to cancel or kill it.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/flow.hpp>
#include <rouse/core/limit.hpp>

#include <atomic>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {

/// The handle of a flow, which `spawn` returns: waits for the end of the flow, cancels or kills it.
///
/// Destroying the handle detaches the flow: it continues, and `run()` rethrows what it throws.
///
/// Threads: any thread may move and destroy a handle, and ask whether its flow has ended, also
/// while the scheduler is being destroyed and afterwards. The other calls belong to the scheduler's
/// thread (with `threads`, to any). Cost: no allocation.
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

  /// Gives up the handle; the flow continues.
  void detach() noexcept {
    if (flow_) std::exchange(flow_, nullptr)->drop();
  }

  /// Gives up the handle and returns the flow; the caller must `drop()` its reference.
  [[nodiscard]] flow* release() noexcept { return std::exchange(flow_, nullptr); }

  /// Waits until the flow has ended, and rethrows the exception that left it.
  ///
  /// @param l  as of any call; `join` then ends with timed_out or operation_canceled, and the flow
  /// continues.
  ///
  /// Errors: operation_not_permitted (another flow waits for this one already);
  /// resource_deadlock_would_occur (the flow would wait for its own end).
  template <class...>
  decltype(auto) join(detail::location at = detail::location::current()) {
    return begin(at);
  }
  template <class First = limit, class How = detail::nothing>
  decltype(auto) join(First&& first, How&& how = How(),
                      detail::call_site at = detail::location::current()) {
    return begin(at, std::forward<First>(first), std::forward<How>(how));
  }

  /// Cancels the flow: its waiting call and each later one fail with operation_canceled.
  void cancel() noexcept {
    if (!flow_ || !flow_->owner) return;
    static_cast<Scheduler*>(flow_->owner)->cancel(*flow_);
  }

  /// Ends the flow at its current or next waiting call: its destructors run, and `join` returns
  /// without an error.
  ///
  /// A flow that has not begun never does. If the current call succeeds nevertheless, the flow
  /// keeps the value or the bytes, and ends at its next call. Calls that the destructors make fail
  /// with operation_canceled.
  ///
  /// Coroutines are destroyed. Fibers and threads are unwound by an exception that is not a
  /// std::exception (without exceptions, `kill` is like `cancel`). A thread is not stopped outside
  /// of its calls.
  ///
  /// A fiber or a thread may catch that exception, but must not keep calling: after 10,000 refused
  /// calls, or 100 in more than ten seconds, a message on stderr says where the flow was spawned,
  /// and the program is aborted. The same holds for a flow of a scheduler that is being destroyed.
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
  template <class... Rest>
  decltype(auto) begin(const detail::location& at, Rest&&... rest) {
    auto* owner = flow_ ? static_cast<Scheduler*>(flow_->owner) : nullptr;
    return detail::begin_call(owner, detail::join_call{flow_}, at, std::forward<Rest>(rest)...);
  }

  flow* flow_ = nullptr;
};

}} // namespace rouse::ROUSE_ABI

// How other threads reach the thread that runs an engine: what they leave for it, and whether it
// has to be woken to look.
#pragma once
#include <rouse/config.hpp>
#include <rouse/detail/remote_queue.hpp>

#include <atomic>

namespace rouse { inline namespace ROUSE_ABI {

class operation;

namespace detail {

/// A function for the thread that runs the engine, which calls `run` once; with false, it must only
/// destroy it. Borrowed from `post` until then.
struct posted_node : remote_node {
  using runner = void(posted_node&, bool call) noexcept;
  explicit posted_node(runner* r) noexcept : run(r) {}
  runner* run;
};

/// A request from any thread to cancel an operation. Borrowed from `request_stop` until it has been
/// carried out or withdrawn.
struct stop_request : remote_node {
  operation* op = nullptr;
  std::atomic<bool> sent{false}; // read only once request_stop() has returned
};

/// Two queues, and the state of the loop that empties them.
///
///   state    the loop's thread                        another thread, after its push
///   awake    works; empties the queues before it      notify(): woken; no system call
///            sleeps, if it was woken
///   asleep   waits in the kernel, or is about to      notify(): woken, and it interrupts the wait
///   woken    looks into the queues next               notify(): nothing to do
///
///   awake --fall_asleep--> asleep --wake_up--> awake          notify: any state --> woken
///   woken --fall_asleep--> fails: the loop does not sleep     woken --wake_up--> awake, look
///
/// Ordering pairs. `notify` and `fall_asleep` exchange the same variable, so either the notifying
/// thread sees `asleep` and interrupts the wait, or the loop sees `woken` and does not sleep.
/// `push` releases and `take` acquires; `wake_up` acquires when it finds `woken`, before the queues
/// are read.
class mailbox {
public:
  remote_queue<posted_node> posted;
  remote_queue<stop_request> stops;

  /// Any thread, after a push. True: the loop sleeps, and the caller must interrupt its wait.
  [[nodiscard]] bool notify() noexcept {
    return state_.exchange(state::woken, std::memory_order_acq_rel) == state::asleep;
  }

  // ---- the loop's thread

  /// Before a wait. False: there is mail, so it must not wait.
  [[nodiscard]] bool fall_asleep() noexcept {
    auto was = state::awake;
    return state_.compare_exchange_strong(was, state::asleep, std::memory_order_acq_rel);
  }
  /// Before a wait that takes place outside of the engine's turns. False: as above; try again.
  [[nodiscard]] bool fall_asleep_outside() noexcept {
    return state_.exchange(state::asleep, std::memory_order_acq_rel) != state::woken;
  }
  /// After a wait. True: it was woken, and the queues may hold something.
  ///
  /// The plain store may overwrite a concurrent notify(); that thread has then seen `asleep` and
  /// interrupts the next wait, which reports it by `note_interruption`.
  [[nodiscard]] bool wake_up() noexcept {
    const state now = state_.load(std::memory_order_relaxed);
    if (now == state::asleep)
      state_.store(state::awake, std::memory_order_relaxed);
    else if (now == state::woken)
      return state_.exchange(state::awake, std::memory_order_acq_rel) == state::woken;
    return false;
  }
  /// The kernel has reported an interruption, which wake_up() may have overlooked.
  void note_interruption() noexcept { state_.store(state::woken, std::memory_order_relaxed); }

  [[nodiscard]] bool empty() const noexcept { return posted.empty() && stops.empty(); }

  /// In a forked child: what was pushed belongs to the parent's threads.
  void renew() noexcept { state_.store(state::awake, std::memory_order_relaxed); }
  void forget() noexcept {
    stops.forget();
    posted.forget();
  }

private:
  enum class state { awake, asleep, woken };
  std::atomic<state> state_{state::awake};
};

} // namespace detail
}} // namespace rouse::ROUSE_ABI

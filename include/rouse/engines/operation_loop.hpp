// An operation's way from `submit` to `complete`, the same in every engine.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/raised.hpp>
#include <rouse/core/waiting.hpp>
#include <rouse/detail/engine_home.hpp>
#include <rouse/detail/intrusive_list.hpp>
#include <rouse/detail/remote_queue.hpp>
#include <rouse/detail/threading.hpp>
#include <rouse/detail/timer_wheel.hpp>
#include <rouse/os/socket.hpp>

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {

/// The half of an engine that knows operations and nothing of sockets.
///
/// An operation is `pending` from `submit` until the kernel's answer has been harvested, then
/// `ready` until it is told, in `turn`. No waiter ever runs on the stack of `submit`, `cancel` or
/// `close` (O2), and never under a lock.
///
/// @tparam Threading  `one_thread` (no locks, no atomics on the path of a call) or `any_thread`.
///
/// Threads: with `one_thread`, all but `post`, `wake` and the destructor of an idle engine belong
/// to the thread that runs it.
template <class Threading>
class operation_loop {
public:
  using threading = Threading;
  using lock_type = typename Threading::lock;

  /// What calls derive from: the operation, with room for what the kernel keeps in it.
  struct operation : rouse::operation, os::kernel_record {
    explicit operation(completion_handler* t) noexcept : rouse::operation(t) {}
    ROUSE_NO_UNIQUE_ADDRESS typename Threading::observer::mark mark;
  };
  using socket_state = rouse::socket_state;

  operation_loop(const operation_loop&) = delete;
  operation_loop& operator=(const operation_loop&) = delete;
  virtual ~operation_loop() = default;

  /// Where the handles of its flows and channels find it, from any thread.
  using home_type = detail::engine_home<operation_loop>;
  [[nodiscard]] home_type& home() noexcept { return *home_; }

  using observer_type = typename Threading::observer;
  [[nodiscard]] observer_type& observer() noexcept { return observer_; }

  // ---- operations

  /// Starts `op`, whose answer is empty. True: it is done already, the answer is in it, and it will
  /// not be told. False: it will be told.
  ///
  /// Calls that could be answered at once are put off to the loop now and then, so that one waiter
  /// cannot starve the rest.
  [[nodiscard]] ROUSE_ALWAYS_INLINE bool submit(operation& op) noexcept {
    if (op.action == action::recv) return submit_recv(op);
    if (op.action == action::send) return submit_send(op);
    if (op.action == action::wait) return submit_wait(op);
    return submit_other(op);
  }

  /// The same of a wait for `what`, whose type is known: a call of no virtual function.
  template <class Awaited>
  [[nodiscard]] ROUSE_ALWAYS_INLINE bool submit(operation& op, Awaited& what) noexcept {
    lock_type lock(mutex_);
    if (op.cancellation != cancellation::all) [[unlikely]]
      forget_cancel_reason(op);
    if (op.cancel_reason || closing_) [[unlikely]]
      return submit_elsewhere(op);
    if (enter(op, what)) return answer_at_once(op);
    pend(op, waiting_);
    return false;
  }

  /// Whether a visit may be done without an operation: it need not be put off. (An observer is to
  /// hear of each call.)
  [[nodiscard]] ROUSE_ALWAYS_INLINE bool may_enter() const noexcept
    requires(!Threading::shared && std::is_same_v<observer_type, no_observer>)
  {
    return !closing_ && instant_left_ != 0;
  }
  /// Does it. Null: it is done, unless `why` says what went wrong; else the line to stand in.
  template <class Waiter>
  [[nodiscard]] ROUSE_ALWAYS_INLINE auto try_enter(Waiter& waiter, failure& why) noexcept {
    completions completed(ready_, timers_);
    auto* const line = waiter.try_enter(why, completed);
    if (!line) --instant_left_;
    return line;
  }
  /// `op` waits for what `who` came for.
  template <class Line, class Waiter>
  ROUSE_ALWAYS_INLINE void enqueue(Line& line, Waiter& waiter, operation& op) noexcept {
    request_wait(op, &waiter);
    waiter.enqueue(line, op);
    pend(op, waiting_);
  }

  /// For a waiter that must not go on inside its own call (a handler): tells an operation that
  /// `submit` found done.
  void defer(operation& op) noexcept {
    lock_type lock(mutex_);
    if (inert_) [[unlikely]]
      return put_refused(op);
    put_ready(op);
    ++active_;
    observer_.begun(op);
  }

  /// A call is done without having been submitted (an empty send, a closed socket): it counts like
  /// any other. Returns as `submit` does.
  [[nodiscard]] bool count(operation& op) noexcept {
    lock_type lock(mutex_);
    if (inert_ || within_budget()) return true;
    defer_to_loop(op);
    return false;
  }

  /// Asks for the end of `op`, for the reason given. A request: if the kernel's answer came first,
  /// that stands (O4). An operation that is not pending remembers the reason, and ends with it when
  /// it is next submitted.
  void cancel(rouse::operation& op, failure reason = std::errc::operation_canceled) noexcept {
    lock_type lock(mutex_);
    end(op, reason);
  }

  /// Ends `op` and waits until nothing of it is left with the kernel; it is not told. Its memory
  /// may then go (O5).
  /// @returns false: it was told, or is being told by another thread, or was not in progress.
  bool abandon(operation& op) noexcept {
    lock_type lock(mutex_);
    if (inert_) [[unlikely]]
      return forget(op);
    if (op.state == operation_state::pending) end(op, std::errc::operation_canceled);
    while (op.state == operation_state::pending) reap(lock);
    if (op.state == operation_state::idle) return false;
    op.unlink();
    op.state = operation_state::idle;
    --active_;
    observer_.ended(op);
    return true;
  }

  /// Calls `f` with the lock held: whichever waiting operations it answers (see `answer`) complete.
  template <class F>
  void with_completions(F&& f) noexcept {
    lock_type lock(mutex_);
    if constexpr (Threading::shared) {
      if (inert_) return; // what waits may lie on the stacks of threads that are the parent's alone
    }
    completions completed(ready_, timers_);
    f(completed);
    if (completed.any()) wake_others();
  }
  /// Opens a gate: the operation that waits for it, now or later, completes.
  void set(one_shot_event& g) noexcept {
    with_completions([&](completions& completed) { g.set(completed); });
    wake_others(); // whoever runs the loop may look for the end of a flow, whoever waits for it
  }

  /// From any thread: ends an operation of the thread that runs the engine. The request is borrowed
  /// until it was carried out or `withdraw` has returned.
  struct stop_request : detail::remote_node {
    rouse::operation* op = nullptr;
    std::atomic<bool> sent{false};
  };
  void request_stop(stop_request& r) noexcept {
    r.sent.store(true,
                 std::memory_order_relaxed); // read by withdraw() only once this call has returned
    stops_.push(r);
    wake();
  }
  void withdraw(stop_request& r) noexcept {
    if (!r.sent.load(std::memory_order_relaxed)) return;
    lock_type lock(mutex_);
    run_stops();
  }

  // ---- in a forked child

  /// Whether this is the copy, in a forked child, of an engine that its parent has used (O8). It
  /// asks the kernel for nothing, begins nothing (each call ends with operation_not_permitted), and
  /// tells nothing of what its parent's waiters wait for: they do not exist here.
  [[nodiscard]] bool inert() const noexcept { return inert_; }

  /// Tells the calls that were refused and had to be deferred. Returns how many.
  std::size_t complete_refused() noexcept {
    lock_type lock(mutex_);
    detail::list<rouse::operation> those; // the next ones have to wait
    while (!refused_.empty()) those.push_back(refused_.pop_front());
    std::size_t completed = 0;
    for (; !those.empty(); ++completed) {
      rouse::operation& op = those.pop_front();
      op.state = operation_state::idle;
      lock.unlock();
      op.complete(op);
      lock.lock();
    }
    return completed;
  }

  /// Refuses, and tells, an operation that began in the parent, in a call further up on the stack
  /// of the thread that forked. Harmless when it was told already.
  void refuse(rouse::operation& op) noexcept {
    {
      lock_type lock(mutex_);
      if (!forget(op)) return;
    }
    op.error = std::errc::operation_not_permitted;
    op.complete(op);
  }

  /// From now on a forked child's copy is inert, whether or not the loop has run.
  void belong_to_process() noexcept {
    lock_type lock(mutex_);
    used_ = true;
  }

  // ---- the loop

  /// Nothing is pending, ready or posted.
  [[nodiscard]] bool idle() noexcept {
    lock_type lock(mutex_);
    return active_ == 0 && posted_.empty();
  }

  /// Whether this thread may run the engine: some kernel interfaces bind operations in flight to
  /// the thread that ran it before.
  [[nodiscard]] bool usable_here() const noexcept {
    return !bound_to_ || bound_to_ == detail::this_thread() || !in_flight();
  }

  /// How many operations are in progress: submitted, and not yet told.
  [[nodiscard]] std::size_t active() noexcept {
    lock_type lock(mutex_);
    return active_;
  }

  /// One turn: waits until something is ready, `until` has passed, or `wake` was called; then tells
  /// what is ready.
  /// @param until  `time_point::min()` does not wait.
  /// @returns how many waiters were told and posted functions run.
  virtual std::size_t turn(clock::time_point until) noexcept = 0;

  /// A function for the thread that runs the engine; `run` is called there once, with false if it
  /// must only be destroyed.
  struct posted : detail::remote_node {
    using runner = void(posted&, bool call) noexcept;
    explicit posted(runner* r) noexcept : run(r) {}
    runner* run;
  };
  /// Any thread.
  void post(posted& p) noexcept {
    posted_.push(p);
    wake();
  }

  /// For a foreign loop that waits in place of `turn`: the kernel is given what was submitted, and
  /// until `turn` is called, `wake` makes `wait_handle()` ready.
  /// @returns when the next turn is due at the latest; `time_point::min()`: at once.
  [[nodiscard]] clock::time_point rest_outside() noexcept
    requires(!Threading::shared)
  {
    lock_type lock(mutex_);
    bool listens;
    do listens = harvest_outside(lock); // takes earlier wake-ups from the handle as well
    while (loop_state_.exchange(loop_state::asleep, std::memory_order_acq_rel) ==
           loop_state::woken);
    const bool calm =
        listens && ready_.empty() && later_.empty() && posted_.empty() && stops_.empty();
    if (calm) return timers_.next();
    kicked(); // so that the next turn looks at what other threads have handed over
    return (clock::time_point::min)();
  }
  /// What a foreign loop waits for until it is readable; none where the kernel has no such handle.
  [[nodiscard]] virtual native_handle_type wait_handle() noexcept { return os::no_handle; }

  /// Makes `turn` return if it waits, or the next one not wait. Any thread. No system call while
  /// the loop is awake.
  void wake() noexcept {
    // Partner of harvest_some(): either this thread sees that the loop sleeps, or the loop sees
    // that it was woken.
    if (loop_state_.exchange(loop_state::woken, std::memory_order_acq_rel) == loop_state::asleep)
      kick();
  }

  /// Keeps what a flow threw, for whoever runs the loop (O7).
  void raise(std::exception_ptr e) noexcept {
    lock_type lock(mutex_);
    raised_.add(std::move(e));
  }
  /// The same, in a place that is the engine's from then on.
  void raise(detail::raised& r) noexcept {
    lock_type lock(mutex_);
    raised_.add(r);
  }
  /// The oldest exception that was kept, or null.
  [[nodiscard]] std::exception_ptr take_raised() noexcept {
    if (detail::raised* const oldest = pop_raised()) [[unlikely]]
      return oldest->take(); // without the lock: it may destroy a flow
    return nullptr;
  }

protected:
  operation_loop() : timers_(clock::now()) {}

  // ---- what an engine adds, beside `turn`

  /// `submit`, by what is asked for: most calls are recvs and sends.
  virtual bool submit_recv(operation& op) noexcept = 0;
  virtual bool submit_send(operation& op) noexcept = 0;
  virtual bool submit_other(operation& op) noexcept = 0;

  // ---- all but kick() are called with the lock held

  /// Asks the kernel to end `op`; `finish` is called, now or when the kernel answers.
  virtual void interrupt(operation& op) noexcept = 0;
  /// Waits for the kernel's answers until `until` (min: not at all), with the lock released, and
  /// calls `finish` for each.
  virtual void harvest(clock::time_point until, lock_type& lock) noexcept = 0;
  /// Like `harvest` without waiting; afterwards `wait_handle()` becomes readable when the kernel
  /// has an answer. False: it has one already, or cannot make the handle readable.
  virtual bool harvest_outside(lock_type& lock) noexcept {
    harvest((clock::time_point::min)(), lock);
    return true;
  }
  /// Ends the wait of another thread in `harvest`. Any thread.
  virtual void kick() noexcept = 0;

  /// Whether operations are with the kernel, of an engine that is bound to a thread.
  [[nodiscard]] virtual bool in_flight() const noexcept { return false; }
  const void* bound_to_ = nullptr; ///< that thread, as `this_thread` has it

  // ---- what an engine's `submit_...` and `turn` are: this, and in its midst what is the engine's
  // own (a callable rather than a virtual function, so that a call is one piece of straight code)

  /// @param queue  where `op`, which concerns a socket, will wait.
  /// @param begin  gives it to the kernel. True: done, the answer is in it. False: `finish` will be
  /// called for it.
  template <class Begin>
  ROUSE_ALWAYS_INLINE bool submit_by(operation& op, detail::list<rouse::operation>& queue,
                                     Begin begin) noexcept {
    lock_type lock(mutex_);
    if (!may_begin(op) && !may_after_all(op)) [[unlikely]]
      return submit_elsewhere(op);
    op.cancel_count = op.target->cancel_count;
    if (begin()) return answer_at_once(op);
    op.apply_default_timeout();
    pend(op, queue);
    return false;
  }
  /// The same of any operation; `begin` is given the queue.
  template <class Begin>
  ROUSE_ALWAYS_INLINE bool submit_other_by(operation& op, Begin begin) noexcept {
    if (op.target && op.action < action::wait) [[likely]] {
      detail::list<rouse::operation>& queue = op.target->queue_of(op);
      return submit_by(op, queue, [&] { return begin(queue); });
    }
    lock_type lock(mutex_);
    if (op.cancellation != cancellation::all) forget_cancel_reason(op);
    return submit_elsewhere(op);
  }

  /// A turn before its harvest. Returns until when that may wait.
  ROUSE_ALWAYS_INLINE clock::time_point begin_turn(clock::time_point until,
                                                   lock_type& lock) noexcept {
    while (!later_.empty()) [[unlikely]]
      ready_.push_back(later_.pop_front());
    if constexpr (Threading::shared)
      while (harvesting_) harvested_.wait(lock);
    used_ = true;
    until = fall_asleep(until);
    begin_harvest(until);
    return until;
  }
  /// And after it.
  ROUSE_ALWAYS_INLINE std::size_t end_turn(lock_type& lock) noexcept {
    end_harvest();
    std::size_t done = 0;
    if constexpr (Threading::shared) completing_ = detail::this_thread();
    if (wake_up()) [[unlikely]]
      done = run_remote(lock);
    if (!timers_.empty()) [[unlikely]]
      expire(); // only now: a limit that has passed already still takes what the kernel had
    done += complete_ready(lock);
    if constexpr (Threading::shared) completing_ = nullptr;
    observer_.turned(done);
    return done;
  }

  // ---- what an engine calls, with the lock held

  /// The kernel says that `kick` was called. Such a wake-up may have come while this thread noted
  /// that it is awake, and so have been overlooked: it is looked for now.
  void kicked() noexcept { loop_state_.store(loop_state::woken, std::memory_order_relaxed); }

  /// The kernel's answer to a pending operation.
  ROUSE_ALWAYS_INLINE void finish(operation& op, failure error, std::size_t bytes) noexcept {
    // Canceled on request: say which request it was.
    if (error == failure(std::errc::operation_canceled) && op.cancel_reason) [[unlikely]]
      error = op.cancel_reason;
    op.error = error;
    op.bytes = bytes;
    finish(op);
  }
  /// The same where the answer is in `op`, and is not that it was canceled.
  ROUSE_ALWAYS_INLINE void finish(operation& op) noexcept { completions(ready_, timers_).add(op); }

  /// Asks for the end of everything that is pending on `d`. With the lock held.
  void cancel_all(socket_state& d) noexcept {
    const auto stop = [&](rouse::operation& op) { end(op, std::errc::operation_canceled); };
    ++d.cancel_count; // seen by calls that are between two requests
    d.inbound.for_each(stop);
    d.outbound.for_each(stop);
    d.urgent.for_each(stop);
    d.paused.for_each(stop);
  }

  /// From now on nothing is begun any more; asks for the end of all that waits for no socket. With
  /// the lock held.
  void begin_closing() noexcept {
    closing_ = true;
    refusals_left_ = 1000 * (active_ + 1000); // far more than ends in an orderly way would make
    waiting_.for_each([&](rouse::operation& op) { end(op, std::errc::operation_canceled); });
  }

  /// `visit(const operation&)` for each that is in progress, but for those that are pending on a
  /// socket. With the lock held.
  template <class F>
  void for_each_elsewhere(F& try_enter) {
    for (auto* list : {&waiting_, &ready_, &later_})
      list->for_each([&](rouse::operation& op) { try_enter(static_cast<const operation&>(op)); });
  }

  /// Destroys the posted functions that have not run.
  void drop_posted() noexcept {
    posted_.take([](posted& p) { p.run(p, false); });
  }

  /// Waits for some of the kernel's answers; whom they concern is told later. With the lock held.
  void reap(lock_type& lock) noexcept {
    if (harvesting_) return harvested_.wait(lock);
    const auto until = (clock::time_point::max)();
    begin_harvest(until);
    harvest(until, lock);
    end_harvest();
  }

  // ---- in a forked child

  /// Nothing that is locked now will ever be unlocked by the thread that locked it.
  void renew_locks() noexcept {
    if constexpr (Threading::shared) {
      ::new (&mutex_) typename Threading::mutex;
      ::new (&harvested_) typename Threading::condition;
    }
    home_->renew_lock();
    harvesting_ = false;
    loop_state_.store(loop_state::awake, std::memory_order_relaxed);
  }
  [[nodiscard]] bool used() const noexcept { return used_; }

  /// The operations in progress stay where they are, for ever. What was posted is left alone.
  void become_inert() noexcept {
    inert_ = closing_ = true;
    completions_a_turn_ = 0;
    active_ = 0;
    stops_.forget();
    posted_.forget();
  }

  ROUSE_NO_UNIQUE_ADDRESS typename Threading::mutex mutex_;

private:
  struct home_closer {
    void operator()(home_type* h) const noexcept { h->drop(); }
  };
  enum class loop_state { awake, asleep, woken };
  static constexpr int instant_budget =
      32; // calls in a row that a waiter may find done before others get their turn

  ROUSE_ALWAYS_INLINE bool may_begin(const operation& op) const noexcept {
    return !op.cancel_reason && !closing_ && !op.target->closing &&
           (!op.continues || op.cancel_count == op.target->cancel_count);
  }
  // Whether nothing is against it but what it does not heed.
  ROUSE_COLD bool may_after_all(operation& op) const noexcept {
    if (op.cancellation == cancellation::all) return false;
    forget_cancel_reason(op);
    return may_begin(op);
  }

  // Most waits are no socket's.
  ROUSE_NOINLINE bool submit_wait(operation& op) noexcept {
    if (op.awaited && !op.target) return submit(op, *op.awaited);
    lock_type lock(mutex_);
    if (op.cancellation != cancellation::all) forget_cancel_reason(op);
    if (op.cancel_reason || closing_ || op.target) [[unlikely]]
      return submit_elsewhere(op);
    pend(op, waiting_);
    return false;
  }

  // What is not for the kernel, or not any more.
  ROUSE_NOINLINE bool submit_elsewhere(operation& op) noexcept {
    if (inert_) {
      op.error = op.cancel_reason ? op.cancel_reason : failure(std::errc::operation_not_permitted);
      return true;
    }
    return start_elsewhere(op) && answer_at_once(op);
  }
  // The engine goes. What no scheduler can end (a coroutine of another library, say) may call on
  // without end.
  ROUSE_COLD void note_refusal() noexcept {
    if (refusals_left_-- != 0) return;
    std::fputs("rouse: a scheduler is being destroyed, and its waiting calls end with "
               "operation_canceled, but they are made again without end\n",
               stderr);
    std::abort();
  }
  // True: done.
  bool start_elsewhere(operation& op) noexcept {
    if (op.cancel_reason || closing_) {
      if (closing_) note_refusal();
      op.error = op.cancel_reason ? op.cancel_reason : failure(std::errc::operation_canceled);
      return true;
    }
    if (op.target) {
      if (op.continues && op.cancel_count != op.target->cancel_count)
        op.error = std::errc::operation_canceled;
      else if (!op.target->open())
        op.error = std::errc::bad_file_descriptor;
      if (op.error) return true;
      op.cancel_count = op.target->cancel_count;
      pend(op, op.target->paused);
    } else { // a yield
      put_off(op);
      wake_others();
    }
    return false;
  }

  ROUSE_ALWAYS_INLINE void pend(operation& op, detail::list<rouse::operation>& queue) noexcept {
    queue.push_back(op);
    op.state = operation_state::pending;
    ++active_;
    observer_.begun(op);
    if (op.limited) [[unlikely]]
      limit_to(op);
  }

  // False: its waiter has had so many in a row that this one is told in the next turn.
  ROUSE_ALWAYS_INLINE bool answer_at_once(operation& op) noexcept {
    if (within_budget()) [[likely]] {
      observer_.at_once(op);
      return true;
    }
    defer_to_loop(op);
    return false;
  }
  // Of the threads that share an engine, only the one in the loop keeps others waiting.
  ROUSE_ALWAYS_INLINE bool within_budget() noexcept {
    if constexpr (Threading::shared) {
      if (completing_ != detail::this_thread()) [[likely]]
        return true;
    }
    return --instant_left_ >= 0;
  }
  ROUSE_NOINLINE void defer_to_loop(operation& op) noexcept {
    instant_left_ = 0;
    put_off(op);
  }

  static void forget_cancel_reason(operation& op) noexcept {
    if (op.cancellation == cancellation::none || op.cancel_reason == failure(std::errc::timed_out))
      op.cancel_reason = {};
    if (op.cancellation == cancellation::requests) op.cancellation = cancellation::all;
  }

  detail::raised* pop_raised() noexcept {
    lock_type lock(mutex_);
    return raised_.pop();
  }

  ROUSE_NOINLINE void limit_to(operation& op) noexcept {
    timers_.arm(op, op.due);
    if (Threading::shared && op.due < sleeping_until_) wake();
  }

  template <class Awaited>
  ROUSE_ALWAYS_INLINE bool enter(operation& op, Awaited& what) noexcept {
    completions completed(ready_, timers_);
    const bool done = what.enter(op, completed);
    if (completed.any()) wake_others();
    return done;
  }

  void end(rouse::operation& base, failure reason) noexcept {
    auto& op = static_cast<operation&>(base);
    // A cancel outranks a limit, and the first request is the only one that the kernel hears of.
    const bool asked = static_cast<bool>(op.cancel_reason);
    if (asked && reason != failure(std::errc::operation_canceled)) return;
    op.cancel_reason = reason;
    if (op.state != operation_state::pending || asked || op.cancellation == cancellation::none)
      return;
    if (inert_) [[unlikely]]
      return; // it is the parent's, and not known to this process's kernel interface
    if (op.action == action::wait)
      finish_wait(op, std::errc::operation_canceled);
    else
      interrupt(op);
    wake_others();
  }

  void finish_wait(operation& op, failure why) noexcept {
    if (op.awaited) op.awaited->leave(op);
    finish(op, why, 0);
  }

  void put_ready(operation& op) noexcept {
    op.state = operation_state::ready;
    ready_.push_back(op);
  }
  void put_refused(operation& op) noexcept {
    op.state = operation_state::ready;
    refused_.push_back(op);
  }
  // Of an inert engine: nothing refers to `op` any more. False: it was not in progress.
  bool forget(rouse::operation& op) noexcept {
    if (op.state == operation_state::idle) return false;
    if (op.armed()) timers_.disarm(op);
    if (op.state == operation_state::pending && op.action == action::wait && op.awaited)
      op.awaited->leave(op);
    op.unlink();
    op.state = operation_state::idle;
    return true;
  }
  // To be told in the next turn, after the kernel was asked again.
  void put_off(operation& op) noexcept {
    op.state = operation_state::ready;
    later_.push_back(op);
    ++active_;
    observer_.begun(op);
  }

  void run_stops() noexcept {
    stops_.take([&](stop_request& r) { end(*r.op, std::errc::operation_canceled); });
  }

  // What other threads have handed over. Each has called `wake` then, so nothing slept on it.
  ROUSE_NOINLINE std::size_t run_remote(lock_type& lock) noexcept {
    run_stops();
    std::size_t done = 0;
    lock.unlock();
    posted_.take([&](posted& p) {
      if (inert_) return; // one of them has forked: the others are the parent's
      ++done;
      p.run(p, true);
    });
    lock.lock();
    return done;
  }

  ROUSE_NOINLINE void expire() noexcept {
    timers_.expire(clock::now(), [&](detail::timer_node& n) {
      end(static_cast<operation&>(n), std::errc::timed_out);
    });
  }

  // Until when, if at all.
  ROUSE_ALWAYS_INLINE clock::time_point fall_asleep(clock::time_point until) noexcept {
    // Whoever harvested meanwhile (a close in another thread) may have made something ready.
    bool sleeps = until != (clock::time_point::min)() && ready_.empty();
    if (sleeps) {
      auto was = loop_state::awake;
      sleeps =
          loop_state_.compare_exchange_strong(was, loop_state::asleep, std::memory_order_acq_rel);
    }
    if (!sleeps) return (clock::time_point::min)();
    return timers_.empty() ? until : next_limit(until);
  }
  ROUSE_NOINLINE clock::time_point next_limit(clock::time_point until) const noexcept {
    const auto next = timers_.next();
    return next < until ? next : until;
  }
  // True: it was woken, and others may have handed something over.
  ROUSE_ALWAYS_INLINE bool wake_up() noexcept {
    // Whoever finds it asleep until it is noted to be awake, kicks: the next wait will see it.
    // Whoever finds it woken does nothing more: this acquires what he has pushed, and is done
    // before the queues are looked at, where nothing is unless he has come to here.
    const loop_state now = loop_state_.load(std::memory_order_relaxed);
    if (now == loop_state::asleep) [[likely]]
      loop_state_.store(loop_state::awake, std::memory_order_relaxed);
    else if (now == loop_state::woken)
      return loop_state_.exchange(loop_state::awake, std::memory_order_acq_rel) ==
             loop_state::woken;
    return false;
  }

  // One thread at a time harvests.
  void begin_harvest(clock::time_point until) noexcept {
    if constexpr (Threading::shared) {
      harvesting_ = true;
      sleeping_until_ = until;
    }
  }
  void end_harvest() noexcept {
    if constexpr (Threading::shared) {
      sleeping_until_ = (clock::time_point::min)();
      harvesting_ = false;
      harvested_.notify_all();
    }
  }

  ROUSE_ALWAYS_INLINE std::size_t complete_ready(lock_type& lock) noexcept {
    std::size_t completed = 0;
    for (; completed < completions_a_turn_ && !ready_.empty(); ++completed) {
      auto& op = static_cast<operation&>(ready_.pop_front());
      op.state = operation_state::idle;
      --active_;
      observer_.ended(op);
      instant_left_ = instant_budget;
      lock.unlock();
      op.complete(op);
      lock.lock();
    }
    instant_left_ = instant_budget;
    return completed;
  }

  // In a shared engine, whoever sleeps in harvest has to see what another thread changed.
  void wake_others() noexcept {
    if constexpr (Threading::shared) wake();
  }

  ROUSE_NO_UNIQUE_ADDRESS typename Threading::condition harvested_; // harvesting_ has become false
  bool harvesting_ = false;
  bool closing_ = false;
  bool used_ = false; // the loop has run
  bool inert_ = false;
  int instant_left_ = instant_budget;
  // Waiters told before the kernel is asked again; none in a forked child, from the moment on that
  // one of them has forked.
  std::size_t completions_a_turn_ = 1024;
  const void* completing_ = nullptr; // the thread that tells, of those that share the engine
  std::size_t active_ = 0; // submitted, not yet told
  std::size_t refusals_left_ = 0; // before the program ends
  detail::list<rouse::operation> ready_; // to be told in this turn
  detail::list<rouse::operation> later_; // to be told in the next
  detail::list<rouse::operation> waiting_; // pending, but not on a socket
  detail::list<rouse::operation> refused_; // by an inert engine, to be told
  detail::timer_wheel timers_;
  clock::time_point sleeping_until_ = (clock::time_point::min)();
  std::atomic<loop_state> loop_state_{loop_state::awake};
  detail::remote_queue<stop_request> stops_;
  detail::remote_queue<posted> posted_;
  detail::raised_list raised_;
  std::unique_ptr<home_type, home_closer> home_{new home_type(*this)};
  ROUSE_NO_UNIQUE_ADDRESS observer_type observer_;
};

}} // namespace rouse::ROUSE_ABI

// The engine: an operation's way from `submit` to `complete`, the same for every kernel interface.
//
//   wakers, calls               engine                               driver
//
//   submit(op) ---------------> may it start?
//                               driver.start(op) ------------------> does it, or asks the kernel
//      true: result in op <---- within the budget? <---------------- true
//      false <----------------- op joins its socket's queue <------- false
//
//   turn(until) --------------> mail, or something ready? else:
//                               driver.wait(until, lock, done) ----> waits, with the lock released
//                               op moves to the ready list <-------- done.add(op, error, bytes)
//      op.complete(op) <------- one by one, with the lock released
//
//   cancel(op) ---------------> driver.request_cancel(op, done) ---> the completion still comes
//   any thread: wake() -------> mailbox: does the loop sleep? -----> driver.wake()
#pragma once
#include <rouse/concepts/driver.hpp>
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/raised.hpp>
#include <rouse/core/waiting.hpp>
#include <rouse/detail/buffer_pool.hpp>
#include <rouse/detail/engine_home.hpp>
#include <rouse/detail/intrusive_list.hpp>
#include <rouse/detail/mailbox.hpp>
#include <rouse/detail/threading.hpp>
#include <rouse/engines/completion_queue.hpp>
#include <rouse/engines/direct_calls.hpp>
#include <rouse/os/fork.hpp>
#include <rouse/os/socket.hpp>

#include <cstddef>
#include <exception>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {

/// The completion engine. It owns a driver, which is one kernel interface, and does for every
/// driver what none of them should have to know: limits, cancels, fairness, wake-ups from other
/// threads, the records of open sockets.
///
/// An operation is `pending` from `submit` until the driver reports it, then `ready` until its
/// `complete` is called in `turn`. No waiter ever runs inside `submit`, `cancel` or `close` (O2),
/// and none while the lock is held.
///
/// @tparam Driver  the kernel interface: see the concept `driver`.
/// @tparam Threading  `one_thread` (no lock, no atomic access on a call's path) or `any_thread`.
///
/// Threads: with `one_thread`, everything but `post`, `wake`, `request_stop` and the destructor of
/// an idle engine belongs to the thread that runs the engine.
template <class Driver, class Threading = one_thread>
class basic_engine {
  static_assert((explain_driver<Driver>(), driver<Driver>));

public:
  using driver_type = Driver;
  using threading = Threading;
  using lock_type = typename Threading::lock;
  using observer_type = typename Threading::observer;
  using home_type = detail::engine_home<basic_engine>;
  using posted = detail::posted_node;
  using stop_request = detail::stop_request;
  using sockets = typename Driver::sockets;
  using direct_type = typename detail::direct_calls_of<Driver, Threading>::type;

  /// What calls derive from: an operation with room for what the driver keeps in it.
  struct operation : Driver::operation {
    using Driver::operation::operation;
    ROUSE_NO_UNIQUE_ADDRESS typename observer_type::mark mark;
    ROUSE_NO_UNIQUE_ADDRESS typename direct_type::mark direct;
  };

  /// Null, with the reason in `why`, if the kernel refuses.
  /// @param options  for the driver's `open`.
  template <class... Options>
  [[nodiscard]] static std::unique_ptr<basic_engine> make(failure& why, Options... options);
  basic_engine(const basic_engine&) = delete;
  basic_engine& operator=(const basic_engine&) = delete;
  ~basic_engine();

  /// Which kernel interface this is, and why a better one was refused.
  [[nodiscard]] std::string report() const { return driver_.report(); }
  /// Where handles of flows and channels find this engine, from any thread.
  [[nodiscard]] home_type& home() noexcept { return *home_; }
  [[nodiscard]] observer_type& observer() noexcept { return queue_.observer(); }
  [[nodiscard]] detail::buffer_pool& buffers() noexcept { return *buffers_; } ///< for `receive`

  // ---- operations

  /// Starts `op`. True: done, the result is in it. False: its `complete` will be called.
  ///
  /// Now and then a call that could be done at once is deferred to the loop, so that one flow
  /// cannot starve the others.
  [[nodiscard]] ROUSE_ALWAYS_INLINE bool submit(operation& op) noexcept {
    if (op.action == action::recv) return submit_bytes<action::recv>(op);
    if (op.action == action::send) return submit_bytes<action::send>(op);
    if (op.action == action::wait) return submit_wait(op);
    return submit_other(op);
  }

  /// The same for a wait for `what`, if its type is known: no virtual call.
  template <class Awaited>
  [[nodiscard]] ROUSE_ALWAYS_INLINE bool submit(operation& op, Awaited& what) noexcept {
    lock_type lock(mutex_);
    op.forget_ignored_cancel();
    if (op.cancelled() || closing_) return submit_elsewhere(op);
    if (enter(op, what)) return queue_.complete_at_once(op);
    add_pending(op, waiting_);
    return false;
  }

  /// Whether a waiter may enter without an operation: its call need not be deferred, and no
  /// observer wants to hear of it.
  [[nodiscard]] bool may_enter() const noexcept
    requires(!Threading::shared && std::is_same_v<observer_type, no_observer>)
  {
    return !closing_ && queue_.may_spend();
  }
  /// Does so. Null: the call is done, or `why` says what went wrong; else the queue to wait in.
  template <class Waiter>
  [[nodiscard]] ROUSE_ALWAYS_INLINE auto try_enter(Waiter& waiter, failure& why) noexcept {
    auto* const queue = waiter.try_enter(why, queue_.done());
    if (!queue) queue_.spend();
    return queue;
  }
  /// `op` waits in that queue.
  template <class Queue, class Waiter>
  void enqueue(Queue& queue, Waiter& waiter, operation& op) noexcept {
    request_wait(op, &waiter);
    waiter.enqueue(queue, op);
    add_pending(op, waiting_);
  }

  bool run_direct(operation& op) noexcept { return direct_.run(*this, op); } ///< on op's thread
  /// Any thread: if the loop has something to do, the thread of some direct call is to run it.
  void call_to_loop() noexcept { direct_.call_to_loop(*this); }

  /// Completes `op`, which `submit` found done, in the next turn: for callers that must not go on
  /// inside their own call (handlers).
  void defer(operation& op) noexcept;

  /// A call is done without having been submitted (an empty send, a closed socket): it counts
  /// against the budget like any other. Returns what `submit` returns.
  [[nodiscard]] bool count(operation& op) noexcept;

  /// Requests the end of `op`. If the kernel's result comes first, that result stands (O4). An
  /// operation that is not pending keeps the reason and ends with it when it is next submitted.
  void cancel(rouse::operation& op) noexcept;

  /// Cancels `op` and waits until the kernel has let go of it; its `complete` is not called, and
  /// its memory may then be freed (O5).
  /// @returns false if `complete` was called, is being called by another thread, or `op` was idle.
  bool abandon(operation& op) noexcept;

  /// Calls `f(completions&)` with the lock held, for code that completes waiting operations.
  template <class F>
  void with_completions(F&& f) noexcept {
    lock_type lock(mutex_);
    if constexpr (Threading::shared) {
      if (inert_) return; // the waiters may be on stacks of threads that exist in the parent only
    }
    f(queue_.done());
    if (queue_.done().any()) wake_others();
  }
  /// Sets an event: the operation that waits for it, now or later, completes.
  void set(one_shot_event& event) noexcept;

  /// From any thread: cancels an operation of the thread that runs the engine.
  void request_stop(stop_request& r) noexcept;
  /// Nothing refers to `r` any more when this returns.
  void withdraw(stop_request& r) noexcept;

  // ---- sockets

  /// A new socket's record, which the engine owns until `give_back`; null with the reason in `why`.
  [[nodiscard]] socket_state* open(void* owner, int family, int type, int protocol,
                                   failure& why) noexcept;

  /// The record of a socket made elsewhere, which belongs to the engine from then on. On failure it
  /// stays the caller's, and open.
  [[nodiscard]] socket_state* adopt(void* owner, native_handle_type h, failure& why) noexcept;
  /// The same if the caller knows what it is. Family and type 0: a file that is no socket, on which
  /// only waits for readability are possible.
  [[nodiscard]] socket_state* adopt(void* owner, native_handle_type h, int family, int type,
                                    failure& why) noexcept;

  /// Cancels everything pending on `s` (it completes in the next turn, O6), then closes the handle.
  /// The record stays.
  void close(socket_state& s) noexcept;
  /// The same, but the caller gets the handle, in blocking mode, as the system creates sockets.
  native_handle_type release(socket_state& s) noexcept;
  /// Cancels everything pending on `s`; the socket stays open.
  void cancel(socket_state& s) noexcept;
  /// Whether calls are queued on `s`, which a call that does not wait must not overtake.
  [[nodiscard]] bool busy(const socket_state& s, bool inward) noexcept;
  /// The socket no longer needs its record, which is closed if need be.
  void give_back(socket_state& s) noexcept;
  /// A scheduler is being destroyed: its sockets are closed, and own their records from now on.
  void orphan(const void* owner) noexcept;

  // ---- the loop

  /// One turn: waits until something is ready, `until` has passed or `wake` is called, then
  /// completes what is ready.
  /// @param until  `time_point::min()` does not wait.
  /// @returns the number of completed operations and posted functions.
  std::size_t turn(clock::time_point until) noexcept {
    return with_driver([&]<class D>(std::type_identity<D>) { return turn_with<D>(until); });
  }

  /// Nothing is pending, ready or posted, except for direct calls.
  [[nodiscard]] bool idle() noexcept;
  /// The number of operations in progress: submitted, and not yet completed.
  [[nodiscard]] std::size_t active() noexcept;
  /// Whether the calling thread may run the engine: operations in flight may belong to another.
  [[nodiscard]] bool usable_here() const noexcept;

  /// Any thread: `p.run` is called by the thread that runs the engine.
  void post(posted& p) noexcept {
    mailbox_.posted.push(p);
    wake();
  }
  /// Any thread: makes `turn` return if it waits, or the next one not wait. No system call while
  /// the loop is awake.
  void wake() noexcept {
    if (mailbox_.notify()) driver_.wake();
  }

  /// For a foreign loop that waits in place of `turn`: submits everything to the kernel; until the
  /// next `turn`, `wake` makes `wait_handle()` readable.
  /// @returns when `turn` is due at the latest; `time_point::min()`: at once.
  [[nodiscard]] clock::time_point prepare_foreign_wait() noexcept
    requires(!Threading::shared);
  /// What a foreign loop polls for readability; `no_handle` if the driver has no such handle.
  [[nodiscard]] native_handle_type wait_handle() noexcept;

  /// Keeps an exception that left a flow, for the caller of run() (O7).
  void raise(std::exception_ptr e) noexcept;
  /// The same; the engine owns `r` from then on.
  void raise(detail::raised& r) noexcept;
  [[nodiscard]] bool any_raised() noexcept;
  /// The oldest exception that was kept, or null.
  [[nodiscard]] std::exception_ptr take_raised() noexcept;

  /// Cancels everything pending and completes it; whatever is submitted afterwards is canceled.
  void shut_down() noexcept;

  /// For diagnosis: calls `visit(const operation&)` for each operation in progress, with the lock
  /// held. The socket of an operation that is `ready` may be gone.
  template <class F>
  void for_each_operation(F visit);

  // ---- in a forked child (O8)

  /// Whether this is the copy, in a forked child, of an engine that the parent has used. It asks
  /// the kernel for nothing, every call ends with operation_not_permitted, and operations that the
  /// parent's flows wait for never complete here.
  [[nodiscard]] bool inert() const noexcept { return inert_; }
  /// From now on a forked child's copy is inert even if the loop has never run.
  void belong_to_process() noexcept;
  /// Completes the calls that an inert engine refused and had to defer. Returns how many.
  std::size_t complete_refused() noexcept;
  /// Completes, refused, an operation that the forking thread began in the parent, further up its
  /// stack. Harmless if it has completed already.
  void refuse(rouse::operation& op) noexcept;
  /// In a forked child: stays in memory for ever, since copies of the parent's flows refer to it.
  void leave_behind() noexcept;

private:
  friend direct_type;
  struct home_closer {
    void operator()(home_type* h) const noexcept { h->drop(); }
  };
  using list_type = detail::list<rouse::operation>;
  basic_engine() = default;

  // For a driver that is one of several (`native_driver`), each call branches once, here, to what
  // is compiled for the one that is open. `f` gets its type, and finds it by `the`.
  template <class F>
  decltype(auto) with_driver(F f) noexcept {
    if constexpr (requires { driver_.visit(f); })
      return driver_.visit(f);
    else
      return f(std::type_identity<Driver>());
  }
  template <class D>
  D& the() noexcept {
    if constexpr (std::is_same_v<D, Driver>)
      return driver_;
    else
      return driver_.template the<D>();
  }

  // ---- submitting

  template <action Action>
  bool submit_bytes(operation& op) noexcept {
    return with_driver(
        [&]<class D>(std::type_identity<D>) { return submit_bytes_with<Action, D>(op); });
  }
  template <action Action, class D>
  ROUSE_NOINLINE bool submit_bytes_with(operation& op) noexcept {
    ROUSE_ASSUME(op.action == Action);
    constexpr auto to = Action == action::recv ? &socket_state::inbound : &socket_state::outbound;
    return submit_to(the<D>(), op, [&]() -> list_type& { return op.target->*to; });
  }
  bool submit_other(operation& op) noexcept;
  template <class D, class To>
  ROUSE_ALWAYS_INLINE bool submit_to(D& d, operation& op, To to) noexcept {
    lock_type lock(mutex_);
    if (!may_start(op) && !may_start_after_all(op)) return submit_elsewhere(op);
    op.cancel_count = op.target->cancel_count;
    if (direct_.keep(*this, op, to())) return false;
    if (d.start(op)) return queue_.complete_at_once(op);
    queue_.add_pending(op, to());
    if (op.limited || op.has_default_timeout()) return arm(op);
    return false;
  }
  bool submit_wait(operation& op) noexcept;
  bool submit_elsewhere(operation& op) noexcept;
  bool start_elsewhere(operation& op) noexcept;
  void note_refusal() noexcept;

  bool may_start(const operation& op) const noexcept {
    return !op.cancelled() && !closing_ && !op.target->closing &&
           (!op.continues || op.cancel_count == op.target->cancel_count);
  }
  // Whether all that speaks against it is a cancel that it does not obey.
  ROUSE_COLD bool may_start_after_all(operation& op) const noexcept;

  void add_pending(operation& op, list_type& to) noexcept {
    queue_.add_pending(op, to);
    if (op.limited) arm(op);
  }
  // Its limit counts from now on. False, for a tail call: it is pending.
  ROUSE_NOINLINE bool arm(operation& op) noexcept;
  template <class Awaited>
  bool enter(operation& op, Awaited& what) noexcept {
    const bool done = what.enter(op, queue_.done());
    if (queue_.done().any()) wake_others();
    return done;
  }

  // ---- cancelling

  void end(rouse::operation& base, cancel_reason why = cancel_reason::request) noexcept;
  void cancel_all(socket_state& s) noexcept;
  void run_stops() noexcept;

  // ---- waiting and completing

  bool has_nothing_to_do() const noexcept;
  // How long the driver may wait; min: not at all.
  clock::time_point fall_asleep(clock::time_point until) noexcept {
    // Another thread that waited meanwhile (in a close) may have made something ready.
    const bool sleeps =
        until != (clock::time_point::min)() && queue_.nothing_ready() && mailbox_.fall_asleep();
    if (!sleeps) return (clock::time_point::min)();
    return queue_.no_limits() ? until : next_limit(until);
  }
  clock::time_point next_limit(clock::time_point until) const noexcept;

  template <class D>
  std::size_t turn_with(clock::time_point until) noexcept {
    lock_type lock(mutex_);
    queue_.take_deferred();
    if constexpr (Threading::shared)
      while (waits_) waited_.wait(lock);
    used_ = true;
    wait(the<D>(), fall_asleep(until), lock);
    std::size_t done = 0;
    if constexpr (Threading::shared) queue_.completes(detail::this_thread());
    if (mailbox_.wake_up()) done = run_mail(lock);
    // After the wait: an operation past its limit still takes what the kernel has.
    queue_.expire([this](operation& op) { end(op, cancel_reason::limit); });
    done += queue_.complete_ready(lock);
    if constexpr (Threading::shared) queue_.completes(nullptr);
    observer().turned(done);
    return done;
  }

  // One thread at a time waits for the kernel.
  template <class D>
  ROUSE_ALWAYS_INLINE void wait(D& d, clock::time_point until, lock_type& lock) noexcept {
    if constexpr (Threading::shared) {
      waits_ = true;
      waits_until_ = until;
    }
    d.wait(until, lock, queue_.done());
    if (queue_.take_interruption()) mailbox_.note_interruption();
    if constexpr (Threading::shared) {
      waits_until_ = (clock::time_point::min)();
      waits_ = false;
      waited_.notify_all();
    }
  }
  bool wait_outside(lock_type& lock) noexcept;
  // Waits for some of the kernel's results; `complete` is called later.
  void reap(lock_type& lock) noexcept;

  std::size_t run_mail(lock_type& lock) noexcept;
  void drop_posted() noexcept;

  // In a shared engine, the thread that waits for the kernel has to see what another one changed.
  void wake_others() noexcept {
    if constexpr (Threading::shared) wake();
  }

  // ---- sockets, with the lock held

  native_handle_type take_handle(socket_state& s, bool keep_open, lock_type& lock) noexcept;
  void close(socket_state& s, lock_type& lock) noexcept;

  // ---- in a forked child

  static void on_fork(void* self) noexcept { static_cast<basic_engine*>(self)->forked(); }
  void forked() noexcept;
  void become_inert() noexcept;
  void refuse_later(operation& op) noexcept;

  ROUSE_NO_UNIQUE_ADDRESS typename Threading::mutex mutex_;
  ROUSE_NO_UNIQUE_ADDRESS typename Threading::condition waited_; // waits_ has become false
  bool waits_ = false; // a thread is in driver_.wait()
  bool closing_ = false;
  bool used_ = false; // the loop has run
  bool inert_ = false;
  std::size_t refusals_left_ = 0; // before shut_down() gives up
  detail::completion_queue<operation, Threading> queue_;
  ROUSE_NO_UNIQUE_ADDRESS direct_type direct_;
  list_type waiting_; // pending, not on a socket
  list_type refused_; // by an inert engine, to be completed
  clock::time_point waits_until_ = (clock::time_point::min)();
  detail::mailbox mailbox_;
  detail::raised_list raised_;
  std::unique_ptr<home_type, home_closer> home_{new home_type(*this)};
  detail::list<socket_state> open_;
  detail::list<socket_state> spare_; // closed, for the next sockets
  std::unique_ptr<detail::buffer_pool, detail::buffer_pool::closer> buffers_{
      new detail::buffer_pool};
  Driver driver_; // after buffers_: it gives its buffers back
  basic_engine* left_before_ = nullptr;
  ROUSE_NO_UNIQUE_ADDRESS os::fork_hook in_child_{&basic_engine::on_fork, this};
};

}} // namespace rouse::ROUSE_ABI

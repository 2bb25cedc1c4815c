// The thread waker: a call blocks its thread until it completes. There is no background thread: one
// of the waiting threads, the leader, runs the engine; the others, the followers, sleep.
//
//     A: recv(), no leader: A leads      B: recv(), A leads: B sleeps     C: inside run()
//        engine.turn()                      event.wait()                     waits for the engine
//        B's call completes: raise -------> wakes and returns
//        A's call completes:
//        hand_over: to run() if a thread is there -------------------------> leads, and stays
//                   else `become_leader` to a waiting thread
//
//     engine_runs_   a thread leads: it is in engine.turn(), or about to be
//     waiting_       the followers, each asleep on its event
//     runners_       threads in run() that wait for the engine
//     live_          spawned threads that have not ended
//     notified_      set by post, stop and each end; makes a thread in run() look again
//
// The events of a thread that waits are two bits: `completed`, and `become_leader`. hand_over skips
// a follower that has completed already: it leaves without running the engine.
// The mutex is locked before the engine's, never after it.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/flow.hpp>
#include <rouse/core/flow_list.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/detail/guarded.hpp>
#include <rouse/detail/intrusive_list.hpp>
#include <rouse/detail/running.hpp>
#include <rouse/os/fork.hpp>
#include <rouse/os/thread_event.hpp>
#include <rouse/wakers/parking.hpp>

#include <concepts>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <utility>
#include <vector>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

class leader_followers;

// The flow of the calling thread; null if no scheduler spawned the thread.
ROUSE_NEVER_INLINE inline flow*& this_thread_flow() noexcept {
  static thread_local flow* current = nullptr;
  return current;
}

// The refused calls of that flow.
ROUSE_NEVER_INLINE inline refused_calls& this_thread_refused() noexcept {
  static thread_local refused_calls mine;
  return mine;
}

} // namespace detail

/// Blocks the calling thread, which runs the engine meanwhile if no other thread does.
class thread_parker : public detail::list_node {
public:
  template <class Scheduler>
    requires std::same_as<decltype(std::declval<Scheduler&>().waker().leaders()),
                          detail::leader_followers&>
  explicit thread_parker(Scheduler& s) noexcept
      : leaders_(s.waker().leaders()), engine_(&s.engine()), turn_([](void* engine, operation* op) {
          auto& e = *static_cast<typename Scheduler::engine_type*>(engine);
          const detail::running here(e);
          e.turn((clock::time_point::max)());
          if (op && e.inert()) e.refuse(*op); // the loop has forked
        }),
        in_loop_(detail::running<typename Scheduler::engine_type>::is(s.engine())) {}

  [[nodiscard]] const char* refusal() const noexcept {
    return in_loop_ ? "called inside the loop (by a posted function, for example), which it would "
                      "block; spawn a thread"
                    : nullptr;
  }

  inline void enter(operation& op);
  inline ~thread_parker();
  inline void park(operation* op = nullptr);
  inline void unpark() noexcept;

private:
  friend class detail::leader_followers;
  detail::leader_followers& leaders_;
  void* engine_;
  void (*turn_)(void*, operation*);
  const bool in_loop_; // this thread runs the loop already
  operation* op_ = nullptr; // its error may end the flow
  operation* waits_for_ = nullptr;
  static constexpr std::uint32_t completed = 1; // the call has completed
  static constexpr std::uint32_t become_leader = 2; // this thread is to run the engine
  os::thread_event event_;
};

namespace detail {

// The waiting threads, the leader, and the spawned threads of a scheduler.
class leader_followers {
public:
  // Blocks until the parker's call has completed. If there is no leader, the calling thread leads
  // meanwhile, and then hands the engine over.
  void wait(thread_parker& me) {
    std::unique_lock lock(mutex_);
    if (engine_runs_) {
      waiting_.push_back(me);
      lock.unlock();
      me.event_.wait();
      lock.lock();
      me.unlink();
      if (!(me.event_.raised() & thread_parker::become_leader)) return;
    }
    engine_runs_ = true;
    lock.unlock();
    run_engine(me);
    lock.lock();
    hand_over();
  }

  // The functions that run in the loop meanwhile are not part of the waiting thread's flow.
  static void run_engine(thread_parker& me) {
    const current_flow none(nullptr);
    while (!(me.event_.raised() & thread_parker::completed)) me.turn_(me.engine_, me.waits_for_);
  }

  void unpark(thread_parker& waiter) noexcept { waiter.event_.raise(thread_parker::completed); }

  // For run(): one turn of the engine. While another thread leads, or while threads live but the
  // engine is idle, waits. Does not hand the engine over: the next turn follows at once, and
  // `leave_loop` comes after the last.
  template <class Engine>
  std::size_t turn(Engine& engine, clock::time_point until) {
    std::unique_lock lock(mutex_);
    join_finished();
    while (engine_runs_ || (engine.idle() && live_ != 0)) {
      // A notify() between the caller's last check and this lock has set notified_.
      if (std::exchange(notified_, false) || until <= clock::now()) return 0;
      ++runners_;
      if (until == (clock::time_point::max)()) {
        runner_.wait(lock);
      } else { // at most an hour: libraries that convert to the wall clock overflow
        const auto in_an_hour = clock::now() + std::chrono::hours(1);
        runner_.wait_until(lock, until < in_an_hour ? until : in_an_hour);
      }
      --runners_;
    }
    engine_runs_ = true;
    lock.unlock();
    const std::size_t done = engine.turn(until);
    lock.lock();
    engine_runs_ = false;
    return done;
  }

  void leave_loop() noexcept {
    std::lock_guard lock(mutex_);
    if (!engine_runs_) hand_over();
  }

  // Makes a thread that waits in run() check again.
  void notify() noexcept {
    std::lock_guard lock(mutex_);
    notify_locked();
  }

  [[nodiscard]] bool idle() noexcept {
    std::lock_guard lock(mutex_);
    return live_ == 0;
  }

  void enter(operation& op) {
    flow* f = this_thread_flow();
    if (!f) return;
    std::lock_guard lock(mutex_);
    if (closing_ || f->killed || f->must_end) this_thread_refused().add(*f);
    if (f->killed) unwind();
    f->waiting = &op;
    if (f->cancelled) op.cancel_reason = cancel_reason::request;
  }
  void leave() noexcept {
    flow* f = this_thread_flow();
    if (!f) return;
    std::lock_guard lock(mutex_);
    f->waiting = nullptr;
  }

  // After a call that completed with `error`: throws if that ends a killed flow.
  static void unwind_if_killed(failure error) {
    flow* f = this_thread_flow();
    if (f && f->ends_with(error)) unwind();
  }

  template <class Engine>
  void cancel(Engine& engine, flow& f) noexcept {
    std::lock_guard lock(mutex_);
    cancel_flow(engine, f);
  }

  // Starts a thread, kept in `thread`, that calls `body(f)`; `body` ends with `end`.
  void start(flow& f, std::thread& thread, void (*body)(flow&) noexcept) {
    std::lock_guard lock(mutex_);
    join_finished();
    f.cancelled = closing_; // a flow may spawn while it is being ended
    reserve_finished(live_ + 1); // so that end() need not allocate
    thread = std::thread([body, &f] { body(f); });
    flows_.add(f);
    ++live_;
  }

  // The handle of the calling thread. The lock waits for `start`, which may not have stored it yet.
  std::thread take(std::thread& stored) noexcept {
    std::lock_guard lock(mutex_);
    return std::move(stored);
  }

  // Called by a spawned thread as it ends. A thread that waits for the last spawned thread may be
  // inside the engine, and may destroy the engine once it sees live_ == 0: so the engine is woken
  // while the lock is held.
  template <class Engine>
  void end(std::thread& mine, Engine& engine) noexcept {
    std::lock_guard lock(mutex_);
    finished_.push_back(std::move(mine));
    if (live_ != 0) --live_; // 0: this thread has forked, in the child
    notify_locked();
    engine.wake();
  }

  void forget(flow& f) noexcept {
    std::lock_guard lock(mutex_);
    f.unlink();
  }

  // In a forked child: the ended threads do not exist, so their handles must not be joined.
  void leave_behind() noexcept {
    for (std::thread& t : finished_) ::new (&t) std::thread;
    finished_.clear();
  }

  template <class F>
  void for_each_flow(F& f) {
    std::lock_guard lock(mutex_);
    flows_.for_each_flow(f);
  }

  // Whether the calling thread is one of these flows.
  [[nodiscard]] bool in_use() noexcept {
    const flow* const me = this_thread_flow();
    bool found = false;
    std::lock_guard lock(mutex_);
    flows_.for_each_flow([&](const flow& f) { found |= &f == me; });
    return found;
  }

  // Cancels all flows: their calls, now and later, fail with operation_canceled. Returns when the
  // threads have ended.
  template <class Engine>
  void shut_down(Engine& engine) noexcept {
    {
      std::lock_guard lock(mutex_);
      closing_ = true;
      flows_.cancel_all(engine);
    }
    while (!idle()) turn(engine, (clock::time_point::max)());
    // A thread that destroys a flow at the same time holds the same lock.
    engine.home().meet([&](whereabouts, auto*) {
      std::lock_guard lock(mutex_);
      join_finished();
      flows_.template orphan_all<Engine>();
    });
  }

private:
  // A call made by a destructor during the unwinding returns an error instead.
  static void unwind() {
#if ROUSE_EXCEPTIONS
    if (std::uncaught_exceptions() == 0) throw flow_unwind{};
#endif
  }

  void notify_locked() noexcept {
    notified_ = true;
    runner_.notify_all();
  }

  // A thread inside run() becomes the leader if there is one, since it stays; otherwise a waiting
  // thread does.
  void hand_over() noexcept {
    engine_runs_ = false;
    if (runners_ != 0) return runner_.notify_all();
    while (!engine_runs_ && !waiting_.empty()) {
      thread_parker& next = waiting_.pop_front();
      engine_runs_ = !(next.event_.raised() & thread_parker::completed);
      if (engine_runs_) next.event_.raise(thread_parker::become_leader);
    }
  }

  // In a forked child no other thread exists: none holds the lock, waits, or can be joined.
  static void on_fork(void* self) noexcept { static_cast<leader_followers*>(self)->forked(); }
  void forked() noexcept {
    ::new (&mutex_) std::mutex;
    ::new (&runner_) std::condition_variable;
    ::new (&waiting_) list<thread_parker>;
    leave_behind();
    live_ = runners_ = 0;
    engine_runs_ = false;
  }

  // Makes room for so many more threads in `finished_`.
  void reserve_finished(std::size_t threads) {
    const std::size_t wanted = finished_.size() + threads, have = finished_.capacity();
    if (wanted > have) finished_.reserve(wanted > 2 * have ? wanted : 2 * have);
  }

  void join_finished() noexcept {
    for (std::thread& t : finished_) t.join();
    finished_.clear();
  }

  std::mutex mutex_;
  std::condition_variable runner_;
  list<thread_parker> waiting_;
  flow_list flows_;
  std::vector<std::thread> finished_;
  std::size_t live_ = 0;
  std::size_t runners_ = 0; // threads in run() that wait for the engine
  bool engine_runs_ = false;
  bool closing_ = false;
  bool notified_ = false; // set since run() last waited
  ROUSE_NO_UNIQUE_ADDRESS os::fork_hook in_child_{&leader_followers::on_fork, this};
};

template <class Engine, class F>
class thread_flow final : public engine_flow<Engine> {
public:
  thread_flow(leader_followers& leaders, Engine& engine, F f)
      : leaders_(leaders), f_(std::move(f)) {
    this->belong_to(engine);
  }

  static void start(flow& f) noexcept { static_cast<thread_flow&>(f).run(); }

  std::thread thread;

private:
  void run() noexcept {
    const current_flow me(this);
    this_thread_flow() = this;
    const auto call = [this] {
      F f = std::move(f_); // a handle may keep the flow for longer
      if (!this->killed) f();
    };
    guarded(call, [this] { this->keep_exception(); });
    this_thread_flow() = nullptr;
    leader_followers& leaders = leaders_;
    Engine& engine = *this->engine();
    std::thread mine = leaders.take(thread);
    this->end();
    leaders.end(mine, engine);
  }

  void begin() noexcept override {}
  void leave_list() noexcept override {
    if (this->owner) leaders_.forget(*this); // else leaders_ is gone
  }
  void free_memory() noexcept override { delete this; }

  leader_followers& leaders_;
  F f_;
};

} // namespace detail

inline void thread_parker::enter(operation& op) {
  op_ = &op;
  leaders_.enter(op);
}
inline thread_parker::~thread_parker() { leaders_.leave(); }
inline void thread_parker::park(operation* op) {
  waits_for_ = op;
  leaders_.wait(*this);
  if (op_) leaders_.unwind_if_killed(op_->error);
}
inline void thread_parker::unpark() noexcept { leaders_.unpark(*this); }

/// Flows are threads of the operating system. Any thread may call. Nothing runs in the background:
/// one of the waiting threads runs the engine until its own call has completed, then another one
/// does. Needs a shared engine.
///
/// A thread inside `run()` keeps the engine, so that the others only sleep. Cost of a wake-up: none
/// for the thread that runs the engine; a system call for another thread that sleeps.
class thread_waker : public parking_waker<thread_parker> {
public:
  template <class Scheduler, class F>
  flow& spawn(Scheduler& s, F f) {
    static_assert(std::invocable<F&>,
                  "rouse: spawn takes a callable without parameters, or a task");
    using thread_flow = detail::thread_flow<typename Scheduler::engine_type, F>;
    auto* const started = new thread_flow(leaders_, s.engine(), std::move(f));
    std::unique_ptr<flow> owned(started);
    started->owner = &s;
    started->hold();
    s.engine().belong_to_process(); // a forked child lacks this thread
    leaders_.start(*started, started->thread, &thread_flow::start); // throws if out of threads
    return *owned.release();
  }

  template <class Engine>
  void shut_down(Engine& engine) noexcept {
    // Checked here because every scheduler instantiates this function.
    static_assert(
        requires { requires Engine::threading::shared; },
        "rouse: thread_waker needs an engine that any thread may use, such as "
        "shared_native_engine");
    leaders_.shut_down(engine);
  }

  void leave_behind() noexcept { leaders_.leave_behind(); }

  template <class Engine>
  std::size_t turn(Engine& engine, clock::time_point until) {
    return leaders_.turn(engine, until);
  }
  void leave_loop() noexcept { leaders_.leave_loop(); }
  template <class Engine>
  void cancel(Engine& engine, flow& f) noexcept {
    leaders_.cancel(engine, f);
  }
  void notify() noexcept { leaders_.notify(); }
  [[nodiscard]] bool idle() noexcept { return leaders_.idle(); }
  [[nodiscard]] bool in_use() noexcept { return leaders_.in_use(); }
  [[nodiscard]] detail::leader_followers& leaders() noexcept { return leaders_; }

  static constexpr const char* flow_name = "thread";
  template <class F>
  void for_each_flow(F&& f) {
    leaders_.for_each_flow(f);
  }

private:
  detail::leader_followers leaders_;
};

}} // namespace rouse::ROUSE_ABI

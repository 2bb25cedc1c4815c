// The threads that wait for calls of one scheduler. There is no background thread: one of them, the
// leader, runs the engine; the others, the followers, sleep.
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
#include <rouse/detail/intrusive_list.hpp>
#include <rouse/os/fork.hpp>
#include <rouse/os/thread_event.hpp>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <new>
#include <thread>
#include <utility>
#include <vector>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

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

// A thread that waits for its call, and how it runs the engine.
class waiting_thread : public list_node {
protected:
  waiting_thread(void* engine, void (*turn)(void*, operation*)) noexcept
      : engine_(engine), turn_(turn) {}
  ~waiting_thread() = default;

  operation* waits_for_ = nullptr;

private:
  friend class leader_followers;
  static constexpr std::uint32_t completed = 1; // the call has completed
  static constexpr std::uint32_t become_leader = 2; // this thread is to run the engine

  void* const engine_;
  void (*const turn_)(void*, operation*);
  os::thread_event event_;
};

// The waiting threads, the leader, and the spawned threads of a scheduler.
class leader_followers {
public:
  // Blocks until the parker's call has completed. If there is no leader, the calling thread leads
  // meanwhile, and then hands the engine over.
  void wait(waiting_thread& me) {
    std::unique_lock lock(mutex_);
    if (engine_runs_) {
      waiting_.push_back(me);
      lock.unlock();
      me.event_.wait();
      lock.lock();
      me.unlink();
      if (!(me.event_.raised() & waiting_thread::become_leader)) return;
    }
    engine_runs_ = true;
    lock.unlock();
    run_engine(me);
    lock.lock();
    hand_over();
  }

  // The functions that run in the loop meanwhile are not part of the waiting thread's flow.
  static void run_engine(waiting_thread& me) {
    const current_flow none(nullptr);
    while (!(me.event_.raised() & waiting_thread::completed)) me.turn_(me.engine_, me.waits_for_);
  }

  void unpark(waiting_thread& waiter) noexcept { waiter.event_.raise(waiting_thread::completed); }

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
      waiting_thread& next = waiting_.pop_front();
      engine_runs_ = !(next.event_.raised() & waiting_thread::completed);
      if (engine_runs_) next.event_.raise(waiting_thread::become_leader);
    }
  }

  // In a forked child no other thread exists: none holds the lock, waits, or can be joined.
  static void on_fork(void* self) noexcept { static_cast<leader_followers*>(self)->forked(); }
  void forked() noexcept {
    ::new (&mutex_) std::mutex;
    ::new (&runner_) std::condition_variable;
    ::new (&waiting_) list<waiting_thread>;
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
  list<waiting_thread> waiting_;
  flow_list flows_;
  std::vector<std::thread> finished_;
  std::size_t live_ = 0;
  std::size_t runners_ = 0; // threads in run() that wait for the engine
  bool engine_runs_ = false;
  bool closing_ = false;
  bool notified_ = false; // set since run() last waited
  ROUSE_NO_UNIQUE_ADDRESS os::fork_hook in_child_{&leader_followers::on_fork, this};
};

}}} // namespace rouse::ROUSE_ABI::detail

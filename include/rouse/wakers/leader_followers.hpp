// The threads that wait for calls of one scheduler. Most of them make the call themselves (see
// engines/direct_calls.hpp). What only the engine can do needs a thread that runs it, and there is
// no background thread: one of the waiting threads, the leader, does; the others, the followers,
// sleep.
//
//     A: sleep(), no leader: A leads     B: sleep(), A leads: B sleeps    C: inside run()
//        engine.turn()                      event.wait()                     waits for the engine
//        B's call completes: raise -------> wakes and returns
//        A's call completes:
//        hand_over: to run() if a thread is there -------------------------> leads, and stays
//                   else `become_leader` to a follower
//                   else, if the engine has work, to the thread of a direct call
//
//     engine_runs_   a thread leads: it is in engine.turn(), or about to be
//     waiting_       the followers, each asleep on its event
//     runners_       threads in run() that wait for the engine
//     turns_once_    threads in run_once(), which are to see each end
//     live_          spawned threads that have not ended
//     ended_         the spawned thread that ended last, not yet joined
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

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <new>
#include <thread>
#include <utility>

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
  // What it does with the engine, of any type.
  struct engine_calls {
    void (*turn)(void* engine, operation* waits_for); // null: for nothing
    bool (*run_direct)(void* engine, operation&);
    void (*call_to_loop)(void* engine);
  };
  template <class Engine>
  struct calls_of {
    static void turn(void* engine, operation* waits_for) {
      auto& e = *static_cast<Engine*>(engine);
      const running here(e);
      e.turn((clock::time_point::max)());
      if (waits_for && e.inert()) e.refuse(*waits_for); // the loop has forked
    }
    static bool run_direct(void* engine, operation& op) {
      return static_cast<Engine*>(engine)->run_direct(static_cast<typename Engine::operation&>(op));
    }
    static void call_to_loop(void* engine) { static_cast<Engine*>(engine)->call_to_loop(); }
    static constexpr engine_calls all{&turn, &run_direct, &call_to_loop};
  };

  template <class Engine>
  explicit waiting_thread(Engine& e) noexcept : engine_(&e), calls_(calls_of<Engine>::all) {}
  ~waiting_thread() = default;

  // Makes the call itself, as far as it can. False: it has to wait for the loop.
  [[nodiscard]] bool run_direct(operation& op) const { return calls_.run_direct(engine_, op); }
  [[nodiscard]] bool has_completed() const noexcept { return (event_.raised() & completed) != 0; }

  operation* waits_for_ = nullptr;

private:
  friend class leader_followers;
  static constexpr std::uint32_t completed = 1; // the call has completed
  static constexpr std::uint32_t become_leader = 2; // this thread is to run the engine

  void* const engine_;
  const engine_calls& calls_;
  os::thread_event event_;
};

// The thread of a flow.
struct spawned_thread {
  std::thread handle;
  bool ended = false;
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
    if (!hand_over()) me.calls_.call_to_loop(me.engine_);
  }

  // The functions that run in the loop meanwhile are not part of the waiting thread's flow.
  static void run_engine(waiting_thread& me) {
    const current_flow none(nullptr);
    while (!me.has_completed()) me.calls_.turn(me.engine_, me.waits_for_);
  }

  void unpark(waiting_thread& waiter) noexcept { waiter.event_.raise(waiting_thread::completed); }

  // For run(): one turn of the engine. While another thread leads, or while threads live but the
  // engine is idle, waits. Does not hand the engine over: the next turn follows at once, and
  // `leave_loop` comes after the last.
  template <class Engine>
  std::size_t turn(Engine& engine, clock::time_point until, bool once) {
    std::unique_lock lock(mutex_);
    turns_once_ += once;
    const std::size_t done = turn(engine, until, lock);
    turns_once_ -= once;
    return done;
  }

  template <class Engine>
  std::size_t turn(Engine& engine, clock::time_point until, std::unique_lock<std::mutex>& lock) {
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

  template <class Engine>
  void leave_loop(Engine& engine) noexcept {
    std::lock_guard lock(mutex_);
    if (!engine_runs_ && !hand_over()) engine.call_to_loop();
  }

  // Makes a thread that waits in run() check again, or else one that makes a direct call.
  template <class Engine>
  void notify(Engine& engine) noexcept {
    std::lock_guard lock(mutex_);
    notify_locked();
    if (!engine_runs_ && runners_ == 0) engine.call_to_loop();
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

  // Starts the thread of `f`, which calls `body(f)` and then `end`.
  void start(flow& f, spawned_thread& thread, void (*body)(flow&) noexcept) {
    {
      std::lock_guard lock(mutex_);
      f.cancelled = closing_; // a flow may spawn while it is being ended
      flows_.add(f);
      ++live_;
    }
    // Without the lock: the new thread may need it before this one continues.
    std::thread started =
        guarded([&] { return std::thread([body, &f] { body(f); }); }, [&] { return take_back(f); });
    std::thread before;
    {
      std::lock_guard lock(mutex_);
      if (thread.ended)
        before = std::exchange(ended_, std::move(started));
      else
        thread.handle = std::move(started);
    }
    join(before);
  }

  // Called by a spawned thread as it ends, with its handle. Each joins the one that ended before
  // it. A thread that waits for the last one may be inside the engine, and may destroy everything
  // once it sees live_ == 0: so the engine is woken while the lock is held, and nothing is used
  // afterwards.
  template <class Engine>
  void end(std::thread& mine, Engine& engine) noexcept {
    std::thread before;
    {
      std::lock_guard lock(mutex_);
      if (mine.joinable()) before = std::exchange(ended_, std::move(mine));
      if (live_ != 0) --live_; // 0: this thread has forked, in the child
      notified_ = true;
      if (live_ == 0 || turns_once_ != 0 || engine.any_raised()) {
        runner_.notify_all();
        engine.wake();
      }
    }
    join(before);
  }
  // That handle. Empty: `start` has not stored it yet, and keeps it.
  std::thread take(spawned_thread& thread) noexcept {
    std::lock_guard lock(mutex_);
    thread.ended = true;
    return std::move(thread.handle);
  }

  void forget(flow& f) noexcept {
    std::lock_guard lock(mutex_);
    f.unlink();
  }

  // In a forked child: the ended thread does not exist, so its handle must not be joined.
  void leave_behind() noexcept { ::new (&ended_) std::thread; }

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
    while (!idle()) turn(engine, (clock::time_point::max)(), false);
    // A thread that destroys a flow at the same time holds the same lock.
    engine.home().meet([&](whereabouts, auto*) {
      std::lock_guard lock(mutex_);
      join(ended_);
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
  // thread does. False: there is none.
  bool hand_over() noexcept {
    engine_runs_ = false;
    if (runners_ != 0) {
      runner_.notify_all();
      return true;
    }
    while (!engine_runs_ && !waiting_.empty()) {
      waiting_thread& next = waiting_.pop_front();
      engine_runs_ = !next.has_completed();
      if (engine_runs_) next.event_.raise(waiting_thread::become_leader);
    }
    return engine_runs_;
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

  // In a catch block: the thread of `f` could not be started.
  std::thread take_back([[maybe_unused]] flow& f) {
#if ROUSE_EXCEPTIONS
    {
      std::lock_guard lock(mutex_);
      f.unlink();
      --live_;
      notify_locked();
    }
    throw;
#else
    return {};
#endif
  }

  static void join(std::thread& t) noexcept {
    if (t.joinable()) t.join();
  }

  std::mutex mutex_;
  std::condition_variable runner_;
  list<waiting_thread> waiting_;
  flow_list flows_;
  std::thread ended_;
  std::size_t live_ = 0;
  std::size_t runners_ = 0;
  std::size_t turns_once_ = 0;
  bool engine_runs_ = false;
  bool closing_ = false;
  bool notified_ = false;
  ROUSE_NO_UNIQUE_ADDRESS os::fork_hook in_child_{&leader_followers::on_fork, this};
};

}}} // namespace rouse::ROUSE_ABI::detail

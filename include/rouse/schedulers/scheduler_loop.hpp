// The loop of a scheduler, and what its destruction does.
#pragma once
#include <rouse/concepts/driver.hpp>
#include <rouse/concepts/waker.hpp>
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/flow.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/detail/leakable.hpp>
#include <rouse/detail/running.hpp>

#include <atomic>
#include <cstddef>
#include <exception>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

// The base of `Scheduler`: its engine, its waker, and the loop that runs both.
template <class Scheduler, class Engine, class Waker>
class scheduler_loop {
  static_assert((explain_engine<Engine>(), explain_waker<Waker>(), true));

public:
  using engine_type = Engine;

  scheduler_loop(const scheduler_loop&) = delete;
  scheduler_loop& operator=(const scheduler_loop&) = delete;

  /// While it exists, the calling thread runs the scheduler. For wakers that run the loop inside a
  /// waiting call.
  class running : detail::running<engine_type>, detail::running<Scheduler> {
  public:
    explicit running(Scheduler& s) noexcept
        : detail::running<engine_type>(s.engine()), detail::running<Scheduler>(s), of_(s) {
      of_.engine_->home().enter();
      of_.runners_.fetch_add(1, std::memory_order_relaxed);
    }
    running(const running&) = delete;
    running& operator=(const running&) = delete;
    ~running() { of_.runners_.fetch_sub(1, std::memory_order_relaxed); }

  private:
    scheduler_loop& of_;
  };

  /// One turn of the loop. For the same wakers.
  std::size_t turn(clock::time_point until, bool once = true) {
    if constexpr (requires { waker_.turn(*engine_, until, once); })
      return waker_.turn(*engine_, until, once);
    else
      return engine_->turn(until);
  }

protected:
  // With an engine of its own.
  template <class... Args>
  explicit scheduler_loop(std::unique_ptr<engine_type> own, Args&&... args)
      : owned_(std::move(own)), engine_(owned_.get()), kept_waker_(std::forward<Args>(args)...) {}
  // On the engine of another scheduler.
  template <class... Args>
  explicit scheduler_loop(engine_type& engine, Args&&... args)
      : engine_(&engine), kept_waker_(std::forward<Args>(args)...) {}
  ~scheduler_loop() = default;

  static std::unique_ptr<engine_type> make_engine() {
    failure why;
    std::unique_ptr<engine_type> made = Engine::make(why);
    if (!made) throw_error(why.code(), "rouse: no engine could be started");
    return made;
  }

  // Called by the destructor. See basic_scheduler for the three cases.
  void shut_down() noexcept {
    if (engine_->inert()) return leave_behind();
    if (in_use()) {
      kept_waker_.leak();
      (void)owned_.release();
      return;
    }
    engine_->home().enter();
    if constexpr (requires { waker_.shut_down(*engine_); }) waker_.shut_down(*engine_);
    starter_.close(*engine_);
    engine_->orphan(self());
    if (owned_) owned_->shut_down();
  }

  std::size_t run_until(deadline limit, bool once) {
    if (!engine_->usable_here()) {
      throw_error(
          failure(std::errc::operation_not_permitted).code(),
          "rouse: run: operations are in flight in the thread that ran this scheduler before");
    }
    if (engine_->inert()) run_in_child();
    refuse_nested();
    const running here(*self());
    const loop_exit at_end{waker_, *engine_};
    std::size_t done = 0;
    for (bool turned = false;; turned = true) {
      // Before rethrow_raised(): the last flow may be a thread, which may throw as it ends.
      const bool nothing_left = idle();
      if (engine_->any_raised()) rethrow_raised();
      if (turned && (once || (!limit.never() && clock::now() >= limit.when()))) break;
      if (was_stopped() || nothing_left) break;
      done += turn(limit.when(), once);
    }
    if (engine_->inert()) // a flow or function in this loop has forked
      run_in_child();
    return done;
  }

  void stop() noexcept {
    stop_.store(true, std::memory_order_release); // acquired in was_stopped()
    engine_->wake();
    notify();
  }
  // Makes a waker that waits outside of the engine check again.
  void notify() noexcept {
    if constexpr (requires { waker_.notify(*engine_); }) waker_.notify(*engine_);
  }

  static void refuse_in_child(const char* what) {
    throw_error(std::make_error_code(std::errc::operation_not_permitted),
                std::string(what) +
                    ": a forked child cannot use a scheduler that its parent has used");
  }

private:
  [[nodiscard]] Scheduler* self() noexcept { return static_cast<Scheduler*>(this); }

  [[nodiscard]] bool idle() noexcept {
    if constexpr (requires { waker_.idle(); })
      return engine_->inert() || (waker_.idle() && engine_->idle());
    else
      return engine_->idle();
  }

  // A turn inside a turn would keep the flows and functions of the outer one waiting.
  void refuse_nested() {
    const flow* const caller = this_flow();
    const bool ours = caller && caller->owner == self();
    if (ours || detail::running<engine_type>::is(*engine_)) {
      throw_error(failure(std::errc::operation_not_permitted).code(),
                  "rouse: run: called inside the loop that it would run (by a flow, a "
                  "handler or a posted function)");
    }
  }

  // In a forked child the waiting flows are copies of the parent's: they neither continue nor end,
  // and the objects that they refer to stay in memory. The handles of sockets are closed.
  void leave_behind() noexcept {
    starter_.close(*engine_);
    if constexpr (requires { Waker::flow_name; }) {
      waker_.for_each_flow([](flow& f) {
        f.unlink();
        f.owner = nullptr;
      });
    }
    if constexpr (requires { waker_.leave_behind(); }) waker_.leave_behind();
    engine_->orphan(self());
    if (owned_) owned_.release()->leave_behind();
  }
  void run_in_child() {
    engine_->complete_refused();
    refuse_in_child("rouse: run");
  }

  [[nodiscard]] bool was_stopped() noexcept {
    if (!stop_.load(std::memory_order_acquire)) return false; // set in stop()
    stop_.store(false, std::memory_order_relaxed);
    return true;
  }

  // Notifies the waker when run_until returns or throws.
  struct loop_exit {
    Waker& waker;
    Engine& engine;
    ~loop_exit() {
      if constexpr (requires { waker.leave_loop(engine); }) waker.leave_loop(engine);
    }
  };

  // Whether a thread runs the scheduler, or a flow of it calls this. A scheduler that is destroyed
  // then is a static object, and the program is ending. (A thread that is just leaving or entering
  // run() may be missed.)
  [[nodiscard]] bool in_use() noexcept {
    if constexpr (requires { waker_.in_use(); }) {
      if (waker_.in_use()) return true;
    }
    return runners_.load(std::memory_order_relaxed) != 0;
  }

  void rethrow_raised() {
#if ROUSE_EXCEPTIONS
    if (std::exception_ptr e = engine_->take_raised()) std::rethrow_exception(e);
#endif
  }

  std::unique_ptr<engine_type> owned_;

protected:
  engine_type* engine_ = nullptr;
  flow_starter<engine_type> starter_;

private:
  std::atomic<bool> stop_{false};
  std::atomic<int> runners_{0};
  leakable<Waker> kept_waker_;

protected:
  Waker& waker_ = kept_waker_.value;
};

}}} // namespace rouse::ROUSE_ABI::detail

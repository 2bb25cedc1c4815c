// The thread waker: a call blocks its thread until it completes.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/flow.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/detail/guarded.hpp>
#include <rouse/detail/running.hpp>
#include <rouse/wakers/leader_followers.hpp>
#include <rouse/wakers/parking.hpp>

#include <concepts>
#include <cstddef>
#include <memory>
#include <thread>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

template <class Engine, class F>
class thread_flow final : public engine_flow<Engine> {
public:
  thread_flow(leader_followers& leaders, Engine& engine, F f)
      : leaders_(leaders), f_(std::move(f)) {
    this->belong_to(engine);
  }

  static void start(flow& f) noexcept { static_cast<thread_flow&>(f).run(); }

  spawned_thread thread;

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

/// Blocks the calling thread, which runs the engine meanwhile if no other thread does.
class thread_parker : public detail::waiting_thread {
public:
  template <class Scheduler>
    requires std::same_as<decltype(std::declval<Scheduler&>().waker().leaders()),
                          detail::leader_followers&>
  explicit thread_parker(Scheduler& s) noexcept
      : waiting_thread(s.engine()), leaders_(s.waker().leaders()),
        in_loop_(detail::running<typename Scheduler::engine_type>::is(s.engine())) {}
  ~thread_parker() { leaders_.leave(); }

  [[nodiscard]] const char* refusal() const noexcept {
    return in_loop_ ? "called inside the loop (by a posted function, for example), which it would "
                      "block; spawn a thread"
                    : nullptr;
  }

  template <class Operation>
  void enter(Operation& op) {
    if constexpr (requires { op.direct.possible; }) op.direct.possible = true;
    op_ = &op;
    leaders_.enter(op);
  }
  void park(operation* op = nullptr) {
    waits_for_ = op;
    while (op && !has_completed() && run_direct(*op)) { // the next round of the call
    }
    if (!has_completed()) leaders_.wait(*this);
    if (op_) leaders_.unwind_if_killed(op_->error);
  }
  void unpark() noexcept { leaders_.unpark(*this); }

private:
  detail::leader_followers& leaders_;
  const bool in_loop_; // this thread runs the loop already
  operation* op_ = nullptr; // its error may end the flow
};

/// Flows are threads of the operating system. Any thread may call. Nothing runs in the background.
/// Needs a shared engine.
///
/// With epoll, a thread makes its recv, send or accept itself, and waits for it by poll(2): two
/// system calls for one that has to wait. For everything else, one of the waiting threads runs the
/// engine until its own call has completed, then another one does; a thread inside `run()` keeps
/// the engine, so that the others only sleep. Cost of such a wake-up: none for the thread that runs
/// the engine; a system call for another thread.
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
  std::size_t turn(Engine& engine, clock::time_point until, bool once) {
    return leaders_.turn(engine, until, once);
  }
  template <class Engine>
  void leave_loop(Engine& engine) noexcept {
    leaders_.leave_loop(engine);
  }
  template <class Engine>
  void cancel(Engine& engine, flow& f) noexcept {
    leaders_.cancel(engine, f);
  }
  template <class Engine>
  void notify(Engine& engine) noexcept {
    leaders_.notify(engine);
  }
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

// The fiber waker: a call switches from its fiber to the loop, and the completion switches back.
//
//     the loop (the thread's own stack)            a fiber (a stack of its own)
//     run() -> engine.turn()
//       flow begins -> switch_to(fiber) ---------> fiber_flow::run -> the user's function
//                                                  -> recv() -> parker.park() -> suspend
//       switch_to returns  <---------------------- switch_back()
//     engine.turn() waits for the kernel
//       completion -> unpark() -> resume
//                  -> switch_to(fiber) ----------> recv() returns; the function ends
//       switch_to returns, recycles the stack <--- leave_to(loop)
//
// `running_` is the fiber that runs, null in the loop. Outside of any fiber and of any loop (in
// main), park() runs the loop itself until the call completes.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/flow.hpp>
#include <rouse/core/flow_list.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/detail/guarded.hpp>
#include <rouse/detail/intrusive_list.hpp>
#include <rouse/detail/recycler.hpp>
#include <rouse/detail/running.hpp>
#include <rouse/os/context.hpp>
#include <rouse/wakers/parking.hpp>

#include <concepts>
#include <cstddef>
#include <exception>
#include <memory>
#include <system_error>
#include <type_traits>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {

/// The size of each fiber's stack in bytes: `rouse::fibers sched{rouse::stack_size{1 << 20}}`.
///
/// Only the pages that a fiber touches use memory. The fiber's record is at the top of the stack, a
/// guard page below it.
struct stack_size {
  std::size_t bytes = std::size_t{256} << 10;
};

namespace detail {

class fiber_runtime;

// A stack and the fiber that runs on it, recycled. The record lies at the top of that stack, in a
// page that is in use anyway.
struct fiber_stack : list_node {
  os::context context;
  flow* self = nullptr;
  fiber_runtime* runtime = nullptr;
  void (*body)(flow&) noexcept = nullptr; // runs the flow, and may destroy it
  refused_calls refused; // of the flow
};

// The callable of `on_switch`. Of `out` and `in`, the one that is null is the loop.
struct switch_listener {
  virtual ~switch_listener() = default;
  virtual void switched(flow* out, flow* in) noexcept = 0;
};
template <class F>
struct switch_listener_of final : switch_listener {
  explicit switch_listener_of(F f) : call(std::move(f)) {}
  void switched(flow* out, flow* in) noexcept override { call(out, in); }
  F call;
};

// The fibers of a scheduler: the one that runs, the context of the loop, the free stacks.
class fiber_runtime {
public:
  explicit fiber_runtime(std::size_t stack_bytes) noexcept : stack_bytes_(stack_bytes) {}
  fiber_runtime(const fiber_runtime&) = delete;
  fiber_runtime& operator=(const fiber_runtime&) = delete;
  ~fiber_runtime() {
    while (!free_.empty()) os::context::destroy(free_.pop_front());
  }

  [[nodiscard]] fiber_stack* running() const noexcept { return running_; }
  [[nodiscard]] bool loop_runs() const noexcept { return loop_runs_; }
  [[nodiscard]] bool closing() const noexcept { return closing_; }
  [[nodiscard]] std::size_t live() const noexcept { return live_; }
  void close() noexcept { closing_ = true; }
  void listen(std::unique_ptr<switch_listener> l) noexcept { listener_ = std::move(l); }
  // Called by a fiber that ends, before its flow is destroyed.
  void switched_out_finally(flow& f) noexcept {
    if (listener_) listener_->switched(&f, nullptr);
  }

  // Gives `f` a stack on which `body` will run. Returns null, with the reason in `why`, if there is
  // not enough memory or the process has too many mappings.
  fiber_stack* prepare(flow& f, void (*body)(flow&) noexcept, std::error_code& why) noexcept {
    if (!os::context::prepare_thread()) {
      why = std::make_error_code(std::errc::not_enough_memory);
      return nullptr;
    }
    fiber_stack* const s = free_.empty() ? os::context::create_with<fiber_stack>(stack_bytes_, why)
                                         : &free_.pop_front();
    if (!s) return nullptr;
    s->self = &f;
    s->runtime = this;
    s->body = body;
    s->refused = {};
    s->context.reset(&fiber_runtime::enter, s);
    ++live_;
    return s;
  }

  // Called in the loop: runs the fiber until it waits or ends.
  ROUSE_ALWAYS_INLINE void switch_to(fiber_stack& f) noexcept {
    if (!loop_runs_) return switch_from_foreign_loop(f);
    running_ = &f;
    this_flow_inlined() = f.self;
    if (listener_) listener_->switched(nullptr, f.self);
    os::context::switch_to(loop_, f.context);
    if (ended_)
      recycle();
    else if (listener_)
      listener_->switched(running_->self, nullptr);
    this_flow_inlined() = nullptr;
    running_ = nullptr;
  }

  // Called in a fiber: continues the loop.
  ROUSE_ALWAYS_INLINE void switch_back() noexcept {
    os::context::switch_to(running_->context, loop_);
  }

  // Called in a fiber: that which runs the loop of the calling thread. A fiber's own record says
  // the same, but it is rarely in the cache. With many fibers, the processor can begin to load the
  // next one only when it knows the loop's stack pointer, so that must not depend on such a load.
  [[nodiscard]] ROUSE_NEVER_INLINE static fiber_runtime& of_this_thread() noexcept {
    return *innermost();
  }

  template <class Engine>
  std::size_t turn(Engine& engine, clock::time_point until) noexcept {
    const loop_scope here(*this);
    return engine.turn(until);
  }

private:
  static fiber_runtime*& innermost() noexcept {
    static constinit thread_local fiber_runtime* r = nullptr;
    return r;
  }
  // While it exists, the stack that it is on is the loop's: fibers switch back to it.
  class loop_scope {
  public:
    explicit loop_scope(fiber_runtime& runtime) noexcept
        : runtime_(runtime), outer_(std::exchange(innermost(), &runtime)) {
      runtime_.loop_runs_ = true;
      runtime_.loop_.enter_thread();
    }
    loop_scope(const loop_scope&) = delete;
    loop_scope& operator=(const loop_scope&) = delete;
    ~loop_scope() {
      runtime_.loop_.leave_thread();
      runtime_.loop_runs_ = false;
      innermost() = outer_;
    }

  private:
    fiber_runtime& runtime_;
    fiber_runtime* const outer_;
    const current_flow no_flow_{nullptr}; // a flow of another scheduler may run the loop
  };
  // Called in the loop of another scheduler on the same engine.
  void switch_from_foreign_loop(fiber_stack& f) noexcept {
    const loop_scope here(*this);
    switch_to(f);
  }

  ROUSE_NOINLINE void recycle() noexcept {
    free_.push_back(*std::exchange(ended_, nullptr));
    --live_;
  }

  static void enter(void* argument) noexcept {
    auto& me = *static_cast<fiber_stack*>(argument);
    me.body(*me.self);
    me.runtime->ended_ = &me;
    os::context::leave_to(me.context, me.runtime->loop_);
  }

  const std::size_t stack_bytes_;
  os::context loop_;
  fiber_stack* running_ = nullptr;
  fiber_stack* ended_ = nullptr;
  std::unique_ptr<switch_listener> listener_;
  list<fiber_stack> free_;
  std::size_t live_ = 0;
  bool loop_runs_ = false;
  bool closing_ = false;
};

// Suspends and resumes a fiber. False: there is none.
class fiber_suspension {
public:
  explicit fiber_suspension(fiber_stack* me) noexcept : me_(me) {}
  explicit operator bool() const noexcept { return me_ != nullptr; }
  [[nodiscard]] flow& self() const noexcept { return *me_->self; }
  [[nodiscard]] bool cancelled() const noexcept {
    return self().cancelled.load(std::memory_order_relaxed);
  }

  // Inlined together with its callers, so that no `ret` follows the switch: the processor would
  // predict its target from the loop's call stack, and be wrong.
  ROUSE_ALWAYS_INLINE void suspend() const noexcept {
    fiber_runtime::of_this_thread().switch_back();
  }
  ROUSE_ALWAYS_INLINE void resume() const noexcept { me_->runtime->switch_to(*me_); }

  // Waits until the pending `op` completes and calls `resume`. Throws if that ends the flow.
  ROUSE_ALWAYS_INLINE void wait_for(operation& op) const {
    self().waiting = &op;
    suspend();
    self().waiting = nullptr;
    if (was_cancelled(op)) unwind_if_ended();
  }
  // Whether the flow may have to end. (A call that succeeded although the flow was killed returns
  // its value, and the flow ends at its next call.)
  [[nodiscard]] static bool was_cancelled(const operation& op) noexcept {
    return op.error == failure(std::errc::operation_canceled);
  }
  // Unwinds the flow if it was killed or its scheduler is being destroyed: none of its calls may
  // wait then. A call made by a destructor during the unwinding returns an error instead.
  void unwind_if_ended() const {
    const bool over = me_->runtime->closing() || self().killed;
    if (over || self().must_end) me_->refused.add(self());
#if ROUSE_EXCEPTIONS
    if (over && std::uncaught_exceptions() == 0) throw flow_unwind{};
#endif
  }

private:
  fiber_stack* me_;
};

template <class Scheduler, class F>
class fiber_flow final : public engine_flow<typename Scheduler::engine_type> {
public:
  explicit fiber_flow(F f) : f_(std::move(f)) {}
  static void* operator new(std::size_t size) { return recycler::allocate(size); }
  static void operator delete(void* p, std::size_t size) noexcept { recycler::release(p, size); }

private:
  void begin() noexcept override {
    std::error_code ec;
    fiber_runtime& runtime = static_cast<Scheduler*>(this->owner)->waker().runtime();
    if (!runtime.closing() && !this->killed) {
      if (fiber_stack* stack = runtime.prepare(*this, &run, ec)) return runtime.switch_to(*stack);
    }
    const auto fail = [&] { throw_error(ec, "rouse: no stack for a fiber"); };
    if (ec) guarded(fail, [this] { this->keep_exception(); });
    this->end();
  }

  static void run(flow& me) noexcept {
    auto& self = static_cast<fiber_flow&>(me);
    const auto call = [&] {
      F f = std::move(self.f_); // a handle may keep the flow for longer
      f();
    };
    guarded(call, [&] { self.keep_exception(); });
    self.drop_locals();
    static_cast<Scheduler*>(self.owner)->waker().runtime().switched_out_finally(self);
    self.end();
  }

  void free_memory() noexcept override { delete this; }

  F f_;
};

} // namespace detail

/// Suspends the calling fiber; outside of any fiber, runs the loop until the call completes.
class fiber_parker {
public:
  template <class Scheduler>
    requires std::same_as<decltype(std::declval<Scheduler&>().waker().runtime()),
                          detail::fiber_runtime&>
  explicit fiber_parker(Scheduler& s) noexcept
      : runtime_(s.waker().runtime()), fiber_(runtime_.running()) {
    if (fiber_) return;
    in_loop_ =
        runtime_.loop_runs() || detail::running<typename Scheduler::engine_type>::is(s.engine());
    scheduler_ = &s;
    run_ = [](void* sched, const bool& completed, operation* op) {
      auto& mine = *static_cast<Scheduler*>(sched);
      const typename Scheduler::running here(mine);
      while (!completed) {
        mine.turn((clock::time_point::max)());
        if (op && mine.engine().inert()) mine.engine().refuse(*op); // the loop has forked
      }
    };
  }
  fiber_parker(const fiber_parker&) = delete;
  ~fiber_parker() {
    if (fiber_) fiber_.self().waiting = nullptr;
  }

  /// The calling fiber, unless there is none or it was cancelled.
  template <class Scheduler>
  [[nodiscard]] static detail::fiber_suspension uncancelled(Scheduler& s) noexcept {
    const detail::fiber_suspension me(s.waker().runtime().running());
    return me && !me.cancelled() ? me : detail::fiber_suspension(nullptr);
  }

  [[nodiscard]] const char* refusal() const noexcept {
    if (!in_loop_) return nullptr;
    return "called inside the loop but outside any fiber (by a posted function, for example), so "
           "there is no fiber to suspend; spawn one";
  }

  void enter(operation& op) {
    if (!fiber_) return;
    if (fiber_.cancelled()) refuse(op);
    fiber_.self().waiting = &op;
  }

  ROUSE_ALWAYS_INLINE void park(operation* op = nullptr) {
    if (fiber_) {
      while (!completed_) fiber_.suspend();
      // A call that was not entered (`waiting` is null then) does not end its flow.
      if (op && fiber_.was_cancelled(*op) && fiber_.self().waiting) fiber_.unwind_if_ended();
    } else {
      run_(scheduler_, completed_, op);
    }
  }

  void unpark() noexcept {
    completed_ = true;
    if (fiber_) fiber_.resume();
  }

private:
  void refuse(operation& op) {
    fiber_.unwind_if_ended();
    op.cancel_reason = cancel_reason::request;
  }

  detail::fiber_runtime& runtime_;
  const detail::fiber_suspension fiber_;
  // Without a fiber: the scheduler, and how to run its loop.
  void* scheduler_;
  void (*run_)(void*, const bool& completed, operation*);
  bool completed_ = false;
  bool in_loop_ = false; // in the loop, but in no fiber
};

/// Flows are fibers: each has a stack of its own, and a call that waits switches to the loop. All
/// fibers of a scheduler share the thread that runs it.
///
/// A call outside of any fiber (in main, before `run()`) runs the loop until it completes.
/// Destroying the scheduler unwinds the fibers that wait: their destructors run. Cost: a switch
/// each way, some nanoseconds; a pooled stack, and the pages of it that the fiber touches.
class fiber_waker : public parking_waker<fiber_parker>, public detail::flow_list {
public:
  explicit fiber_waker(stack_size s = {}) noexcept : runtime_(s.bytes) {}

  /// @param f  a callable without parameters. It lives until the fiber ends.
  template <class Scheduler, class F>
  flow& spawn(Scheduler& s, F f) {
    static_assert(std::invocable<F&>,
                  "rouse: spawn takes a callable without parameters, or a task");
    auto* started = new detail::fiber_flow<Scheduler, F>(std::move(f));
    return this->start(s, *started);
  }

  /// See `basic_scheduler::on_switch`.
  template <class F>
  void on_switch(F f) {
    static_assert(
        std::is_nothrow_invocable_v<F&, flow*, flow*>,
        "rouse: on_switch takes a noexcept callable of two flow*, the fiber that is switched out "
        "and the fiber that is switched in");
    runtime_.listen(std::make_unique<detail::switch_listener_of<F>>(std::move(f)));
  }
  void on_switch(std::nullptr_t) noexcept { runtime_.listen(nullptr); }

  template <class Engine>
  void shut_down(Engine& engine) noexcept {
    runtime_.close();
    this->cancel_all(engine);
    while (runtime_.live() != 0 && !engine.idle())
      runtime_.turn(engine, (clock::time_point::max)());
    this->template orphan_all<Engine>();
  }

  template <class Engine>
  std::size_t turn(Engine& engine, clock::time_point until, bool /*once*/) noexcept {
    return runtime_.turn(engine, until);
  }
  [[nodiscard]] detail::fiber_runtime& runtime() noexcept { return runtime_; }

  static constexpr const char* flow_name = "fiber";

private:
  detail::fiber_runtime runtime_;
};

}} // namespace rouse::ROUSE_ABI

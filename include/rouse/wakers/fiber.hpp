// The fiber waker: a call switches from its fiber to the loop, the completion switches back.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/flow.hpp>
#include <rouse/core/flow_list.hpp>
#include <rouse/core/limit.hpp>
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

/// Bytes of stack of each fiber: `rouse::fibers sched{rouse::stack_size{1 << 20}}`. Only the pages
/// that a fiber touches use memory; on top lies its record, below a guard page.
struct stack_size {
  std::size_t bytes = std::size_t{256} << 10;
};

namespace detail {

class fiber_runtime;

// A stack and the fiber that runs on it, recycled. It lies on that stack, whose page is in use
// anyway.
struct fiber_stack : list_node {
  os::context context;
  flow* self = nullptr;
  fiber_runtime* runtime = nullptr;
  void (*body)(flow&) noexcept = nullptr; // the fiber's life; the flow may be gone afterwards
};

// What is called at each switch. Of the two flows, null is the loop.
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

// Which fiber runs, the loop's context, the free stacks.
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
  // By a fiber whose last switch this is.
  void switched_out_finally(flow& f) noexcept {
    if (listener_) listener_->switched(&f, nullptr);
  }

  // Gives `f` a stack, on which `body` runs. Null, with the reason in `why`, where memory or
  // mappings are short.
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
    s->context.reset(&fiber_runtime::enter, s);
    ++live_;
    return s;
  }

  // From the loop: runs the fiber until it waits or ends.
  ROUSE_ALWAYS_INLINE void switch_to(fiber_stack& f) noexcept {
    if (!loop_runs_) [[unlikely]]
      return switch_from_foreign_loop(f);
    running_ = &f;
    this_flow_inlined() = f.self;
    if (listener_) [[unlikely]]
      listener_->switched(nullptr, f.self);
    os::context::switch_to(loop_, f.context);
    if (listener_ && !ended_) [[unlikely]]
      listener_->switched(f.self, nullptr);
    this_flow_inlined() = nullptr;
    running_ = nullptr;
    if (!ended_) return;
    free_.push_back(*std::exchange(ended_, nullptr));
    --live_;
  }

  // From a fiber: back to the loop.
  ROUSE_ALWAYS_INLINE void switch_back() noexcept {
    os::context::switch_to(running_->context, loop_);
  }

  template <class Engine>
  std::size_t turn(Engine& engine, clock::time_point until) noexcept {
    const loop_scope here(*this);
    return engine.turn(until);
  }

private:
  // While it exists, fibers can be switched to from where it is.
  class loop_scope {
  public:
    explicit loop_scope(fiber_runtime& runtime) noexcept : runtime_(runtime) {
      runtime_.loop_runs_ = true;
      runtime_.loop_.enter_thread();
    }
    loop_scope(const loop_scope&) = delete;
    loop_scope& operator=(const loop_scope&) = delete;
    ~loop_scope() {
      runtime_.loop_.leave_thread();
      runtime_.loop_runs_ = false;
    }

  private:
    fiber_runtime& runtime_;
    const current_flow no_flow_{nullptr}; // a flow of another scheduler may be the one that loops
  };
  // From the loop of another scheduler on the same engine.
  ROUSE_NOINLINE void switch_from_foreign_loop(fiber_stack& f) noexcept {
    const loop_scope here(*this);
    switch_to(f);
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

// How a fiber waits; false: none is there.
class fiber_suspension {
public:
  explicit fiber_suspension(fiber_stack* me) noexcept : me_(me) {}
  explicit operator bool() const noexcept { return me_ != nullptr; }
  [[nodiscard]] flow& self() const noexcept { return *me_->self; }
  [[nodiscard]] bool cancelled() const noexcept {
    return self().cancelled.load(std::memory_order_relaxed);
  }

  // Inlined, as what calls it: no `ret` then follows the switch, which the processor would predict
  // to go where the loop came from.
  ROUSE_ALWAYS_INLINE void suspend() const noexcept { me_->runtime->switch_back(); }
  ROUSE_ALWAYS_INLINE void resume() const noexcept { me_->runtime->switch_to(*me_); }

  // Until `op`, which is pending, is told and calls `end`. Throws where the flow ends with it.
  ROUSE_ALWAYS_INLINE void wait_for(operation& op) const {
    self().waiting = &op;
    suspend();
    self().waiting = nullptr;
    throw_if_ended(op.error);
  }
  // After a call that ended with `error`: throws where that ends the flow. (A value that won the
  // race is the flow's still: it ends at its next call.)
  ROUSE_ALWAYS_INLINE void throw_if_ended(failure error) const {
    if (error == failure(std::errc::operation_canceled)) [[unlikely]]
      unwind_if_ended();
  }
  // No call of a killed flow waits any more, nor of one whose scheduler goes. (A destructor that
  // calls during the unwinding gets an error instead.)
  ROUSE_NOINLINE void unwind_if_ended() const {
    const bool over = me_->runtime->closing() || self().killed;
    if (over || self().must_end) self().note_refusal();
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
    ROUSE_TRY {
      if (ec) throw_error(ec, "rouse: no stack for a fiber");
    }
    ROUSE_CATCH(...) { this->keep_exception(); }
    this->end();
  }

  static void run(flow& me) noexcept {
    auto& self = static_cast<fiber_flow&>(me);
    ROUSE_TRY {
      F f = std::move(self.f_); // gone with the fiber, though a handle may keep the flow
      f();
    }
    ROUSE_CATCH(...) { self.keep_exception(); }
    self.drop_locals();
    static_cast<Scheduler*>(self.owner)->waker().runtime().switched_out_finally(self);
    self.end();
  }

  void free_memory() noexcept override { delete this; }

  F f_;
};

} // namespace detail

/// Gives up its fiber; outside of any fiber, runs the loop until told.
class fiber_parker {
public:
  template <class Scheduler>
    requires std::same_as<decltype(std::declval<Scheduler&>().waker().runtime()),
                          detail::fiber_runtime&>
  explicit fiber_parker(Scheduler& s) noexcept
      : runtime_(s.waker().runtime()), fiber_(runtime_.running()) {
    if (fiber_) [[likely]]
      return;
    in_loop_ =
        runtime_.loop_runs() || detail::running<typename Scheduler::engine_type>::is(s.engine());
    scheduler_ = &s;
    run_ = [](void* sched, const bool& completed, operation* op) {
      auto& mine = *static_cast<Scheduler*>(sched);
      const typename Scheduler::running here(mine);
      while (!completed) {
        mine.turn((clock::time_point::max)());
        if (op && mine.engine().inert()) mine.engine().refuse(*op); // what ran meanwhile has forked
      }
    };
  }
  fiber_parker(const fiber_parker&) = delete;
  ~fiber_parker() {
    if (fiber_) fiber_.self().waiting = nullptr;
  }

  /// The fiber that calls, if nothing keeps it from going on where it need not wait.
  template <class Scheduler>
  [[nodiscard]] static detail::fiber_suspension uncancelled(Scheduler& s) noexcept {
    const detail::fiber_suspension me(s.waker().runtime().running());
    return me && !me.cancelled() ? me : detail::fiber_suspension(nullptr);
  }

  [[nodiscard]] const char* refusal() const noexcept {
    if (!in_loop_) [[likely]]
      return nullptr;
    return "called inside the loop but by no fiber (by a posted function, say), so nobody is here "
           "who could wait; spawn one";
  }

  void enter(operation& op) {
    if (!fiber_) return;
    if (fiber_.cancelled()) [[unlikely]]
      refuse(op);
    fiber_.self().waiting = op_ = &op;
  }

  ROUSE_ALWAYS_INLINE void park(operation* op = nullptr) {
    if (fiber_) [[likely]] {
      while (!completed_) fiber_.suspend();
      if (op_) fiber_.throw_if_ended(op_->error);
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
    op.cancel_reason = std::errc::operation_canceled;
  }

  detail::fiber_runtime& runtime_;
  const detail::fiber_suspension fiber_;
  void* scheduler_; // where no fiber calls
  void (*run_)(void*, const bool& completed, operation*); // there
  operation* op_ = nullptr; // what may end the flow
  bool completed_ = false;
  bool in_loop_ = false; // and no fiber
};

/// Flows are fibers: each has a stack of its own, and a call that waits switches to the loop. All
/// of them share one thread.
///
/// Outside of any fiber (in main, before `run()`) a call runs the loop until it is done. When the
/// scheduler goes, fibers that wait are unwound: their destructors run. Cost: a switch each way,
/// some nanoseconds; a stack, pooled; the pages that it touches.
class fiber_waker : public parking_waker<fiber_parker>, public detail::flow_list {
public:
  explicit fiber_waker(stack_size s = {}) noexcept : runtime_(s.bytes) {}

  /// @param f  a callable without parameters; it lives as long as the flow.
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
        "rouse: on_switch takes a callable of two flow*, the one that goes out and the one "
        "that comes in, which is noexcept");
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
  std::size_t turn(Engine& engine, clock::time_point until) noexcept {
    return runtime_.turn(engine, until);
  }
  [[nodiscard]] detail::fiber_runtime& runtime() noexcept { return runtime_; }

  static constexpr const char* flow_name = "fiber";

private:
  detail::fiber_runtime runtime_;
};

}} // namespace rouse::ROUSE_ABI

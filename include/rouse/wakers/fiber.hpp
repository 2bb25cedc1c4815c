// The fiber waker: a call switches from its fiber to the loop, the completion switches back.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/flow.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/detail/intrusive_list.hpp>
#include <rouse/detail/recycler.hpp>
#include <rouse/os/context.hpp>
#include <rouse/wakers/parking.hpp>

#include <concepts>
#include <cstddef>
#include <exception>
#include <system_error>
#include <utility>

namespace rouse::inline ROUSE_ABI {

/// Bytes of stack of each fiber: `rouse::fibers sched{rouse::stack_size{1 << 20}}`. Only the pages
/// that a fiber touches use memory; on top lies its record, below a guard page.
struct stack_size {
  std::size_t bytes = std::size_t{256} << 10;
};

namespace detail {

class fiber_crew;

// A stack and the fiber that runs on it, recycled. It lies on that stack, whose page is in use
// anyway.
struct fiber_stack : list_node {
  os::context context;
  flow* self = nullptr;
  fiber_crew* crew = nullptr;
  void (*body)(flow&) noexcept = nullptr; // the fiber's life; the flow may be gone afterwards
};

// Which fiber runs, the loop's context, the free stacks.
class fiber_crew {
public:
  explicit fiber_crew(std::size_t stack_bytes) noexcept : stack_bytes_(stack_bytes) {}
  fiber_crew(const fiber_crew&) = delete;
  fiber_crew& operator=(const fiber_crew&) = delete;
  ~fiber_crew() {
    while (!free_.empty()) os::context::destroy(free_.pop_front());
  }

  [[nodiscard]] fiber_stack* running() const noexcept { return running_; }
  [[nodiscard]] bool loop_runs() const noexcept { return loop_runs_; }
  [[nodiscard]] bool closing() const noexcept { return closing_; }
  [[nodiscard]] std::size_t live() const noexcept { return live_; }
  void close() noexcept { closing_ = true; }

  // Gives `f` a stack, on which `body` runs. Null, with the reason in `why`, where memory or
  // mappings are short.
  fiber_stack* prepare(flow& f, void (*body)(flow&) noexcept, std::error_code& why) noexcept {
    fiber_stack* const s = free_.empty() ? os::context::create_with<fiber_stack>(stack_bytes_, why)
                                         : &free_.pop_front();
    if (!s) return nullptr;
    s->self = &f;
    s->crew = this;
    s->body = body;
    s->context.reset(&fiber_crew::enter, s);
    ++live_;
    return s;
  }

  // From the loop: runs the fiber until it waits or ends.
  void switch_to(fiber_stack& f) noexcept {
    const flow_turn turn(f.self);
    running_ = &f;
    os::context::switch_to(loop_, f.context);
    running_ = nullptr;
    if (!ended_) return;
    free_.push_back(*std::exchange(ended_, nullptr));
    --live_;
  }

  // From a fiber: back to the loop.
  void switch_back() noexcept { os::context::switch_to(running_->context, loop_); }

  template <class Engine>
  std::size_t turn(Engine& engine, clock::time_point until) noexcept {
    loop_runs_ = true;
    loop_.enter_thread();
    const std::size_t done = engine.turn(until);
    loop_.leave_thread();
    loop_runs_ = false;
    return done;
  }

private:
  static void enter(void* argument) noexcept {
    auto& me = *static_cast<fiber_stack*>(argument);
    me.body(*me.self);
    me.crew->ended_ = &me;
    os::context::leave_to(me.context, me.crew->loop_);
  }

  const std::size_t stack_bytes_;
  os::context loop_;
  fiber_stack* running_ = nullptr;
  fiber_stack* ended_ = nullptr;
  list<fiber_stack> free_;
  std::size_t live_ = 0;
  bool loop_runs_ = false;
  bool closing_ = false;
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
    fiber_crew& crew = static_cast<Scheduler*>(this->owner)->waker().crew();
    if (!crew.closing() && !this->killed) {
      if (fiber_stack* stack = crew.prepare(*this, &run, ec)) return crew.switch_to(*stack);
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
    requires std::same_as<decltype(std::declval<Scheduler&>().waker().crew()), detail::fiber_crew&>
  explicit fiber_parker(Scheduler& s) noexcept : crew_(s.waker().crew()), me_(crew_.running()) {
    if (me_) [[likely]]
      return;
    scheduler_ = &s;
    turn_ = [](void* sched) { static_cast<Scheduler*>(sched)->turn((clock::time_point::max)()); };
  }
  fiber_parker(const fiber_parker&) = delete;
  ~fiber_parker() {
    if (me_) me_->self->waiting = nullptr;
  }

  /// Whether a fiber calls that may do so: it need not wait where the call can be done at once.
  template <class Scheduler>
  [[nodiscard]] static bool undisturbed(Scheduler& s) noexcept {
    const detail::fiber_stack* const me = s.waker().crew().running();
    return me && !me->self->cancelled;
  }

  [[nodiscard]] const char* refusal() const noexcept {
    if (me_ || !crew_.loop_runs()) return nullptr;
    return "called inside the loop but by no fiber (by a posted function, say), so nobody is here "
           "who could wait; spawn one";
  }

  void enter(operation& op) {
    if (!me_) return;
    flow& self = *me_->self;
    if (self.cancelled) [[unlikely]]
      refuse(op);
    self.waiting = op_ = &op;
  }

  // Inlined, as what calls it: no `ret` then follows the switch, which the processor would predict
  // to go where the loop came from.
  ROUSE_ALWAYS_INLINE void park() {
    if (me_) [[likely]]
      wait_in_fiber();
    else
      while (!told_) turn_(scheduler_);
  }

  void unpark() noexcept {
    told_ = true;
    if (me_) crew_.switch_to(*me_);
  }

private:
  ROUSE_ALWAYS_INLINE void wait_in_fiber() {
    while (!told_) crew_.switch_back();
#if ROUSE_EXCEPTIONS
    const bool ends = op_ && (crew_.closing() || me_->self->ends_with(op_->error));
    if (ends && std::uncaught_exceptions() == 0) [[unlikely]]
      throw flow_unwind{};
#endif
  }

  // Where the scheduler goes, or the flow is killed, no call waits any more. A destructor that
  // calls during the unwinding gets an error instead.
  void refuse(operation& op) {
#if ROUSE_EXCEPTIONS
    const bool ends = crew_.closing() || me_->self->killed;
    if (ends && std::uncaught_exceptions() == 0) throw flow_unwind{};
#endif
    op.ending = std::errc::operation_canceled;
  }

  detail::fiber_crew& crew_;
  detail::fiber_stack* const me_;
  void* scheduler_; // where no fiber calls
  void (*turn_)(void*); // there
  operation* op_ = nullptr; // what may end the flow
  bool told_ = false;
};

/// Flows are fibers: each has a stack of its own, and a call that waits switches to the loop. All
/// of them share one thread.
///
/// Outside of any fiber (in main, before `run()`) a call runs the loop until it is done. When the
/// scheduler goes, fibers that wait are unwound: their destructors run. Cost: a switch each way,
/// some nanoseconds; a stack, pooled; the pages that it touches.
class fiber_waker : public parking_waker<fiber_parker> {
public:
  explicit fiber_waker(stack_size s = {}) noexcept : crew_(s.bytes) {}

  /// @param f  a callable without parameters; it lives as long as the flow.
  template <class Scheduler, class F>
  flow& spawn(Scheduler& s, F f) {
    static_assert(std::invocable<F&>,
                  "rouse: spawn takes a callable without parameters, or a task");
    auto* started = new detail::fiber_flow<Scheduler, F>(std::move(f));
    started->owner = &s;
    started->hold();
    flows_.push_back(*started);
    s.starter().start(*started, s.engine());
    return *started;
  }

  template <class Engine>
  void shut_down(Engine& engine) noexcept {
    crew_.close();
    flows_.for_each([&](flow& f) {
      f.cancelled = true;
      if (f.waiting) engine.cancel(*f.waiting);
    });
    while (crew_.live() != 0 && !engine.idle()) crew_.turn(engine, (clock::time_point::max)());
    flows_.for_each([](flow& f) {
      const bool over = f.ended.is_open;
      static_cast<detail::engine_flow<Engine>&>(f).orphan();
      if (!over) f.drop();
    });
  }

  template <class Engine>
  std::size_t turn(Engine& engine, clock::time_point until) noexcept {
    return crew_.turn(engine, until);
  }
  [[nodiscard]] bool inside_flow() const noexcept { return crew_.running() != nullptr; }
  [[nodiscard]] detail::fiber_crew& crew() noexcept { return crew_; }

  static constexpr const char* flow_name = "fiber";
  template <class F>
  void for_each_flow(F&& visit) {
    flows_.for_each(visit);
  }

private:
  detail::fiber_crew crew_;
  detail::list<flow> flows_;
};

} // namespace rouse::inline ROUSE_ABI

// Groups: flows that end together.
//
// A group has a member for each flow that has not ended. It is an operation that waits for the end
// of the flow, in one of two lists:
//
//     spawn --> active_ --cancel--> cancelling_ --+
//                  |                              +--> the flow has ended: the member is freed
//                  +------------------------------+
//
// `join` waits in queue_ until no member is left. The destructor joins as well if the calling
// thread is the scheduler's. A foreign thread instead posts an end_request and blocks until the
// loop has ended the flows.
#pragma once
#include <rouse/concepts/scheduler.hpp>
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/flow.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/waiting.hpp>
#include <rouse/detail/engine_home.hpp>
#include <rouse/detail/intrusive_list.hpp>
#include <rouse/flows/sync.hpp>
#include <rouse/fwd.hpp>
#include <rouse/os/thread_event.hpp>
#include <rouse/schedulers/basic_scheduler.hpp>

#include <atomic>
#include <cstddef>
#include <exception>
#include <memory>
#include <source_location>
#include <system_error>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

// Waits until no flow of the group is left. If its limit passes or it is cancelled, it cancels the
// flows, waits on without a limit, and then fails with the first error. A shielded call is the
// destructor's: it is not cancellable, and leaves the exception where it is.
template <class Group, bool Shielded>
struct group_call : acquire_call<group_state> {
  static constexpr const char* name = "rouse: join";
  static constexpr bool shielded = Shielded;
  Group* group;
  failure first_error{};

  bool prepare(operation& op) noexcept {
    if (Shielded) op.cancellation = cancellation::none;
    if (flow* const f = Shielded ? this_flow() : flow_waiting_by(op); f && group->contains(*f)) {
      op.error = std::errc::resource_deadlock_would_occur;
      return false;
    }
    return acquire_call::prepare(op);
  }
  bool advance(operation& op) noexcept {
    if (!op.error || op.cancellation == cancellation::none) {
      if (!op.error) op.error = first_error;
      group->reset();
      return true;
    }
    first_error = op.error;
    group->cancel();
    op.cancellation = cancellation::none;
    op.limited = false;
    return !prepare(op);
  }
  done value(operation& op) {
    if (!Shielded && !op.error) group->rethrow();
    return {};
  }
};

} // namespace detail

/// A group of flows that end together: when the group is destroyed, its flows have ended.
///
///     rouse::flow_group group{sched};
///     group.spawn([&]() -> rouse::task<> { ... });
///     group.spawn([&]() -> rouse::task<> { ... });
///     co_await group.join();          // of fibers and threads without co_await
///
/// When a flow throws, the other flows are cancelled: their waiting calls fail with
/// operation_canceled. `join` rethrows the exception; if the group is destroyed without another
/// `join`, `run()` does. Exceptions that follow, which are usually consequences of the first, are
/// dropped.
///
/// The destructor cancels the flows and waits until they have ended, even if the flow that calls it
/// is cancelled or killed. Outside of flows it runs the loop. With coroutines, which cannot wait in
/// a destructor, the flows are destroyed while they wait. Therefore flows may use variables that
/// were declared before the group. A flow of the group must not destroy the group. A flow that
/// ignores its refused calls endlessly aborts the program, as after `flow_handle::kill`.
///
/// Preconditions: the group is destroyed before its scheduler. Threads: the scheduler's own; with
/// `threads`, any may spawn, join and cancel. Any thread may destroy the group; a foreign thread
/// blocks until the flows have ended, which takes a running loop, or the scheduler's destructor.
/// Cost: that of the flows, and one allocation for each.
template <class Scheduler>
class flow_group {
  static_assert(Scheduler::template accepts<done>,
                "rouse: a group needs flows that wait, which callbacks do not have");
  using engine_type = typename Scheduler::engine_type;
  using call_site = detail::call_site;
  using location = detail::location;
  using nothing = detail::nothing;

public:
  explicit flow_group(Scheduler& s) noexcept : scheduler_(s), home_(s.engine().home()) {
    home_.hold();
  }
  flow_group(const flow_group&) = delete;
  flow_group& operator=(const flow_group&) = delete;
  ~flow_group() {
    if (!end_from_foreign_thread()) end_flows();
    home_.drop();
  }

  /// Starts a flow of the group; otherwise like the scheduler's `spawn`. If the group has been
  /// cancelled and not been joined since, the flow starts cancelled.
  template <class F>
  void spawn(F&& f, const std::source_location& where = std::source_location::current()) {
    auto m = std::make_unique<member>(*this);
    bool too_late = false;
    {
      const entering_scope entering(*this);
      m->watched = scheduler_.spawn(std::forward<F>(f), where).release();
      engine().with_completions([&](completions&) {
        too_late = cancelled_;
        (too_late ? cancelling_ : active_).push_back(*m);
        ++queue_.state.running;
      });
    }
    members_left_.fetch_add(1, std::memory_order_relaxed);
    if (too_late) scheduler_.cancel(*m->watched);
    m.release()->watch();
  }

  /// Waits until all flows have ended. If one has thrown, rethrows the first exception. A call that
  /// reaches its limit or is cancelled cancels all flows, waits until they have ended, and then
  /// fails.
  ///
  /// Errors: timed_out, operation_canceled; resource_deadlock_would_occur, at once, if the calling
  /// flow belongs to the group and would wait for its own end.
  template <class...>
  decltype(auto) join(location at = location::current()) {
    return begin<false>(at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) join(First&& first, How&& how = How(), call_site at = location::current()) {
    return begin<false>(at, std::forward<First>(first), std::forward<How>(how));
  }

  /// Cancels all flows: their waiting calls and all later ones fail with operation_canceled.
  void cancel() noexcept {
    while (flow* f = next_to_cancel()) {
      scheduler_.cancel(*f);
      f->drop();
    }
  }

  /// Number of flows that have not ended.
  [[nodiscard]] std::size_t running() const noexcept {
    std::size_t n = 0;
    engine().with_completions([&](completions&) { n = queue_.state.running; });
    return n;
  }

private:
  template <class, bool>
  friend struct detail::group_call;

  struct node : detail::list_node {};
  // Waits for the end of a flow. Holds a reference to it.
  struct member final : node, engine_type::operation {
    explicit member(flow_group& g) noexcept
        : engine_type::operation(&member::on_completed), group(g) {}

    void watch() noexcept {
      request_wait(*this, &watched->ended);
      if (group.engine().submit(*this)) group.ended(*this);
    }
    static void on_completed(operation& op) noexcept {
      auto& self = static_cast<member&>(static_cast<typename engine_type::operation&>(op));
      self.group.ended(self);
    }
    flow_group& group;
    flow* watched = nullptr;
  };

  // While it exists, a flow that already runs may not have been entered yet: with `threads`, it
  // may begin before the scheduler's spawn() returns.
  struct entering_scope {
    explicit entering_scope(flow_group& g) noexcept : group(g) {
      if constexpr (shared) group.entering_.fetch_add(1);
    }
    entering_scope(const entering_scope&) = delete;
    ~entering_scope() {
      if constexpr (shared) {
        if (group.entering_.fetch_sub(1) == 1) group.entering_.notify_all();
      }
    }
    flow_group& group;
  };

  // Posted by a foreign thread that destroys the group. The thread waits for `ended`.
  struct end_request final : engine_type::posted {
    explicit end_request(flow_group& g) noexcept
        : engine_type::posted(&end_request::on_loop), group(g) {}
    static void on_loop(typename engine_type::posted& p, bool) noexcept {
      auto& self = static_cast<end_request&>(p);
      self.group.end_on_loop(self);
    }
    flow_group& group;
    os::thread_event ended;
  };

  [[nodiscard]] engine_type& engine() const noexcept { return scheduler_.engine(); }

  static constexpr bool shared = engine_type::threading::shared;
  static constexpr bool destroys_flows =
      requires(Scheduler& s, engine_type& e, flow& f) { s.waker().end_now(e, f); };

  // ---- the end of the group

  void end_flows() noexcept {
    if constexpr (destroys_flows) {
      destroy_flows();
    } else {
      request_end();
      std::error_code ec;
      (void)begin<true>({}, ec);
      // The call was refused, in a posted function or in a flow of the group: detach the flows.
      if (ec) release_members([](flow&) {});
    }
    raise_thrown();
  }
  // Returns once the flows have ended, or if there are none or no engine. False: the calling thread
  // is the scheduler's, and calls end_flows() itself.
  bool end_from_foreign_thread() noexcept {
    if constexpr (shared) {
      return false;
    } else {
      end_request f(*this);
      bool here = false, waits = false;
      home_.meet([&](detail::whereabouts at, auto* engine) {
        here = at == detail::whereabouts::inside;
        waits = at == detail::whereabouts::outside &&
                (members_left_.load(std::memory_order_acquire) != 0 || thrown_);
        if (waits) engine->post(f);
      });
      if (waits) f.ended.wait();
      return !here;
    }
  }
  // Runs in the loop, for the foreign thread.
  void end_on_loop(end_request& f) noexcept {
    if constexpr (destroys_flows)
      destroy_flows();
    else
      request_end();
    end_request_ = &f;
    if (members_left_.load(std::memory_order_relaxed) == 0) finish_end_request();
  }
  void finish_end_request() noexcept {
    raise_thrown();
    end_request_->ended.raise(1); // the group may be destroyed from here on
  }

  void destroy_flows() noexcept {
    release_members([&](flow& f) {
      if (!f.ended.is_set && &f != detail::this_flow()) scheduler_.waker().end_now(engine(), f);
    });
  }
  void request_end() noexcept {
    engine().with_completions([&](completions&) { for_each([](flow& f) { f.must_end = true; }); });
    cancel();
  }
  void raise_thrown() noexcept {
    if (thrown_) engine().raise(std::move(thrown_));
  }
  // Counts the end of a flow, for end_from_foreign_thread(). Not with a shared engine, where the
  // group may have been destroyed by now.
  void count_down() noexcept {
    if constexpr (!shared) {
      const bool last = members_left_.load(std::memory_order_relaxed) == 1;
      if (last && end_request_) return finish_end_request();
      // The release pairs with the load in end_from_foreign_thread().
      members_left_.fetch_sub(1, std::memory_order_release);
    }
  }

  template <bool Shielded, class... Rest>
  decltype(auto) begin(const location& at, Rest&&... rest) {
    using call = detail::group_call<flow_group, Shielded>;
    return detail::begin_call(&scheduler_, call{{{detail::queued_waiter(queue_)}}, this}, at,
                              std::forward<Rest>(rest)...);
  }

  // True if `f` belongs to the group and has not ended.
  [[nodiscard]] bool contains(const flow& f) noexcept {
    if constexpr (shared) {
      while (const unsigned n = entering_.load()) entering_.wait(n);
    }
    bool found = false;
    engine().with_completions(
        [&](completions&) { for_each([&](flow& each) { found |= &each == &f; }); });
    return found;
  }
  template <class F>
  void for_each(F visit) {
    for (auto* members : {&active_, &cancelling_})
      members->for_each([&](node& n) { visit(*static_cast<member&>(n).watched); });
  }

  // Returns a flow that is not cancelled yet, with a reference to it; null if there is none.
  flow* next_to_cancel() noexcept {
    flow* f = nullptr;
    engine().with_completions([&](completions&) {
      cancelled_ = true;
      if (active_.empty()) return;
      auto& m = static_cast<member&>(active_.pop_front());
      cancelling_.push_back(m);
      f = m.watched;
      f->hold();
    });
    return f;
  }

  void ended(member& m) noexcept {
    bool first = false;
    engine().with_completions([&](completions&) { first = keep_first_exception(*m.watched); });
    if (first) cancel();
    engine().with_completions([&](completions& completed) {
      static_cast<node&>(m).unlink();
      --queue_.state.running;
      queue_.admit_waiting(completed); // last: a joining flow may destroy the group
    });
    count_down();
    free(m);
  }

  // Keeps the exception of a flow if it is the first one. Returns whether it was.
  bool keep_first_exception(flow& f) noexcept {
    const std::exception_ptr e = std::exchange(f.thrown, nullptr);
    const bool first = e && !failed_;
    if (first) thrown_ = e;
    failed_ = failed_ || first;
    return first;
  }

  // Stops watching the flows. Calls `end` for each.
  template <class F>
  void release_members(F end) noexcept {
    for (auto* members : {&active_, &cancelling_})
      while (!members->empty()) {
        auto& m = static_cast<member&>(members->pop_front());
        engine().abandon(m);
        end(*m.watched);
        if (m.watched->ended.is_set) keep_first_exception(*m.watched);
        if constexpr (!shared) members_left_.fetch_sub(1, std::memory_order_release);
        free(m);
      }
  }

  static void free(member& m) noexcept {
    flow* f = m.watched;
    delete &m;
    f->drop();
  }

  void reset() noexcept {
    engine().with_completions([&](completions&) { cancelled_ = failed_ = false; });
  }
  void rethrow() {
#if ROUSE_EXCEPTIONS
    if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
#endif
  }

  Scheduler& scheduler_;
  typename engine_type::home_type& home_;
  std::atomic<std::size_t> members_left_{0};
  std::atomic<unsigned> entering_{0};
  end_request* end_request_ = nullptr;
  // Guarded by the engine's lock.
  detail::wait_queue<detail::group_state> queue_{{0}, {}};
  detail::list<node> active_; // not cancelled
  detail::list<node> cancelling_; // cancelled, not ended
  bool cancelled_ = false;
  bool failed_ = false; // a flow threw, since the last join
  std::exception_ptr thrown_; // the first exception
};

}} // namespace rouse::ROUSE_ABI

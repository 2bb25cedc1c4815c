// A flow: one line of execution that a scheduler has spawned, be it a coroutine, a fiber or a
// thread.
//
//     spawn -> not begun -> begin() -> runs and waits -> end() --> `ended` is set
//                  |                        |                         ^
//                  +------------------------+-- orphan(): the scheduler is destroyed
//
// A flow has two references at first: its own, dropped by end() or orphan(), and its handle's. The
// last drop destroys it, on the thread that runs the engine. If it threw and no handle can join it
// any more, the engine keeps it (`raised`) until run() has rethrown the exception.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/raised.hpp>
#include <rouse/core/waiting.hpp>
#include <rouse/detail/chrono.hpp>
#include <rouse/detail/engine_home.hpp>
#include <rouse/detail/intrusive_list.hpp>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <source_location>
#include <system_error>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {

namespace detail {

// The base of a value of a flow_local.
struct local_value {
  virtual ~local_value() = default;
  std::uint64_t key = 0; // of its flow_local
  local_value* older = nullptr;
};

// The flow_local values of a flow, or of a thread.
class local_values {
public:
  ~local_values() { clear(); }
  [[nodiscard]] local_value* find(std::uint64_t key) const noexcept {
    local_value* v = newest_;
    while (v && v->key != key) v = v->older;
    return v;
  }
  void add(local_value& v) noexcept { v.older = std::exchange(newest_, &v); }
  // Destroys the newest first, and also the values that these destructors create.
  void clear() noexcept {
    while (local_value* v = newest_) {
      newest_ = v->older;
      delete v;
    }
  }

private:
  local_value* newest_ = nullptr;
};

} // namespace detail

/// Thrown by the waiting call of a killed fiber or thread, to unwind its stack. It is not reported.
///
/// `catch (...)` catches it, `catch (std::exception&)` does not. A `catch (...)` around a waiting
/// call must rethrow it or end the flow soon: each further call throws it again, and a flow that
/// keeps calling ends the program (see `flow_handle::kill`).
struct flow_unwind {};

/// The state of a flow, from which a waker derives the object that runs it. It lives as long as the
/// flow runs or a handle refers to it. Its links are those of the waker's list of flows; if an
/// exception has left the flow, later those of the engine's list of exceptions.
///
/// Threads: any may call `hold` and `drop`. The rest belongs to the thread that runs the engine, or
/// is guarded by the waker's lock.
class flow : public detail::raised {
public:
  virtual ~flow() = default;

  void* owner = nullptr; ///< the scheduler, null once it is destroyed
  operation* waiting = nullptr; ///< the pending operation of its call
  // The fields after `ended` share its last eight bytes.
  ROUSE_NO_UNIQUE_ADDRESS one_shot_event ended{"join"}; ///< set when the flow has ended
  std::atomic<bool> cancelled{false}; ///< its waiting calls fail with operation_canceled
  std::atomic<bool> killed{false}; ///< it ends at its next cancelled call
  std::atomic<bool> must_end{false}; ///< a group that is being destroyed waits for its end
  unsigned line = 0; ///< of the spawn call
  std::exception_ptr thrown; ///< the exception that left the flow
  std::atomic<const char*> file{nullptr}; ///< of the spawn call; null: unknown
  detail::local_values locals; ///< its flow_local values

  void spawned_at(const std::source_location& where) noexcept {
    line = where.line();
    file.store(where.file_name(), std::memory_order_release); // publishes `line`, too
  }

  /// Whether the flow ends at a call that completed with `error`. If the call succeeded although
  /// the flow was killed, the flow keeps the value and ends at its next call.
  [[nodiscard]] bool ends_with(failure error) const noexcept {
    return error == failure(std::errc::operation_canceled) &&
           killed.load(std::memory_order_relaxed);
  }

  /// Called in a catch block: keeps the exception that left the flow, for `join` or `run`. Ignores
  /// flow_unwind, and operation_canceled if the flow was cancelled.
  void keep_exception() noexcept {
#if ROUSE_EXCEPTIONS
    try {
      throw;
    } catch (const flow_unwind&) {
    } catch (const std::system_error& e) {
      if (cancelled && e.code() == std::errc::operation_canceled) return;
      thrown = std::current_exception();
    } catch (...) {
      thrown = std::current_exception();
    }
#endif
  }

  /// Destroys the coroutines of the flow, which are all suspended, and ends it: the last one has
  /// returned, or the flow was killed and its call has completed. For flows of coroutines only,
  /// which have no stack to unwind.
  virtual void end_suspended() noexcept {}

  void hold() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  /// Gives up a reference. The last one destroys the flow: here, or on the thread that runs its
  /// engine.
  void drop() noexcept {
    if (drop_reference()) destroy();
  }

protected:
  /// Gives up a reference; returns whether it was the last one.
  bool drop_reference() noexcept {
    // Release and acquire pair up among the dropping threads: the one that destroys the flow sees
    // the writes of the others.
    return references_.fetch_sub(1, std::memory_order_acq_rel) == 1;
  }
  /// Called once, on the thread that dropped the last reference.
  virtual void destroy() noexcept = 0;

private:
  std::atomic<int> references_{1};
};

/// Counts the calls of a fiber or thread that were refused because the flow has to end.
class refused_calls {
public:
  /// Counts one more. If the flow ignores too many, prints a message and aborts the program.
  void add(const flow& f) noexcept {
    // More refusals than the clean-up of an ending flow causes.
    constexpr unsigned some = 100, too_many = 10000;
    constexpr auto too_long = std::chrono::seconds(10);
    if (++count_ == 1) first_ = clock::now();
    const bool slow = count_ >= some && clock::now() - first_ > too_long;
    if (count_ < too_many && !slow) return;
    const char* const name = f.file.load(std::memory_order_acquire);
    std::fprintf(stderr,
                 "rouse: the flow that was spawned at %s:%u has to end (it was killed, or its "
                 "scheduler or group is being destroyed), but has ignored %u refused calls and "
                 "calls again: a loop around its calls must not swallow every exception or error\n",
                 name ? name : "an unknown place", f.line, count_);
    std::abort();
  }

private:
  unsigned count_ = 0;
  clock::time_point first_;
};

namespace detail {

// The flow that runs on the calling thread, or null. For code that stays on its thread.
inline flow*& this_flow_inlined() noexcept {
  static constinit thread_local flow* f = nullptr;
  return f;
}
// Likewise, for code of a flow: a fiber may continue on another thread.
ROUSE_NEVER_INLINE inline flow*& this_flow() noexcept { return this_flow_inlined(); }

// The flow that runs, if its pending operation is `op`; else null.
inline flow* flow_waiting_by(const operation& op) noexcept {
  flow* const f = this_flow();
  return f && f->waiting == &op ? f : nullptr;
}

// While it exists, `f` is the flow that runs on this thread. For code that resumes a flow.
class current_flow {
public:
  explicit current_flow(flow* f) noexcept : before_(std::exchange(this_flow_inlined(), f)) {}
  current_flow(const current_flow&) = delete;
  current_flow& operator=(const current_flow&) = delete;
  ~current_flow() { this_flow_inlined() = before_; }

private:
  flow* before_;
};

// Cancels the flow's pending call, and each later call that would wait.
template <class Engine>
void cancel_flow(Engine& engine, flow& f) noexcept {
  f.cancelled = true;
  if (f.waiting) engine.cancel(*f.waiting);
}

// The link of a flow in the list of its flow_starter, until the flow begins.
struct unbegun_flow : list_node {};

template <class Engine>
class flow_starter;

// A flow of a scheduler on an `Engine`.
template <class Engine>
class engine_flow : public flow, public unbegun_flow, Engine::posted {
public:
  engine_flow() noexcept : Engine::posted(&engine_flow::destroy_posted) {}
  ~engine_flow() override {
    if (home_) home_->drop();
  }

  void belong_to(Engine& e) noexcept {
    home_ = &e.home();
    home_->hold();
  }

  /// Whether the loop has called `begin` already, or never will.
  [[nodiscard]] bool begun() const noexcept { return !unbegun_flow::linked(); }

  /// Called when the scheduler is destroyed. A flow that has not ended ends here.
  void orphan() noexcept {
    const bool over = ended.is_set;
    destroy_coroutines();
    flow::unlink();
    owner = nullptr;
    cancel_begin();
    drop_locals();
    ended.is_set.store(true, std::memory_order_release);
    if (!over) drop();
  }

protected:
  /// Runs the flow until it first waits, or ends.
  virtual void begin() noexcept = 0;
  /// Destroys the coroutines of the flow, if it has any.
  virtual void destroy_coroutines() noexcept {}
  virtual void leave_list() noexcept { flow::unlink(); }
  virtual void free_memory() noexcept = 0;

  /// Keeps the loop from calling `begin`.
  void cancel_begin() noexcept { unbegun_flow::unlink(); }
  // The destructors of the values still run in the flow; the code after them does not.
  void drop_locals() noexcept {
    flow* const before = std::exchange(this_flow(), this);
    locals.clear();
    this_flow() = before == this ? nullptr : before;
  }
  /// Ends the flow; called last. Then the flow may have been destroyed.
  void end() noexcept {
    drop_locals();
    if (Engine* const e = engine()) e->set(ended);
    if (this->drop_reference()) destroy_now();
  }
  /// Null once the scheduler is destroyed.
  [[nodiscard]] Engine* engine() const noexcept { return owner ? home_->engine() : nullptr; }

private:
  friend class flow_starter<Engine>;

  // A thread that does not run the engine hands the flow over to the one that does, because the
  // flow is in the scheduler's list and may own objects of that thread.
  void destroy() noexcept final {
    if (!home_) return free_memory(); // never started
    bool here = true;
    home_->meet([&](whereabouts at, auto* engine) {
      here = at != whereabouts::outside;
      if (!here)
        engine->post(*this);
      else if (at == whereabouts::inside)
        here = !retire();
    });
    if (here) free_memory();
  }
  static void destroy_posted(typename Engine::posted& p, bool) noexcept {
    static_cast<engine_flow&>(p).destroy_now();
  }
  void destroy_now() noexcept {
    if (!retire()) free_memory();
  }
  // The flow has ended, and no handle can join it any more. If it threw, returns true: the engine
  // keeps the flow until run() has rethrown the exception.
  bool retire() noexcept {
    leave_list();
    Engine* const e = engine();
    if (!thrown || !e) return false;
    e->raise(*this);
    return true;
  }
  std::exception_ptr take() noexcept final {
    std::exception_ptr e = std::move(thrown);
    free_memory();
    return e;
  }

  typename Engine::home_type* home_ = nullptr;
};

// Makes the loop begin new flows. One operation begins all that were spawned since the last turn.
template <class Engine>
class flow_starter final : Engine::operation {
public:
  flow_starter() noexcept : Engine::operation(&flow_starter::on_completed) {}

  void start(engine_flow<Engine>& f, Engine& e) noexcept {
    f.belong_to(e);
    unbegun_.push_back(f);
    if (this->state != operation_state::idle) return;
    this->action = action::yield;
    (void)e.submit(*this); // a yield never completes at once
  }
  /// Called when the scheduler is destroyed: no flow begins any more.
  void close(Engine& e) noexcept {
    if (this->state != operation_state::idle) e.abandon(*this);
  }

private:
  static void on_completed(operation& op) noexcept {
    auto& self = static_cast<flow_starter&>(static_cast<typename Engine::operation&>(op));
    list<unbegun_flow> batch; // flows that these spawn wait for the next turn
    while (!self.unbegun_.empty()) batch.push_back(self.unbegun_.pop_front());
    while (!batch.empty()) {
      auto& f = static_cast<engine_flow<Engine>&>(batch.pop_front());
      const Engine& engine = *f.engine();
      f.begin();
      if (engine.inert()) // forked: the rest are the parent's
        break;
    }
    while (!batch.empty()) self.unbegun_.push_back(batch.pop_front());
  }

  list<unbegun_flow> unbegun_;
};

/// Waits for the end of a flow, and rethrows the exception that left it.
struct join_call {
  using value_type = done;
  static constexpr const char* name = "rouse: join";
  flow* joined;

  bool prepare(operation& op) noexcept {
    request_wait(op, &joined->ended);
    if (flow_waiting_by(op) != joined) return true;
    op.error = std::errc::resource_deadlock_would_occur;
    return false;
  }
  bool advance(operation&) noexcept { return true; }
  done value(operation& op) {
#if ROUSE_EXCEPTIONS
    if (!op.error && joined->thrown) std::rethrow_exception(std::exchange(joined->thrown, nullptr));
#endif
    (void)op;
    return {};
  }
};

// With callbacks it returns a sleep_handle. A limit that expires before `until` ends it with
// timed_out.
struct sleep_call {
  using value_type = done;
  static constexpr const char* name = "rouse: sleep";
  static constexpr bool gives_handle = true;
  deadline until;

  bool prepare(operation& op) noexcept {
    request_wait(op, nullptr);
    op.limit_to(until.when());
    return true;
  }
  bool advance(operation& op) noexcept {
    if (op.error == failure(std::errc::timed_out) && op.due >= until.when()) op.error = {};
    return true;
  }
  done value(operation&) noexcept { return {}; }
};

struct yield_call {
  using value_type = done;
  static constexpr const char* name = "rouse: yield";

  bool prepare(operation& op) noexcept {
    op.action = action::yield;
    return true;
  }
  bool advance(operation&) noexcept { return true; }
  done value(operation&) noexcept { return {}; }
};

} // namespace detail
}} // namespace rouse::ROUSE_ABI

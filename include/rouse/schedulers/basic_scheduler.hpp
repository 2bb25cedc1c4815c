// The scheduler: an engine and a waker.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/flow.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/task.hpp>
#include <rouse/detail/chrono.hpp>
#include <rouse/schedulers/dump.hpp>
#include <rouse/schedulers/flow_handle.hpp>
#include <rouse/schedulers/posted_function.hpp>
#include <rouse/schedulers/scheduler_loop.hpp>

#include <concepts>
#include <cstddef>
#include <cstdio>
#include <source_location>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {
/// Runs flows, and the engine that does their I/O.
///
/// @tparam Engine  the kernel interface: `native_engine`, `io_uring_engine`, `epoll_engine`,
///                 `iocp_engine`, or the user's.
/// @tparam Waker   how waiting code is woken: `coroutine_waker`, `fiber_waker`, `thread_waker`,
///                 `callback_waker`, or the user's.
///
/// The destructor cancels all pending operations, waits for their completions, and ends the flows
/// that wait: it unwinds fibers, destroys coroutines, joins threads after their call has failed
/// with operation_canceled, and destroys handlers without calling them. Sockets may outlive the
/// scheduler; their calls then fail with bad_file_descriptor.
///
/// A scheduler that is destroyed while it runs is left as it is: nothing is cancelled, no flow
/// ends, no memory is freed. This happens when a flow or another thread calls `exit()`, which
/// destroys static objects; the program is about to end then.
///
/// In a child of fork(2), a scheduler that the parent has used is inert. `run` and its variants,
/// `spawn` and each call fail with operation_not_permitted. The destructor closes the sockets and
/// leaves the flows, which are copies of the parent's, in memory. A scheduler that the parent has
/// never used works.
///
/// Threads: one thread at a time runs a scheduler and uses its sockets; any thread may call `post`
/// and `stop`. With a shared engine (`threads`), any thread may make any call.
template <class Engine, class Waker>
class basic_scheduler : detail::scheduler_loop<basic_scheduler<Engine, Waker>, Engine, Waker> {
  using loop = detail::scheduler_loop<basic_scheduler, Engine, Waker>;
  friend loop;
  using call_site = detail::call_site;
  using location = detail::location;
  using nothing = detail::nothing;

public:
  using typename loop::engine_type;
  using waker_type = Waker;

  template <class Value, class... How>
  static constexpr bool accepts = Waker::template accepts<Value, How...>;

  /// Creates a scheduler with an engine of its own.
  /// @param args  the arguments of the waker, such as the `stack_size` of fibers.
  ///
  /// Errors: those of the kernel as it creates the engine (too_many_files_open, ...).
  template <class... Args>
    requires std::constructible_from<Waker, Args...>
  explicit basic_scheduler(Args&&... args)
      : loop(loop::make_engine(), std::forward<Args>(args)...) {}
  /// Creates a scheduler on the engine of another one, which must outlive this one. The flows of
  /// both run in one loop.
  template <class... Args>
    requires std::constructible_from<Waker, Args...>
  explicit basic_scheduler(engine_type& engine, Args&&... args)
      : loop(engine, std::forward<Args>(args)...) {}

  ~basic_scheduler() { loop::shut_down(); }

  // ---- flows

  /// Starts a flow. It begins in the loop (a thread at once), not inside this call.
  /// @param f      on coroutines a `task` or a callable that returns one; otherwise a callable
  ///               without parameters, or (not on callbacks) a `task` or a callable that returns
  ///               one. It is moved into the flow and lives at least until the flow has ended.
  /// @param where  the source location that `dump` prints.
  /// @returns a handle; destroying it detaches the flow.
  ///
  /// Errors: std::bad_alloc; on threads those of std::thread; operation_not_permitted in a forked
  /// child. A fiber for which no stack is left ends at once with that error, which `join` throws.
  template <class F>
  flow_handle<basic_scheduler>
  spawn(F&& f, const std::source_location& where = std::source_location::current()) {
    static_assert(std::constructible_from<std::decay_t<F>, F>,
                  "rouse: spawn keeps what it is given, which cannot be copied: write "
                  "spawn(std::move(t))");
    static_assert(
        requires { &Waker::template spawn<basic_scheduler, std::decay_t<F>>; },
        "rouse: this waker has no flows of its own; start them with whatever its parker parks");
    if (engine_->inert()) loop::refuse_in_child("rouse: spawn");
    flow& started = waker_.spawn(*this, as_flow<Waker>(std::forward<F>(f)));
    started.spawned_at(where);
    return flow_handle<basic_scheduler>(started);
  }

  /// Fibers only: calls `f(out, in)` at each switch from now on. `out` is the fiber that is
  /// switched out and `in` the one that is switched in; one of them is null, which means the loop.
  /// So a switch from one fiber to another takes two calls.
  ///
  /// Use it for state that belongs to a thread but that each fiber needs for itself, such as the
  /// thread state of an embedded interpreter:
  ///
  ///     rouse::flow_local<interpreter_state> own;   // its destructor ends the state
  ///     sched.on_switch([&](rouse::flow*, rouse::flow* in) noexcept {
  ///       PyThreadState_Swap(in ? own->get() : of_the_loop);
  ///     });
  ///
  /// A fiber is switched in for the first time when it begins. Inside `f`, a `flow_local` has the
  /// value of the fiber that is switched in or out. A fiber that ends destroys its values before it
  /// is switched out for the last time; in that last call a `flow_local` has the thread's value.
  /// The `flow*` is not valid afterwards.
  ///
  /// @param f  a noexcept callable of two `flow*`; `nullptr` removes the last one. It lives until
  ///           the next `on_switch`, or as long as the scheduler. It must not wait, spawn, or call
  ///           `on_switch`.
  ///
  /// Threads: `f` is called on the thread that runs the scheduler, which must be the one that calls
  /// this. Cost: two branches per switch if none is set.
  template <class F>
  void on_switch(F f)
    requires requires { &Waker::template on_switch<F>; }
  {
    waker_.on_switch(std::move(f));
  }

  /// A handle of the calling flow, for other flows to cancel or kill it. Empty outside of the flows
  /// of this scheduler.
  [[nodiscard]] flow_handle<basic_scheduler> current() noexcept
    requires(accepts<done>)
  {
    flow* const f = detail::this_flow();
    if (!f || f->owner != this) return {};
    f->hold();
    return flow_handle<basic_scheduler>(*f);
  }

  /// Waits until a point in time. Like `recv`, it is awaited on coroutines and takes a handler on
  /// callbacks.
  ///
  /// @param when  a point in time of `rouse::clock`, or a duration from now on, in any unit. A time
  ///              beyond the clock's range never comes; a time in the past lets other flows run.
  /// @param l     as of any call: `sleep_for(1s, token)`, `sleep_for(1s, {5s, token})`. The sleep
  ///              succeeds if its time is not later than the limit. Without `when`, as in
  ///              `sleep_for({1s, token})`, the limit's deadline is the time of the sleep.
  /// @returns nothing; with callbacks a `sleep_handle`, which can cancel the sleep.
  ///
  /// Errors: operation_canceled (a stop_token, a cancel of the flow, the handle), timed_out (the
  /// limit).
  template <class...>
  decltype(auto) sleep_until(deadline when, location at = location::current()) {
    return detail::begin_call(this, detail::sleep_call{when}, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) sleep_until(deadline when, First&& first, How&& how = How(),
                             call_site at = location::current()) {
    return detail::begin_call(this, detail::sleep_call{when}, at, std::forward<First>(first),
                              std::forward<How>(how));
  }
  template <class Limit = limit, class How = nothing>
    requires std::same_as<Limit, limit>
  decltype(auto) sleep_until(Limit l, How&& how = How(), call_site at = location::current()) {
    const deadline when = l.when();
    return sleep_until(when, std::move(l), std::forward<How>(how), at);
  }
  /// Waits for a duration; otherwise like `sleep_until`.
  template <class Rep, class Period>
  decltype(auto) sleep_for(std::chrono::duration<Rep, Period> d,
                           location at = location::current()) {
    return sleep_until(deadline(d), at);
  }
  template <class Rep, class Period, class First = limit, class How = nothing>
  decltype(auto) sleep_for(std::chrono::duration<Rep, Period> d, First&& first, How&& how = How(),
                           call_site at = location::current()) {
    return sleep_until(deadline(d), std::forward<First>(first), std::forward<How>(how), at);
  }
  template <class Limit = limit, class How = nothing>
    requires std::same_as<Limit, limit>
  decltype(auto) sleep_for(Limit l, How&& how = How(), call_site at = location::current()) {
    return sleep_until(std::move(l), std::forward<How>(how), at);
  }
  /// Lets the other ready flows, handlers and posted functions run first.
  template <class...>
  decltype(auto) yield(location at = location::current()) {
    return detail::begin_call(this, detail::yield_call{}, at);
  }
  template <class How>
  decltype(auto) yield(How&& how, call_site at = location::current()) {
    return initiate(this, detail::yield_call{}, no_limit{at}, std::forward<How>(how));
  }

  // ---- the loop

  /// Runs the loop until nothing is left to do, or until `stop()`.
  /// @returns how many waiters were woken and functions called.
  ///
  /// Rethrows what a detached flow, a handler or a posted function threw; it may then be called
  /// again (O7).
  ///
  /// Errors, also of the functions below: operation_not_permitted inside the loop itself (in a flow
  /// of this scheduler, a handler, a posted function), in a forked child, and on another thread
  /// than before while operations are in flight that the kernel has bound to that thread.
  std::size_t run() { return loop::run_until({}, false); }
  /// Likewise, for at most `d`, in any unit. A duration too long for the clock is no limit.
  template <class Rep, class Period>
  std::size_t run_for(std::chrono::duration<Rep, Period> d) {
    return loop::run_until(deadline(d), false);
  }
  /// Runs one turn of the loop. If nothing is ready, it waits, for at most `d`. Returns 0 at once
  /// if nothing is left to do.
  std::size_t run_once() { return loop::run_until({}, true); }
  template <class Rep, class Period>
  std::size_t run_once(std::chrono::duration<Rep, Period> d) {
    return loop::run_until(deadline(d), true);
  }
  /// Runs what is ready, without waiting.
  std::size_t poll() { return loop::run_until(deadline((clock::time_point::min)()), true); }

  /// The handle and the deadline that another event loop waits for in place of `run`.
  ///
  /// Before each wait, that loop calls `poll()` and then `next_deadline()`. It waits until the
  /// handle is readable or the deadline has passed, and begins anew. A `post`, a `stop` and a stop
  /// request of another thread make the handle readable.
  ///
  ///     for (;;) {
  ///       sched.poll();
  ///       const rouse::deadline due = sched.next_deadline(); // never: only the handle counts
  ///       wait_readable(sched.native_wait_handle(), due); // g_main_loop, poll(2), epoll_wait(2)
  ///       ...
  ///     }
  ///
  /// The scheduler owns the handle, which stays the same: wait for it level-triggered, but neither
  /// read nor close it. It may be readable although nothing is ready. A forked child must get a
  /// handle of its own.
  ///
  /// @returns a file descriptor with epoll, with kqueue, and with io_uring since Linux 5.18.
  ///          Otherwise -1, also if file descriptors or memory are short, and in a child of a
  ///          parent that has used the scheduler. On Windows INVALID_SOCKET, because a completion
  ///          port cannot be waited for. Such a scheduler needs a thread of its own.
  ///
  /// Threads: the scheduler's own. Cost of `next_deadline`: with epoll and kqueue one system call;
  /// with io_uring three, and two more file descriptors after the first call of either function.
  [[nodiscard]] native_handle_type native_wait_handle() const noexcept
    requires(!engine_type::threading::shared)
  {
    return engine_->wait_handle();
  }
  [[nodiscard]] deadline next_deadline() noexcept
    requires(!engine_type::threading::shared)
  {
    return engine_->prepare_foreign_wait();
  }

  /// Makes `run` return after its current turn of the loop. If no thread is in `run`, the next call
  /// returns at once. Threads: any.
  void stop() noexcept { loop::stop(); }

  /// Makes the loop call `f`, once; `run()` rethrows what it throws. Threads: any.
  /// @param f  a callable without parameters; it must not return a `task`. It is destroyed without
  ///           being called if the scheduler's engine is destroyed first.
  template <class F>
  void post(F&& f) {
    static_assert(std::invocable<std::decay_t<F>&>,
                  "rouse: post takes a callable without parameters");
    static_assert(!detail::gives_task<std::decay_t<F>>,
                  "rouse: post would drop the task that this callable returns: spawn it");
    using function = detail::posted_function<engine_type, std::decay_t<F>>;
    engine_->post(*new function(*engine_, std::forward<F>(f)));
    loop::notify();
  }

  [[nodiscard]] engine_type& engine() const noexcept { return *engine_; }
  [[nodiscard]] Waker& waker() noexcept { return waker_; }
  /// Begins the flows that the waker has spawned.
  [[nodiscard]] detail::flow_starter<engine_type>& starter() noexcept { return starter_; }
  /// Which engine runs, and why a better one was refused.
  [[nodiscard]] std::string engine_report() const { return engine_->report(); }

  // ---- diagnosis

  /// Prints what waits, for people to read; the wording may change.
  ///
  /// One line for each operation of the engine: the call, or what it waits for ("sleep", "channel
  /// receive", "lock", "join"), its socket and endpoints, and the time left of its limit. One line
  /// for each flow of this scheduler: where it was spawned and what it waits for.
  ///
  /// @param out  a callable that takes one line after another as `std::string_view`, or a stdio
  ///             stream.
  ///
  /// Threads: the scheduler's own; another thread may `post([&] { sched.dump(); })`. With a shared
  /// engine, any. Cost: allocates; two system calls for each operation on a socket.
  template <class Out>
    requires std::invocable<Out&, std::string_view>
  void dump(Out&& out) {
    detail::dump_text text;
    text.add_operations(*engine_);
    if constexpr (requires { Waker::flow_name; }) {
      waker_.for_each_flow([&](const flow& f) {
        const auto& started = static_cast<const detail::engine_flow<engine_type>&>(f);
        text.add_flow(Waker::flow_name, f, started.begun());
      });
    }
    out(std::string_view("rouse: what waits, on " + engine_report() + "\n"));
    for (const std::string& line : text.lines()) out(std::string_view(line));
  }
  void dump(std::FILE* out = stderr) {
    dump([&](std::string_view line) { std::fwrite(line.data(), 1, line.size(), out); });
  }

  // ---- for sockets, channels and wakers

  /// Starts a call the way the waker does.
  /// @param s  null if the scheduler was destroyed: the call then fails with bad_file_descriptor.
  template <class Call, class Limit, class... How>
  ROUSE_ALWAYS_INLINE static decltype(auto) initiate(basic_scheduler* s, Call&& call, Limit l,
                                                     How&&... how) {
    if constexpr (!accepts<typename Call::value_type, How...>) detail::explain_misplaced<How...>();
    return Waker::initiate(s, std::move(call), std::move(l), std::forward<How>(how)...);
  }

  void cancel(flow& f) noexcept {
    if constexpr (requires { waker_.cancel(*engine_, f); })
      waker_.cancel(*engine_, f);
    else
      detail::cancel_flow(*engine_, f);
  }

  // For wakers that run the loop inside a waiting call.
  using loop::turn;
  using typename loop::running;

private:
  using loop::engine_;
  using loop::starter_;
  using loop::waker_;

  // What the waker starts. On fibers and threads every call returns directly, so a task runs from
  // its first line to its last without suspending.
  template <class W, class F>
  static auto as_flow(F&& f) {
    using callable = std::decay_t<F>;
    if constexpr (!detail::blocking_waker<W>)
      return callable(std::forward<F>(f));
    else if constexpr (detail::is_task<callable>)
      return [t = std::move(f)]() mutable { detail::run_here(std::move(t)); };
    else if constexpr (detail::gives_task<callable>)
      return [g = callable(std::forward<F>(f))]() mutable { detail::run_here(g()); };
    else
      return callable(std::forward<F>(f));
  }
};

}} // namespace rouse::ROUSE_ABI

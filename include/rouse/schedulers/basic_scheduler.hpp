// The scheduler: an engine and a waker.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/flow.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/detail/chrono.hpp>
#include <rouse/schedulers/dump.hpp>
#include <rouse/schedulers/flow_handle.hpp>
#include <rouse/schedulers/posted_function.hpp>
#include <rouse/schedulers/scheduler_loop.hpp>
#include <rouse/schedulers/task.hpp>

#include <concepts>
#include <cstddef>
#include <cstdio>
#include <source_location>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

// A waker whose calls return their value directly.
template <class W>
concept blocking_waker = requires { requires W::blocking; };

} // namespace detail

/// Runs flows, and the engine that does their I/O.
///
/// @tparam Engine  which kernel interface: `native_engine`, `io_uring_engine`, `epoll_engine`,
/// `iocp_engine`, or the user's.
/// @tparam Waker   how waiting code is woken: `coroutine_waker`, `fiber_waker`, `thread_waker`,
/// `callback_waker`, or the user's.
///
/// On destruction everything pending is cancelled and reaped; flows that wait are ended: fibers
/// unwound, coroutines destroyed, threads joined after their call has ended with
/// operation_canceled, handlers destroyed. Sockets may outlive the scheduler; their calls then end
/// with bad_file_descriptor.
///
/// One that is destroyed while it is run (as `exit()` destroys static objects, in a flow or in
/// another thread) is left as it is: nothing is cancelled, no flow ends, no memory is freed, since
/// the program is about to end.
///
/// In a child of fork(2) a scheduler that the parent has used is inert: `run` and its kin, `spawn`
/// and each call give operation_not_permitted, and the destructor closes the sockets, but leaves the
/// flows, which are copies of the parent's, in memory as they are. One that was never used works.
///
/// Threads: one at a time runs it, and uses its sockets; `post` and `stop` are for any. With a
/// shared engine (`threads`), all calls are for any.
template <class Engine, class Waker>
class basic_scheduler : detail::scheduler_loop<basic_scheduler<Engine, Waker>, Engine, Waker> {
  using loop = detail::scheduler_loop<basic_scheduler, Engine, Waker>;
  friend loop;

public:
  using typename loop::engine_type;
  using waker_type = Waker;

  template <class Value, class... How>
  static constexpr bool accepts = Waker::template accepts<Value, How...>;

  /// With an engine of its own. What the waker takes (a fiber's `stack_size`) may be given.
  ///
  /// Errors: what the kernel refused the engine with (too_many_files_open, ...).
  template <class... Args>
    requires std::constructible_from<Waker, Args...>
  explicit basic_scheduler(Args&&... args)
      : loop(loop::make_engine(), std::forward<Args>(args)...) {}
  /// On the engine of another scheduler, which must outlive this one: both kinds of flow run in one
  /// loop.
  template <class... Args>
    requires std::constructible_from<Waker, Args...>
  explicit basic_scheduler(engine_type& engine, Args&&... args)
      : loop(engine, std::forward<Args>(args)...) {}

  ~basic_scheduler() { loop::shut_down(); }

  // ---- flows

  /// Starts a flow. `f` lives as long as the flow does.
  /// @param f  for coroutines a `task` or a callable that returns one; else a callable, or a
  /// `task`.
  /// @param where  what `dump` says of it.
  template <class F>
  flow_handle<basic_scheduler>
  spawn(F&& f, const std::source_location& where = std::source_location::current()) {
    static_assert(std::constructible_from<std::decay_t<F>, F>,
                  "rouse: spawn keeps what it is given, which cannot be copied: write "
                  "spawn(std::move(t))");
    static_assert(
        requires { &Waker::template spawn<basic_scheduler, std::decay_t<F>>; },
        "rouse: this waker has no flows of its own; start them with whatever its parker parks");
    if (engine_->inert()) [[unlikely]]
      loop::refuse_in_child("rouse: spawn");
    flow& started = waker_.spawn(*this, as_flow<Waker>(std::forward<F>(f)));
    started.spawned_at(where);
    return flow_handle<basic_scheduler>(started);
  }

  /// Fibers only: from now on calls `f(out, in)`, a callable of two `flow*`, at each switch. Of the
  /// two, the fiber that goes out and the one that comes in, one is null: the loop. So two fibers
  /// follow each other in two calls. For what a thread has and each fiber needs for itself, the
  /// current thread state of an embedded interpreter, say:
  ///
  ///     rouse::flow_local<interpreter_state> own;   // its destructor ends the state
  ///     sched.on_switch([&](rouse::flow*, rouse::flow* in) noexcept {
  ///       PyThreadState_Swap(in ? own->get() : of_the_loop);
  ///     });
  ///
  /// A fiber comes in for the first time when it begins. A `flow_local` gives `f` the value of the
  /// fiber that comes in or goes out; as a fiber ends, its values are destroyed while it is still
  /// in, and it goes out for good with those of the thread. Its `flow*` is not valid afterwards.
  ///
  /// @param f  lives until the next `on_switch`, or as long as the scheduler. `nullptr` ends it. It
  /// has to be noexcept, and must not wait, spawn, or call `on_switch`.
  ///
  /// Threads: called on the one that runs the scheduler, which has to be the one that calls this.
  /// Cost: two branches a switch where none is set.
  template <class F>
  void on_switch(F f)
    requires requires { &Waker::template on_switch<F>; }
  {
    waker_.on_switch(std::move(f));
  }

  /// The flow that calls (one of none, if none does): to hand to others, who may cancel or kill it.
  [[nodiscard]] flow_handle<basic_scheduler> current() noexcept
    requires(accepts<done>)
  {
    flow* const f = detail::this_flow();
    if (!f || f->owner != this) return {};
    f->hold();
    return flow_handle<basic_scheduler>(*f);
  }

  /// Waits until then; awaited, or with a handler, where recv would be.
  ///
  /// @param when  a point in time, or a duration from now on, of any type. One too long for the
  /// clock never comes; one that is past lets the others have their turn.
  /// @param l  as of any call: `sleep_for(1s, token)`, `sleep_for(1s, {5s, token})`. A sleep whose
  /// time comes no later than its limit is a success. Alone, `sleep_for({1s, token})`, its deadline
  /// is the time of the sleep.
  /// @returns nothing; with callbacks a `sleep_handle`, which can cancel the sleep.
  ///
  /// Errors: operation_canceled (a stop_token, a cancel of the flow, the handle), timed_out (its
  /// limit).
  template <class How = detail::nothing>
    requires(!detail::limit_first<How>)
  decltype(auto) sleep_until(deadline when, How&& how = How(),
                             detail::call_site at = std::source_location::current()) {
    return initiate(this, detail::sleep_call{when}, no_limit{at}, std::forward<How>(how));
  }
  template <class... How>
  decltype(auto) sleep_until(deadline when, limit l, How&&... how) {
    const deadline first = when < l.when() ? when : l.when();
    return initiate(this, detail::sleep_call{when}, limit{first, l.token(), l.at()},
                    std::forward<How>(how)...);
  }
  template <class Limit = limit, class... How>
    requires std::same_as<Limit, limit>
  decltype(auto) sleep_until(Limit l, How&&... how) {
    const deadline when = l.when();
    return sleep_until(when, std::move(l), std::forward<How>(how)...);
  }
  /// The same, from now on.
  template <class Rep, class Period, class How = detail::nothing>
    requires(!detail::limit_first<How>)
  decltype(auto) sleep_for(std::chrono::duration<Rep, Period> d, How&& how = How(),
                           detail::call_site at = std::source_location::current()) {
    return sleep_until(deadline(d), std::forward<How>(how), at);
  }
  template <class Rep, class Period, class... How>
  decltype(auto) sleep_for(std::chrono::duration<Rep, Period> d, limit l, How&&... how) {
    return sleep_until(deadline(d), std::move(l), std::forward<How>(how)...);
  }
  template <class Limit = limit, class... How>
    requires std::same_as<Limit, limit>
  decltype(auto) sleep_for(Limit l, How&&... how) {
    return sleep_until(std::move(l), std::forward<How>(how)...);
  }
  /// Lets others run first.
  template <class How = detail::nothing>
  decltype(auto) yield(How&& how = How(), detail::call_site at = std::source_location::current()) {
    return initiate(this, detail::yield_call{}, no_limit{at}, std::forward<How>(how));
  }

  // ---- the loop

  /// Runs until nothing is left to do, or `stop()`.
  /// @returns how many waiters were woken and functions called. Throws what a detached flow or a
  /// handler threw; it may then be called again (O7).
  ///
  /// Errors: operation_not_permitted inside the loop itself, of this and the functions below: in a
  /// flow of this scheduler, a handler, a posted function.
  std::size_t run() { return loop::run_until({}, false); }
  /// The same, for no longer than `d`, of any type; one too long for the clock is no limit.
  template <class Rep, class Period>
  std::size_t run_for(std::chrono::duration<Rep, Period> d) {
    return loop::run_until(deadline(d), false);
  }
  /// One turn of the loop, which waits if nothing is ready, if need be until the limit; 0 at once
  /// when nothing is left to do.
  std::size_t run_once() { return loop::run_until({}, true); }
  template <class Rep, class Period>
  std::size_t run_once(std::chrono::duration<Rep, Period> d) {
    return loop::run_until(deadline(d), true);
  }
  /// What is ready, without waiting.
  std::size_t poll() { return loop::run_until(deadline((clock::time_point::min)()), true); }

  /// Inside another event loop, which waits in place of `run`: before it waits, it calls `poll()`
  /// and then this; it waits until the handle is readable, or the deadline has come, and begins
  /// anew. What other threads post, a `stop` and a stop_token make the handle ready.
  ///
  ///     for (;;) {
  ///       sched.poll();
  ///       const rouse::deadline due = sched.next_deadline(); // never: only the handle counts
  ///       wait_readable(sched.native_wait_handle(), due); // g_main_loop, poll(2), epoll_wait(2)
  ///       ...
  ///     }
  ///
  /// The handle is the scheduler's and stays the same: it is only waited for, level-triggered, and
  /// neither read nor closed. It may be readable although nothing is ready. A forked child has to
  /// ask for its own.
  ///
  /// @returns a file descriptor with epoll, and with io_uring since Linux 5.18. Else -1, also where
  /// file descriptors or memory are short, and in a child of a parent that has used the scheduler;
  /// on Windows INVALID_SOCKET, since a completion port is no object to wait for. Such a scheduler
  /// needs a thread of its own.
  /// Threads: the scheduler's own. Cost of `next_deadline`: with epoll one system call; with
  /// io_uring three, and two more file descriptors from the first call of either function on.
  [[nodiscard]] native_handle_type native_wait_handle() const noexcept
    requires(!engine_type::threading::shared)
  {
    return engine_->wait_handle();
  }
  [[nodiscard]] deadline next_deadline() noexcept
    requires(!engine_type::threading::shared)
  {
    return engine_->rest_outside();
  }

  /// Makes `run` return as soon as what it is about is done; if none runs, the next one returns at
  /// once. Any thread.
  void stop() noexcept { loop::stop(); }

  /// Calls `f` from the loop. Any thread. What it throws comes out of `run()`.
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
  /// Has a flow begun that the waker has made.
  [[nodiscard]] detail::flow_starter<engine_type>& starter() noexcept { return starter_; }
  /// Which engine runs, and why a better one was refused.
  [[nodiscard]] const std::string& engine_report() const noexcept { return engine_->report(); }

  // ---- to see what waits

  /// Says in words what waits, a line for each operation of the engine (which call, or what it
  /// waits for: "sleep", "channel receive", "lock", "join"; its socket and endpoints, what is left
  /// of its limit) and for each flow of this scheduler (where it was spawned, what it waits for).
  /// For people: the wording may change.
  ///
  /// @param out  a callable that is given one line after another, as `std::string_view`, or a
  /// stdio stream.
  ///
  /// Threads: the scheduler's own; from another one `post([&] { sched.dump(); })`. With a shared
  /// engine any. Cost: allocates; two system calls for each operation on a socket.
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

  // ---- for sockets and the like

  /// Starts a call the waker's way.
  /// @param s  null where there is no scheduler any more: the call then ends with
  /// bad_file_descriptor.
  template <class Call, class Limit, class... How>
  ROUSE_ALWAYS_INLINE static decltype(auto) initiate(basic_scheduler* s, Call&& call, Limit l,
                                                     How&&... how) {
    if constexpr (!accepts<typename Call::value_type, How...>) detail::explain_misplaced<How...>();
    return Waker::initiate(s, std::move(call), std::move(l), std::forward<How>(how)...);
  }
  template <class Call, class Limit>
  ROUSE_ALWAYS_INLINE static decltype(auto) initiate(basic_scheduler* s, Call&& call, Limit l,
                                                     detail::nothing) {
    return initiate(s, std::move(call), std::move(l));
  }

  void cancel(flow& f) noexcept {
    if constexpr (requires { waker_.cancel(*engine_, f); })
      waker_.cancel(*engine_, f);
    else
      detail::cancel_flow(*engine_, f);
  }

  // For wakers whose waiting code runs the loop.
  using loop::turn;
  using typename loop::running;

private:
  using loop::engine_;
  using loop::starter_;
  using loop::waker_;

  // What the waker starts: where calls return directly, a task runs from its first line to its last
  // without suspending.
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

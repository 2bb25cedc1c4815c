// per_core: a server with one scheduler per core, which share nothing.
//
// Where the system spreads connections over listeners (Linux), each core accepts from its own:
//
//     core k:  listener k --> accept --> start
//
// Elsewhere (Windows) core 0 accepts for all, and posts each handle to the next core in turn:
//
//     core 0:  listener 0 --> accept --> dispatch --+--> start
//     core k:                                       +--post--> adopt --> start
//                      permit of core 0 <--post-- end of the connection
//
// A permit always returns to the core that accepted the connection: that core waits for a permit
// before it accepts. mutex_ guards the table of workers, so that no core posts to a scheduler that
// is being destroyed.
//
// It does not use `serve`: permits that cross cores, the accepts of callbacks, and a stop that
// destroys the schedulers instead of cancelling the flows would each need an extension of it.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/task.hpp>
#include <rouse/detail/guarded.hpp>
#include <rouse/flows/sync.hpp>
#include <rouse/os/fork.hpp>
#include <rouse/os/socket.hpp>
#include <rouse/serving/serve.hpp>
#include <rouse/sockets/socket.hpp>

#include <concepts>
#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

// Owns a socket handle that no socket object has adopted yet.
template <class Sockets>
class unique_handle {
public:
  unique_handle() noexcept = default;
  explicit unique_handle(native_handle_type h) noexcept : handle_(h) {}
  unique_handle(unique_handle&& other) noexcept : handle_(other.release()) {}
  unique_handle& operator=(unique_handle&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~unique_handle() {
    if (handle_ != os::no_handle) Sockets::close(handle_);
  }
  [[nodiscard]] native_handle_type get() const noexcept { return handle_; }
  native_handle_type release() noexcept { return std::exchange(handle_, os::no_handle); }

private:
  native_handle_type handle_ = os::no_handle;
};

template <class Scheduler>
socket<Scheduler> adopt(Scheduler& s, unique_handle<typename Scheduler::engine_type::sockets> h) {
  auto adopted = socket<Scheduler>::adopt(s, h.get());
  (void)h.release();
  return adopted;
}

} // namespace detail

/// A server on several cores, each with a thread and a scheduler of its own. A connection stays on
/// its core, so its handler needs no locks. On Linux each core also has its own listener, and the
/// kernel spreads the connections over them (SO_REUSEPORT); elsewhere the first core accepts and
/// hands the connections to the cores in turn.
///
///     rouse::per_core<rouse::coroutines> server{{"0.0.0.0", 3000}};
///     server.run([](rouse::socket<rouse::coroutines> conn) -> rouse::task<> { ... });
///
/// For TLS, write `rouse::serve(server, site, handler)`: see rouse/tls/serve.hpp.
///
/// Threads: `stop` and `local_endpoint` may be called on any thread. Cost: one thread per core; for
/// each connection a flow and the frame of a task, with a limit a posted function, and one more if
/// the connection is handed over. Source: SO_REUSEPORT in socket(7), Linux 3.9.
template <class Scheduler>
class per_core {
public:
  using socket_type = socket<Scheduler>;
  using sockets = typename Scheduler::engine_type::sockets;
  using owned_handle = detail::unique_handle<sockets>;

  /// Opens the listeners. Peers can connect from now on; `run` accepts them.
  ///
  /// @param where    the address to listen on; port 0: the system chooses one.
  /// @param cores    number of threads; 0: std::thread::hardware_concurrency().
  /// @param backlog  length of each listener's queue, as of listen(2).
  ///
  /// Errors: those of socket, bind and listen.
  explicit per_core(const endpoint& where, unsigned cores = 0, int backlog = SOMAXCONN)
      : where_(where), workers_(cores != 0 ? cores : default_cores()) {
    const std::size_t listeners = sockets::spreads_connections ? workers_.size() : 1;
    while (listeners_.size() != listeners) {
      listeners_.push_back(listen(where_, backlog));
      check(sockets::local_endpoint(listeners_.back().get(), where_), "rouse: local_endpoint");
    }
  }
  per_core(const per_core&) = delete;
  per_core& operator=(const per_core&) = delete;

  /// Number of cores, each with its thread.
  [[nodiscard]] unsigned cores() const noexcept { return static_cast<unsigned>(workers_.size()); }

  /// The address of the listeners, with the port that the system chose for port 0. Any thread.
  [[nodiscard]] const endpoint& local_endpoint() const noexcept { return where_; }

  /// Serves until `stop()`. The calling thread is the first of the cores' threads. May be called
  /// once.
  ///
  /// @param handler   copied for each core and called there with each connection, in a flow of its
  ///                  own (with `callbacks`: called directly).
  /// @param limits    how many connections may be open on all cores together. Each listener gets
  ///                  an equal share, but at least one. Ignored with callbacks, where the end of a
  ///                  connection is not known.
  /// @param on_error  `void(std::exception_ptr, const endpoint& peer)`, copied for each core and
  ///                  called there with each exception that leaves a handler. The other connections
  ///                  go on. After `stop`, operation_canceled is not reported. Without `on_error`,
  ///                  an exception that leaves a handler stops all cores, and `run` throws it.
  ///
  /// Errors: if accepting fails or a thread cannot be started, all cores stop, and `run` throws.
  template <class Handler, class OnError = detail::rethrow_from_run>
  void run(Handler handler, serve_limits limits = {}, OnError on_error = {}) {
    static_assert(std::invocable<Handler&, socket_type>,
                  "rouse: the handler of per_core takes a socket of its scheduler: [](rouse::"
                  "socket<S> conn) { ... }");
    auto start = connection_starter(std::move(handler), std::move(on_error));
    limited_ = !by_callback && limits.connections != serve_limits{}.connections;
    share_ = limits.connections / listeners_.size();
    if (share_ == 0) share_ = 1;
    std::vector<std::thread> others;
    const auto start_others = [&] {
      for (std::size_t core = 1; core != workers_.size(); ++core)
        others.emplace_back([this, core, start]() mutable { run_core(core, std::move(start)); });
    };
    detail::guarded(start_others, [this] { fail(); });
    run_core(0, std::move(start));
    for (auto& t : others) {
      if (forked_)
        ::new (&t) std::thread; // its thread exists only in the parent
      else
        t.join();
    }
    listeners_.clear(); // not taken if stopped before
#if ROUSE_EXCEPTIONS
    if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
#endif
  }

  /// Makes `run` stop accepting and return; if it has not been called yet, it returns at once. Any
  /// thread.
  ///
  /// @param when  until then connections may end by themselves; the remaining ones are ended as by
  /// a scheduler's destructor. A second call can only make it earlier.
  void stop(deadline when = clock::duration::zero()) noexcept {
    const std::lock_guard lock(mutex_);
    const auto latest = never - clock::duration(1); // `never`: not stopped
    const auto at = when.when() < latest ? when.when() : latest;
    if (at < due_) due_ = at;
    for (const worker& w : workers_) {
      if (w.scheduler) w.scheduler->stop();
    }
  }

private:
  static constexpr auto never = (clock::time_point::max)();

  static unsigned default_cores() noexcept {
    const unsigned n = std::thread::hardware_concurrency();
    return n != 0 ? n : 1; // 0: not known
  }

  static owned_handle listen(const endpoint& where, int backlog) {
    native_handle_type h = os::no_handle;
    check(sockets::open(where.family(), SOCK_STREAM, 0, true, h), "rouse: socket");
    owned_handle listener(h);
    const int on = 1;
    if (sockets::spreads_connections)
      check(sockets::set_option(h, SOL_SOCKET, os::reuse_port_name, &on, sizeof on),
            "rouse: reuse_port");
    check(sockets::bind(h, where, true), "rouse: bind");
    check(sockets::listen(h, backlog, where.family()), "rouse: listen");
    return listener;
  }

  static void check(failure why, const char* what) {
    if (why) detail::throw_error(why.code(), what);
  }

  // What the accepting flows of a core wait for. Shared with them, since they end only with the
  // scheduler.
  struct worker_controls {
    flow_semaphore<Scheduler> permits;
    flow_event<Scheduler> stopped;
  };
  using shared_controls = std::shared_ptr<worker_controls>;

  // A core that runs: its scheduler, and its copy of the function that starts a connection.
  struct worker {
    Scheduler* scheduler = nullptr;
    void* start = nullptr;
    shared_controls controls;
  };

  // A connection's share of the limit of the core that accepted it. The destructor returns it, on
  // any core.
  class permit {
  public:
    permit(per_core& server, std::size_t core) noexcept : server_(&server), core_(core) {}
    permit(permit&& other) noexcept
        : server_(std::exchange(other.server_, nullptr)), core_(other.core_) {}
    ~permit() {
      if (server_) server_->give_back(core_);
    }

  private:
    per_core* server_;
    std::size_t core_;
  };

  // Returns a permit of `core`. Called on any core.
  void give_back(std::size_t core) noexcept {
    if (!limited_) return;
    const std::lock_guard lock(mutex_);
    if (const worker w = workers_[core]; w.scheduler)
      w.scheduler->post([controls = w.controls] { controls->permits.release(); });
  }

  // Makes the function that starts a connection: it spawns a flow, or calls the handler.
  template <class Handler, class OnError>
  auto connection_starter(Handler handler, OnError on_error) {
    if constexpr (by_callback) {
      (void)on_error;
      return [handler = std::move(handler)](Scheduler&, socket_type conn, permit) mutable {
        handler(std::move(conn));
      };
    } else {
      return [this, handler = std::move(handler),
              on_error = std::move(on_error)](Scheduler& s, socket_type conn, permit p) mutable {
        const auto report = [this, &on_error](const endpoint& peer) {
          this->report(on_error, peer);
        };
        s.spawn([&handler, report, p = std::move(p), c = std::move(conn)]() mutable {
          return detail::serve_one(handler, std::move(p), std::move(c), report);
        });
      };
    }
  }

  template <class OnError>
  void report(OnError& on_error, const endpoint& peer) {
#if ROUSE_EXCEPTIONS
    if constexpr (std::same_as<OnError, detail::rethrow_from_run>) throw;
    if (stopped() && detail::is_cancel()) return;
    if constexpr (!std::same_as<OnError, detail::rethrow_from_run>)
      on_error(std::current_exception(), peer);
#endif
    (void)on_error, (void)peer;
  }

  // The function of each thread.
  template <class Start>
  void run_core(std::size_t core, Start start) noexcept {
    detail::guarded([&] { serve_core(core, start); }, [this] { fail(); });
  }

  template <class Start>
  void serve_core(std::size_t core, Start& start) {
    owned_handle own; // closed even if already stopped
    if (core < listeners_.size()) own = std::move(listeners_[core]);
    socket_type listener; // outlives the accepting flows
    Scheduler sched; // created on the thread that runs it
    const shared_controls controls(new worker_controls{flow_semaphore<Scheduler>{sched, share_},
                                                       flow_event<Scheduler>{sched}});
    if (!set_worker(core, {&sched, &start, controls})) return;
    const unregister_at_end registered{*this, core};
    if (own.get() != os::no_handle) {
      listener = detail::adopt(sched, std::move(own));
      for (int i = 0; i != sockets::accepts_at_once; ++i)
        accept(core, sched, listener, start, controls);
    } else {
      wait_for_connections(sched, controls);
    }
    sched.run();
    listener.close();
    controls->permits.release(sockets::accepts_at_once); // waiting flows find the listener closed
    controls->stopped.set();
    for (auto until = due(); clock::now() < until; until = due()) {
      sched.run_for(until - clock::now());
      if (until == due()) break; // no flow is left, or the time has come
    }
  }

  // Destroyed before the scheduler: from then on no core posts to it.
  struct unregister_at_end {
    per_core& server;
    std::size_t core;
    ~unregister_at_end() { server.set_worker(core, {}); }
  };

  // Registers a worker. False: already stopped, and the entry is cleared.
  bool set_worker(std::size_t core, worker w) noexcept {
    const std::lock_guard lock(mutex_);
    const bool in_time = due_ == never;
    workers_[core] = in_time ? w : worker{};
    return in_time;
  }

  // The time of the end; `never`: not stopped.
  [[nodiscard]] clock::time_point due() noexcept {
    const std::lock_guard lock(mutex_);
    return due_;
  }
  [[nodiscard]] bool stopped() noexcept { return due() != never; }

  void fail() noexcept {
    {
      const std::lock_guard lock(mutex_);
      if (!thrown_) thrown_ = std::current_exception();
    }
    stop();
  }

  // ---- accepting

  static constexpr bool by_callback = !Scheduler::template accepts<socket_type>;

  // Accepts a socket of this scheduler if the system spreads connections; otherwise a handle that
  // the scheduler of any core can adopt.
  template <class... How>
  static decltype(auto) accept_one(socket_type& listener, How&&... how) {
    if constexpr (sockets::spreads_connections)
      return listener.accept(std::forward<How>(how)...);
    else
      return listener.accept_native(std::forward<How>(how)...);
  }

  template <class Start>
  void accept(std::size_t core, Scheduler& s, socket_type& listener, Start& start,
              const shared_controls& controls) {
    if constexpr (by_callback) {
      accept_one(listener,
                 [this, core, &s, &listener, &start, controls](std::error_code ec, auto accepted) {
                   if (ec) return end_of_accepting(ec);
                   dispatch(s, std::move(accepted), start, permit(*this, core));
                   accept(core, s, listener, start, controls);
                 });
    } else {
      s.spawn(accept_loop(*this, core, s, listener, start, controls));
    }
  }

  template <class Start>
  static task<> accept_loop(per_core& self, std::size_t core, Scheduler& s, socket_type& listener,
                            Start& start, shared_controls controls) {
    std::error_code ec;
    for (;;) {
      if (self.limited_) co_await controls->permits.acquire(ec);
      if (ec) co_return self.end_of_accepting(ec);
      auto accepted = co_await accept_one(listener, ec);
      if (ec) co_return self.end_of_accepting(ec);
      self.dispatch(s, std::move(accepted), start, permit(self, core));
    }
  }
  void end_of_accepting(std::error_code why) {
    if (!stopped()) detail::throw_error(why, "rouse: accept");
  }

  // Keeps the loop of a core without a listener running until stop().
  static void wait_for_connections(Scheduler& s, const shared_controls& controls) {
    if constexpr (by_callback)
      controls->stopped.wait([controls](std::error_code) {});
    else
      s.spawn(wait_until_stopped(controls));
  }
  static task<> wait_until_stopped(shared_controls controls) { co_await controls->stopped.wait(); }

  // The connection stays on this core.
  template <class Start>
  void dispatch(Scheduler& s, socket_type connection, Start& start, permit p) {
    start(s, std::move(connection), std::move(p));
  }

  // Hands the connection to the next core, or keeps it if that is this core or does not run.
  template <class Start>
  void dispatch(Scheduler& here, native_handle_type h, Start& start, permit p) {
    owned_handle connection(h);
    {
      const std::lock_guard lock(mutex_);
      last_core_ = (last_core_ + 1) % workers_.size();
      const worker there = workers_[last_core_];
      if (there.scheduler && there.scheduler != &here) {
        there.scheduler->post([this, there, c = std::move(connection), p = std::move(p)]() mutable {
          dispatch(*there.scheduler, detail::adopt(*there.scheduler, std::move(c)),
                   *static_cast<Start*>(there.start), std::move(p));
        });
        return;
      }
    }
    dispatch(here, detail::adopt(here, std::move(connection)), start, std::move(p));
  }

  // In a forked child the threads of the other cores do not exist, and one of them may have held
  // the mutex: it is made anew.
  static void on_fork(void* self) noexcept {
    auto& server = *static_cast<per_core*>(self);
    ::new (&server.mutex_) std::mutex;
    for (worker& w : server.workers_) ::new (&w) worker{};
    server.forked_ = true;
  }

  endpoint where_;
  std::vector<owned_handle> listeners_;
  bool limited_ = false;
  std::size_t share_ = 1; // maximum of connections for each listener
  std::mutex mutex_; // guards the members below
  std::vector<worker> workers_; // one per core; empty when not running
  std::size_t last_core_ = 0; // the last one that got a connection
  clock::time_point due_ = never;
  std::exception_ptr thrown_;
  bool forked_ = false; // in the child after a fork
  ROUSE_NO_UNIQUE_ADDRESS os::fork_hook in_child_{&per_core::on_fork, this};
};

}} // namespace rouse::ROUSE_ABI

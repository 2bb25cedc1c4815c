// One scheduler per core, sharing nothing.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/flows/sync.hpp>
#include <rouse/os/fork.hpp>
#include <rouse/os/socket.hpp>
#include <rouse/schedulers/task.hpp>
#include <rouse/serving/serve.hpp>
#include <rouse/sockets/socket.hpp>

#include <algorithm>
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

// A handle that nobody has adopted yet.
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
    if (handle_ != os::no_handle) os::close_socket(handle_);
  }
  [[nodiscard]] native_handle_type get() const noexcept { return handle_; }
  native_handle_type release() noexcept { return std::exchange(handle_, os::no_handle); }

private:
  native_handle_type handle_ = os::no_handle;
};

template <class Scheduler>
socket<Scheduler> adopt(Scheduler& s, unique_handle h) {
  auto adopted = socket<Scheduler>::adopt(s, h.get());
  (void)h.release();
  return adopted;
}

} // namespace detail

/// A server on several cores: each has a thread, a scheduler and, where the system spreads
/// connections over listeners (SO_REUSEPORT on Linux), a listener of its own; elsewhere the first
/// accepts and hands over in turn. A connection stays on its core, so its handler needs no locks.
///
///     rouse::per_core<rouse::coroutines> server{{"0.0.0.0", 3000}};
///     server.run([](rouse::socket<rouse::coroutines> conn) -> rouse::task<> { ... });
///
/// Threads: `stop` is for any. Source: SO_REUSEPORT in socket(7), Linux 3.9.
template <class Scheduler>
class per_core {
public:
  using socket_type = socket<Scheduler>;

  /// Listens; peers can connect from then on.
  /// @param cores  how many threads; 0: as many as the machine runs at once.
  ///
  /// Errors: those of socket, bind and listen.
  explicit per_core(const endpoint& where, unsigned cores = 0, int backlog = SOMAXCONN)
      : where_(where), workers_(cores != 0 ? cores : default_cores()) {
    const std::size_t listeners = os::spreads_connections ? workers_.size() : 1;
    while (listeners_.size() != listeners) {
      listeners_.push_back(listen(where_, backlog));
      check(os::local_endpoint(listeners_.back().get(), where_), "rouse: local_endpoint");
    }
  }
  per_core(const per_core&) = delete;
  per_core& operator=(const per_core&) = delete;

  [[nodiscard]] unsigned cores() const noexcept { return static_cast<unsigned>(workers_.size()); }

  /// Where it listens: with port 0 the system has chosen one. Any thread.
  [[nodiscard]] const endpoint& local_endpoint() const noexcept { return where_; }

  /// Serves until `stop()`; this thread is one of them. Once only.
  ///
  /// @param handler   copied for each core; called there with each connection, as a flow of its
  ///                  own (under `callbacks`: called).
  /// @param limits    how many connections there are at most, at least one for each listener; with
  ///                  callbacks, whose end nobody knows, none is counted.
  /// @param on_error  `void(std::exception_ptr, const endpoint& peer)`, copied likewise, and called
  ///                  on the core of a connection with what left its handler; the others go on.
  ///                  Without one, and where the accepting fails, all cores end, and it is thrown
  ///                  here.
  template <class Handler, class OnError = detail::rethrow_from_run>
  void run(Handler handler, serve_limits limits = {}, OnError on_error = {}) {
    static_assert(std::invocable<Handler&, socket_type>,
                  "rouse: the handler of per_core takes a socket of its scheduler: [](rouse::"
                  "socket<S> conn) { ... }");
    const auto start = connection_starter(std::move(handler), std::move(on_error));
    limited_ = !by_callback && limits.connections != serve_limits{}.connections;
    share_ = limits.connections / listeners_.size();
    if (share_ == 0) share_ = 1;
    std::vector<std::thread> others;
    ROUSE_TRY {
      for (std::size_t core = 1; core != workers_.size(); ++core)
        others.emplace_back([this, core, start] { run_core(core, start); });
    }
    ROUSE_CATCH(...) { fail(); }
    run_core(0, start);
    for (auto& t : others) {
      if (forked_) [[unlikely]]
        ::new (&t) std::thread; // of the parent alone
      else
        t.join();
    }
    listeners_.clear(); // what no core came to take over
#if ROUSE_EXCEPTIONS
    if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
#endif
  }

  /// Ends `run`. Any thread, before it as well.
  ///
  /// @param when  until then the connections may end by themselves, while no further ones are
  /// accepted; what is left is ended as by a scheduler's destructor. May be called again with an
  /// earlier time.
  void stop(deadline when = clock::duration::zero()) noexcept {
    const std::lock_guard lock(mutex_);
    const auto latest = never - clock::duration(1); // `never` means: not stopped
    due_ = (std::min)({due_, when.when(), latest});
    for (const worker& w : workers_) {
      if (w.scheduler) w.scheduler->stop();
    }
  }

private:
  static constexpr auto never = (clock::time_point::max)();

  static unsigned default_cores() noexcept {
    const unsigned n = std::thread::hardware_concurrency();
    return n != 0 ? n : 1; // 0: the system does not say
  }

  static detail::unique_handle listen(const endpoint& where, int backlog) {
    native_handle_type h = os::no_handle;
    check(os::open_socket(where.family(), SOCK_STREAM, 0, true, h), "rouse: socket");
    detail::unique_handle listener(h);
    const int on = 1;
    if (os::spreads_connections)
      check(os::set_option(h, SOL_SOCKET, os::reuse_port_name, &on, sizeof on),
            "rouse: reuse_port");
    check(os::bind(h, where, true), "rouse: bind");
    check(os::listen(h, backlog, where.family()), "rouse: listen");
    return listener;
  }

  static void check(failure why, const char* what) {
    if (why) detail::throw_error(why.code(), what);
  }

  // What the flows that accept wait for. They share it: the scheduler's end is theirs.
  struct worker_controls {
    flow_semaphore<Scheduler> permits; // for connections
    flow_event<Scheduler> stopped;
  };
  using shared_controls = std::shared_ptr<worker_controls>;

  // A core at work: its scheduler, its copy of what begins a connection.
  struct worker {
    Scheduler* scheduler = nullptr;
    void* start = nullptr;
    shared_controls controls;
  };

  // A connection's place among those that a core may accept, which it gives back.
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

  // By any core.
  void give_back(std::size_t core) noexcept {
    if (!limited_) return;
    const std::lock_guard lock(mutex_);
    if (const worker w = workers_[core]; w.scheduler)
      w.scheduler->post([controls = w.controls] { controls->permits.release(); });
  }

  // What begins a connection: a flow, or a call of the handler.
  template <class Handler, class OnError>
  auto connection_starter(Handler handler, OnError on_error) {
    if constexpr (by_callback) {
      (void)on_error;
      return [handler](Scheduler&, socket_type conn, permit) mutable { handler(std::move(conn)); };
    } else {
      return [this, handler, on_error](Scheduler& s, socket_type conn, permit p) mutable {
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

  // The life of one core's thread.
  template <class Start>
  void run_core(std::size_t core, Start start) noexcept {
    ROUSE_TRY {
      detail::unique_handle own; // closed also where it is too late to begin
      if (core < listeners_.size()) own = std::move(listeners_[core]);
      socket_type listener; // outlives the flow that accepts
      Scheduler sched; // here: it belongs to the thread that runs it
      const shared_controls controls(new worker_controls{flow_semaphore<Scheduler>{sched, share_},
                                                         flow_event<Scheduler>{sched}});
      if (!set_worker(core, {&sched, &start, controls})) return;
      const unregister_at_end registered{*this, core};
      if (own.get() != os::no_handle) {
        listener = detail::adopt(sched, std::move(own));
        for (int i = 0; i != os::accepts_at_once; ++i)
          accept(core, sched, listener, start, controls);
      } else {
        wait_for_connections(sched, controls);
      }
      sched.run();
      listener.close();
      controls->permits.release(os::accepts_at_once); // who waits for room finds no listener
      controls->stopped.set();
      for (auto until = due(); clock::now() < until; until = due()) {
        sched.run_for(until - clock::now());
        if (until == due()) break; // nothing is left, or it is time
      }
    }
    ROUSE_CATCH(...) { fail(); }
  }

  // Before the scheduler goes: nobody hands over to it any more.
  struct unregister_at_end {
    per_core& server;
    std::size_t core;
    ~unregister_at_end() { server.set_worker(core, {}); }
  };

  // False: stopped already.
  bool set_worker(std::size_t core, worker w) noexcept {
    const std::lock_guard lock(mutex_);
    const bool in_time = due_ == never;
    workers_[core] = in_time ? w : worker{};
    return in_time;
  }

  // When `run` ends, whatever is left; never: nobody has stopped it.
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

  // Where the system spreads connections a socket of this scheduler, else a handle for any.
  template <class... How>
  static decltype(auto) accept_one(socket_type& listener, How&&... how) {
    if constexpr (os::spreads_connections)
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

  // Something to wait for, while nothing was handed over.
  static void wait_for_connections(Scheduler& s, const shared_controls& controls) {
    if constexpr (by_callback)
      controls->stopped.wait([controls](std::error_code) {});
    else
      s.spawn(wait_until_stopped(controls));
  }
  static task<> wait_until_stopped(shared_controls controls) { co_await controls->stopped.wait(); }

  template <class Start>
  void dispatch(Scheduler& s, socket_type connection, Start& start, permit p) {
    start(s, std::move(connection), std::move(p));
  }

  // Each core gets one in turn.
  template <class Start>
  void dispatch(Scheduler& here, native_handle_type h, Start& start, permit p) {
    detail::unique_handle connection(h);
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

  // A forked child has no other core, and no thread that could unlock the mutex.
  static void on_fork(void* self) noexcept {
    auto& server = *static_cast<per_core*>(self);
    ::new (&server.mutex_) std::mutex;
    for (worker& w : server.workers_) ::new (&w) worker{};
    server.forked_ = true;
  }

  endpoint where_;
  std::vector<detail::unique_handle> listeners_;
  bool limited_ = false;
  std::size_t share_ = 1; // how many connections each listener may have
  std::mutex mutex_; // guards what follows
  std::vector<worker> workers_; // one a core; empty before and after
  std::size_t last_core_ = 0; // whom the last connection was handed to
  clock::time_point due_ = never;
  std::exception_ptr thrown_;
  bool forked_ = false; // this is the copy of a forked child
  ROUSE_NO_UNIQUE_ADDRESS os::fork_hook in_child_{&per_core::on_fork, this};
};

}} // namespace rouse::ROUSE_ABI

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
class bare_handle {
public:
  bare_handle() noexcept = default;
  explicit bare_handle(native_handle_type h) noexcept : handle_(h) {}
  bare_handle(bare_handle&& other) noexcept : handle_(other.release()) {}
  bare_handle& operator=(bare_handle&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~bare_handle() {
    if (handle_ != os::no_handle) os::close_socket(handle_);
  }
  [[nodiscard]] native_handle_type get() const noexcept { return handle_; }
  native_handle_type release() noexcept { return std::exchange(handle_, os::no_handle); }

private:
  native_handle_type handle_ = os::no_handle;
};

template <class Scheduler>
socket<Scheduler> adopt(Scheduler& s, bare_handle h) {
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
      : where_(where), seats_(cores != 0 ? cores : all_cores()) {
    const std::size_t listeners = os::spreads_connections ? seats_.size() : 1;
    while (listeners_.size() != listeners) {
      listeners_.push_back(listen(where_, backlog));
      check(os::local_endpoint(listeners_.back().get(), where_), "rouse: local_endpoint");
    }
  }
  per_core(const per_core&) = delete;
  per_core& operator=(const per_core&) = delete;

  [[nodiscard]] unsigned cores() const noexcept { return static_cast<unsigned>(seats_.size()); }

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
  template <class Handler, class OnError = detail::out_of_run>
  void run(Handler handler, serve_limits limits = {}, OnError on_error = {}) {
    static_assert(std::invocable<Handler&, socket_type>,
                  "rouse: the handler of per_core takes a socket of its scheduler: [](rouse::"
                  "socket<S> conn) { ... }");
    const auto begin = beginning(std::move(handler), std::move(on_error));
    limited_ = !by_callback && limits.connections != serve_limits{}.connections;
    share_ = limits.connections / listeners_.size();
    if (share_ == 0) share_ = 1;
    std::vector<std::thread> others;
    ROUSE_TRY {
      for (std::size_t core = 1; core != seats_.size(); ++core)
        others.emplace_back([this, core, begin] { run_one(core, begin); });
    }
    ROUSE_CATCH(...) { fail(); }
    run_one(0, begin);
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
    for (const seat& s : seats_) {
      if (s.scheduler) s.scheduler->stop();
    }
  }

private:
  static constexpr auto never = (clock::time_point::max)();

  static unsigned all_cores() noexcept {
    const unsigned n = std::thread::hardware_concurrency();
    return n != 0 ? n : 1; // 0: the system does not say
  }

  static detail::bare_handle listen(const endpoint& where, int backlog) {
    native_handle_type h = os::no_handle;
    check(os::open_socket(where.family(), SOCK_STREAM, 0, true, h), "rouse: socket");
    detail::bare_handle listener(h);
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
  struct signs {
    flow_semaphore<Scheduler> room; // for connections
    flow_event<Scheduler> stopped;
  };
  using shared_signs = std::shared_ptr<signs>;

  // A core at work: its scheduler, its copy of what begins a connection.
  struct seat {
    Scheduler* scheduler = nullptr;
    void* begin = nullptr;
    shared_signs here;
  };

  // A connection's place among those that a core may accept, which it gives back.
  class place {
  public:
    place(per_core& server, std::size_t core) noexcept : server_(&server), core_(core) {}
    place(place&& other) noexcept
        : server_(std::exchange(other.server_, nullptr)), core_(other.core_) {}
    ~place() {
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
    if (const seat s = seats_[core]; s.scheduler)
      s.scheduler->post([here = s.here] { here->room.release(); });
  }

  // What begins a connection: a flow, or a call of the handler.
  template <class Handler, class OnError>
  auto beginning(Handler handler, OnError on_error) {
    if constexpr (by_callback) {
      (void)on_error;
      return [handler](Scheduler&, socket_type conn, place) mutable { handler(std::move(conn)); };
    } else {
      return [this, handler, on_error](Scheduler& s, socket_type conn, place p) mutable {
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
    if constexpr (std::same_as<OnError, detail::out_of_run>) throw;
    if (stopped() && detail::is_cancel()) return;
    if constexpr (!std::same_as<OnError, detail::out_of_run>)
      on_error(std::current_exception(), peer);
#endif
    (void)on_error, (void)peer;
  }

  // The life of one core's thread.
  template <class Begin>
  void run_one(std::size_t core, Begin begin) noexcept {
    ROUSE_TRY {
      detail::bare_handle own; // closed also where it is too late to begin
      if (core < listeners_.size()) own = std::move(listeners_[core]);
      socket_type listener; // outlives the flow that accepts
      Scheduler sched; // here: it belongs to the thread that runs it
      const shared_signs here(
          new signs{flow_semaphore<Scheduler>{sched, share_}, flow_event<Scheduler>{sched}});
      if (!take_seat(core, {&sched, &begin, here})) return;
      const leave_at_end seated{*this, core};
      if (own.get() != os::no_handle) {
        listener = detail::adopt(sched, std::move(own));
        for (int i = 0; i != os::accepts_at_once; ++i) accept(core, sched, listener, begin, here);
      } else {
        stay(sched, here);
      }
      sched.run();
      listener.close();
      here->room.release(os::accepts_at_once); // who waits for room finds no listener
      here->stopped.set();
      for (auto until = due(); clock::now() < until; until = due()) {
        sched.run_for(until - clock::now());
        if (until == due()) break; // nothing is left, or it is time
      }
    }
    ROUSE_CATCH(...) { fail(); }
  }

  // Before the scheduler goes: nobody hands over to it any more.
  struct leave_at_end {
    per_core& server;
    std::size_t core;
    ~leave_at_end() { server.take_seat(core, {}); }
  };

  // False: stopped already.
  bool take_seat(std::size_t core, seat s) noexcept {
    const std::lock_guard lock(mutex_);
    const bool in_time = due_ == never;
    seats_[core] = in_time ? s : seat{};
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

  template <class Begin>
  void accept(std::size_t core, Scheduler& s, socket_type& listener, Begin& begin,
              const shared_signs& here) {
    if constexpr (by_callback) {
      accept_one(listener,
                 [this, core, &s, &listener, &begin, here](std::error_code ec, auto accepted) {
                   if (ec) return end_of_accepting(ec);
                   take(s, std::move(accepted), begin, place(*this, core));
                   accept(core, s, listener, begin, here);
                 });
    } else {
      s.spawn(accept_loop(*this, core, s, listener, begin, here));
    }
  }

  template <class Begin>
  static task<> accept_loop(per_core& self, std::size_t core, Scheduler& s, socket_type& listener,
                            Begin& begin, shared_signs here) {
    std::error_code ec;
    for (;;) {
      if (self.limited_) co_await here->room.acquire(ec);
      if (ec) co_return self.end_of_accepting(ec);
      auto accepted = co_await accept_one(listener, ec);
      if (ec) co_return self.end_of_accepting(ec);
      self.take(s, std::move(accepted), begin, place(self, core));
    }
  }
  void end_of_accepting(std::error_code why) {
    if (!stopped()) detail::throw_error(why, "rouse: accept");
  }

  // Something to wait for, while nothing was handed over.
  static void stay(Scheduler& s, const shared_signs& here) {
    if constexpr (by_callback)
      here->stopped.wait([here](std::error_code) {});
    else
      s.spawn(wait_for(here));
  }
  static task<> wait_for(shared_signs here) { co_await here->stopped.wait(); }

  template <class Begin>
  void take(Scheduler& s, socket_type connection, Begin& begin, place p) {
    begin(s, std::move(connection), std::move(p));
  }

  // Each core gets one in turn.
  template <class Begin>
  void take(Scheduler& here, native_handle_type h, Begin& begin, place p) {
    detail::bare_handle connection(h);
    {
      const std::lock_guard lock(mutex_);
      turn_ = (turn_ + 1) % seats_.size();
      const seat there = seats_[turn_];
      if (there.scheduler && there.scheduler != &here) {
        there.scheduler->post([this, there, c = std::move(connection), p = std::move(p)]() mutable {
          take(*there.scheduler, detail::adopt(*there.scheduler, std::move(c)),
               *static_cast<Begin*>(there.begin), std::move(p));
        });
        return;
      }
    }
    take(here, detail::adopt(here, std::move(connection)), begin, std::move(p));
  }

  // A forked child has no other core, and no thread that could unlock the mutex.
  static void on_fork(void* self) noexcept {
    auto& server = *static_cast<per_core*>(self);
    ::new (&server.mutex_) std::mutex;
    for (seat& s : server.seats_) ::new (&s) seat{};
    server.forked_ = true;
  }

  endpoint where_;
  std::vector<detail::bare_handle> listeners_;
  bool limited_ = false;
  std::size_t share_ = 1; // how many connections each listener may have
  std::mutex mutex_; // guards what follows
  std::vector<seat> seats_; // one a core; empty before and after
  std::size_t turn_ = 0; // whom the last connection was handed to
  clock::time_point due_ = never;
  std::exception_ptr thrown_;
  bool forked_ = false; // this is the copy of a forked child
  ROUSE_NO_UNIQUE_ADDRESS os::fork_hook in_child_{&per_core::on_fork, this};
};

}} // namespace rouse::ROUSE_ABI

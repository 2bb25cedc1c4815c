// install(): the blocking calls that libraries make park the calling fiber in place of its thread.
//
// Include this header in one source file of a program; rouse.hpp does not. See
// os/linux/installed.hpp and os/windows/installed.hpp for what each call does, interpose.hpp beside
// them for how libraries come to call it.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/flow.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/detail/guarded.hpp>
#include <rouse/detail/intrusive_list.hpp>
#include <rouse/detail/thread_exit.hpp>
#include <rouse/install/call_parker.hpp>
#include <rouse/install/interpose.hpp>
#include <rouse/os/fork.hpp>
#include <rouse/rouse.hpp>
#include <rouse/sockets/readiness_calls.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

// A set of files with its record at the engine. It closes with its owner.
class watched_files {
public:
  watched_files() noexcept = default;
  watched_files(watched_files&& other) noexcept : record_(std::exchange(other.record_, nullptr)) {}
  watched_files& operator=(watched_files&& other) noexcept {
    std::swap(record_, other.record_);
    return *this;
  }
  ~watched_files() {
    if (scheduler())
      scheduler()->engine().give_back(*record_);
    else
      delete record_;
  }

  failure create(fibers& s) noexcept {
    native_handle_type h = os::no_handle;
    failure why = os::watch_set::create(h);
    if (!why && !(record_ = s.engine().watch(&s, h, why))) os::close_socket(h);
    return why;
  }
  [[nodiscard]] socket_state* record() const noexcept { return record_; }
  [[nodiscard]] native_handle_type handle() const noexcept {
    return static_cast<native_handle_type>(record_->native);
  }
  /// Null once it is gone.
  [[nodiscard]] fibers* scheduler() const noexcept {
    return record_ ? static_cast<fibers*>(record_->owner) : nullptr;
  }

private:
  socket_state* record_ = nullptr;
};

// A fiber that is parked, for files or until a time.
struct parked_fiber : list_node {
  const os::watched_file* files;
  os::file_count count;
  const os::interruption* ends; // which handlers of signals end the wait
  operation* op = nullptr;
  bool closed = false; // one of the files was, by another fiber
  bool interrupted = false; // by a handler
};

struct wait_for_files_call : wait_call {
  static constexpr const char* name = "rouse: a blocking call";
  parked_fiber* fiber;

  wait_for_files_call(socket_state* set, parked_fiber& f, os::watch_set::request& r) noexcept
      : wait_call(set, readable), fiber(&f) {
    retry_when_ready::files = r.files();
    retry_when_ready::call = f.ends->call();
    retry_when_ready::handle = static_cast<std::intptr_t>(f.files[0].fd);
  }
  bool prepare(operation& op) noexcept {
    fiber->op = &op;
    return wait_call::prepare(op);
  }
};

struct sleep_here_call : sleep_call {
  parked_fiber* fiber;

  sleep_here_call(clock::time_point end, parked_fiber& f) noexcept : sleep_call{end}, fiber(&f) {}
  bool prepare(operation& op) noexcept {
    fiber->op = &op;
    return sleep_call::prepare(op);
  }
};

// Whether a fiber asked to be left to block.
struct blocking_mark : list_node {
  const void* fiber = nullptr;
};

class installation final : public os::call_parker {
public:
  /// @param first  kept, so that it is known when the scheduler goes.
  explicit installation(watched_files first)
      : first_(std::move(first)), handler_note_(new handler_note(*this)) {}
  installation(const installation&) = delete;
  ~installation() {
    if (handler_note_->posted) // by the engine, which deletes it then
      handler_note_->of = nullptr;
    else
      delete handler_note_;
  }

  /// False: the scheduler is gone, or this is a forked child's copy.
  [[nodiscard]] bool alive() const noexcept {
    const fibers* const s = first_.scheduler();
    return s && !s->engine().inert();
  }

  [[nodiscard]] bool parks() noexcept override {
    const void* const fiber = running();
    if (!fiber) return false;
    bool wanted = true;
    marks_.for_each([&](blocking_mark& m) { wanted &= m.fiber != fiber; });
    return wanted;
  }

  int wait(const os::watched_file* files, os::file_count count, clock::time_point until,
           const os::interruption& ends) noexcept override {
    if (!process_.is_here()) { // only the caller runs in a child of vfork(2): it polls
      os::process_mark::nap();
      return 0;
    }
    const std::shared_ptr<installation> kept = self.lock(); // uninstalled meanwhile, it ends later
    parked_fiber me{};
    me.files = files;
    me.count = count;
    me.ends = &ends;
    if (count == 0) return sleep(me, until);
    watched_files own;
    failure why;
    if constexpr (!os::watch_set::is_shared) {
      own = take_spare();
      if (!own.record()) why = own.create(*first_.scheduler());
    }
    const watched_files& set = os::watch_set::is_shared ? first_ : own;
    os::watch_set::request r;
    if (!why) why = os::watch_set::add(set.handle(), files, count, r);
    if (why) { // handles or memory are short: it looks again and again
      const auto soon = clock::now() + pause;
      return sleep(me, soon < until ? soon : until);
    }
    const int result = park(me, wait_for_files_call(set.record(), me, r), limit(until));
    if (own.scheduler() && os::watch_set::remove(own.handle(), files, count))
      keep_spare(std::move(own));
    return result;
  }

  bool share_is_used_up() noexcept override { return ++calls_ % calls_in_a_row == 0; }
  void give_way() noexcept override {
    if (process_.is_here()) (void)call(yield_call{}, no_limit{});
  }

  void closing(native_handle_type h) noexcept override {
    if (!alive()) return;
    parked_.for_each([&](parked_fiber& f) {
      if (f.closed || !os::contains(f.files, f.count, h) || !process_.is_here()) return;
      f.closed = true;
      first_.scheduler()->engine().cancel(*f.op);
    });
  }

  void handler_runs() noexcept override {
    if (!alive() || handler_note_->posted || !process_.is_here()) return;
    handler_note_->posted = true;
    first_.scheduler()->engine().post(*handler_note_);
  }

  /// The fiber that runs now, or null.
  [[nodiscard]] const void* running() const noexcept {
    return alive() ? first_.scheduler()->waker().runtime().running() : nullptr;
  }

  std::weak_ptr<installation> self;
  list<blocking_mark> marks_;

private:
  static constexpr auto pause = std::chrono::milliseconds(20);
  static constexpr unsigned calls_in_a_row = 64; // that a fiber may make without having to wait

  // Has the loop look for what handlers of signals end. They can only post it: they may have
  // interrupted anything.
  struct handler_note : fibers::engine_type::posted {
    explicit handler_note(installation& i) noexcept
        : fibers::engine_type::posted(&handler_note::run), of(&i) {}

    static void run(fibers::engine_type::posted& p, bool call) noexcept {
      auto& self = static_cast<handler_note&>(p);
      self.posted = false; // a handler that runs from now on posts it again
      if (!self.of)
        delete &self;
      else if (call)
        self.of->cancel_interrupted();
    }

    installation* of;
    std::atomic<bool> posted{false};
  };

  void cancel_interrupted() noexcept {
    os::leave_handlers();
    if (!alive()) return;
    parked_.for_each([&](parked_fiber& f) {
      if (f.interrupted || !f.ends->is_due()) return;
      f.interrupted = true;
      first_.scheduler()->engine().cancel(*f.op);
    });
  }

  int sleep(parked_fiber& me, clock::time_point until) noexcept {
    return park(me, sleep_here_call(until, me), no_limit{});
  }

  template <class Call, class Limit>
  int park(parked_fiber& me, Call c, Limit l) noexcept {
    parked_.push_back(me);
    // A handler that ran before has counted itself; one that runs from now on finds the waiter.
    const int result = me.ends->is_due() ? os::call_interrupted : call(std::move(c), std::move(l));
    me.unlink();
    if (me.closed) return os::handle_closed;
    return me.interrupted ? os::call_interrupted : result;
  }

  // 0, also when the limit has passed; else the error for the caller. What unwinds a fiber when its
  // scheduler goes must not pass through a library in C: the library sees its call fail, and so
  // does each further one.
  template <class Call, class Limit>
  int call(Call c, Limit l) noexcept {
    calls_ = 0;
    const auto made = [&] {
      std::error_code ec;
      fibers::initiate(first_.scheduler(), std::move(c), std::move(l), ec);
      return !ec || ec == std::errc::timed_out ? 0 : os::call_canceled;
    };
    return guarded(made, [] { return os::call_canceled; });
  }

  watched_files take_spare() noexcept {
    if (spare_.empty()) return {};
    watched_files set = std::move(spare_.back());
    spare_.pop_back();
    return set;
  }
  void keep_spare(watched_files set) noexcept {
    guarded([&] { spare_.push_back(std::move(set)); }, [] {});
  }

  watched_files first_;
  handler_note* const handler_note_;
  std::vector<watched_files> spare_;
  list<parked_fiber> parked_;
  unsigned calls_ = 0;
  os::process_mark process_;
  // A child of fork(2), where an engine that nothing has used works on.
  ROUSE_NO_UNIQUE_ADDRESS os::fork_hook in_child_{
      [](void* i) noexcept { static_cast<installation*>(i)->process_.move_here(); }, this};
};

// What a thread has installed. One that ends without uninstall may still make calls in later
// destructors.
struct installed_scheduler {
  std::shared_ptr<installation> now;
  std::optional<os::interposed_calls> calls;

  void clear() noexcept {
    os::call_parker::here = nullptr;
    std::atomic_signal_fence(std::memory_order_seq_cst); // no handler uses it from here on
    now.reset();
    calls.reset();
  }
  ~installed_scheduler() { clear(); }
};

inline installed_scheduler& installed_here() { return *thread_object<installed_scheduler>(); }

} // namespace detail

/// From now on, what blocks in this thread inside a fiber of `s` parks that fiber and lets the
/// others run: the blocking calls that this program and all its shared libraries make.
///
/// Linux: connect, accept, recv and send with their kin, read, write, readv and writev, poll,
/// ppoll, select, pselect, epoll_wait, epoll_pwait, epoll_pwait2, sleep, usleep, nanosleep,
/// clock_nanosleep and getaddrinfo (which a thread of its own asks, for the length of the call)
/// keep their meaning: O_NONBLOCK, SO_RCVTIMEO, SO_SNDTIMEO, SO_RCVLOWAT (where this program has set
/// it) and the flags hold, results and errno are the kernel's, and a call that succeeds leaves errno
/// alone. It makes no difference when a socket was made: sockets carry nothing of it. A call of a
/// socket keeps it open while it waits, whichever other thread closes it, as a system call does;
/// poll, select and epoll_wait do not.
/// Only what may have to wait for another party switches fibers: sockets, pipes, terminals,
/// eventfds, timerfds and other files that poll(2) can wait for (of these also every 64th call in a
/// row that need not wait, so that other fibers run). Calls on regular files, directories and disks
/// never switch: a fiber may hold a lock meanwhile. A terminal takes what is written at the pace of
/// the system, which blocks the thread once it has begun.
/// Windows: connect, accept, recv, recvfrom, send, sendto, their WSA forms where they are given no
/// OVERLAPPED, select, WSAPoll, Sleep, SleepEx, getaddrinfo and GetAddrInfoW, with FIONBIO,
/// SO_RCVTIMEO and the rest holding as well; calls on files that are no sockets are the system's
/// own as before. On both, so are calls from outside of fibers and from other threads.
///
/// pthread_cancel(3) of a thread that is not running a scheduler works as without this header: the
/// blocked call is a cancellation point, and unwinds. A thread inside `run()` must not be cancelled
/// (a fiber's stack is not the thread's, and the loop does not unwind: the program ends); use
/// `stop()`, `flow_handle::cancel` or `kill`, or disable cancellation around `run()`.
///
/// Signals (Linux), as signal(7) says: a handler that runs in this thread ends with EINTR poll,
/// select, epoll_wait and their kin, the sleeps (which tell what is left), and calls on sockets
/// that have SO_RCVTIMEO or SO_SNDTIMEO; other calls on sockets, pipes and the like unless it was
/// installed with SA_RESTART. What was half done returns its part. It ends the calls of all fibers
/// that were parked in such a call when it ran, not of one only, whether the loop slept or another
/// fiber ran. ppoll, pselect and epoll_pwait let in what their mask does (and look for it every 20
/// ms); what their mask blocks, beyond the mask of the thread, interrupts them nevertheless. Inside
/// a handler all calls are the system's own: they never switch, lock or allocate. For that,
/// sigaction, signal, sysv_signal and sigset come before the C library's as well, and give the
/// kernel a function that calls the program's handler; a handler that was installed by the bare
/// system call is not known.
///
/// What differs: a close wakes the fibers of this thread that wait for the handle,
/// with EBADF (WSAENOTSOCK). `flow_handle::cancel`, and the end of the scheduler, end a call with
/// ECANCELED (WSAECANCELLED). A child of fork(2) has the calling fiber only, and nothing is
/// installed there: its calls are the system's own, and it may install a scheduler of its own. (One
/// that was installed but never run works on there.) A child of vfork(2) disturbs no fiber of its
/// parent; what would park in it looks every 2 ms. Not covered: what the C library does inside
/// itself (stdio, gethostbyname), recvmmsg, sendmmsg, sendfile, flock, waitpid, mutexes; on Windows
/// what waits for handles, gethostbyname, WSARecvMsg, WSASendMsg, TransmitFile. A library that
/// holds a lock of its own while it blocks, and then is called by another fiber, blocks the thread,
/// and with it whoever would unlock. A library that keeps something for each thread (an interpreter
/// does) may need it for each fiber: `basic_scheduler::on_switch` tells of each switch.
///
/// On Linux the header belongs into one source file of the program (a second one does not link),
/// which is linked with the shared C library. On Windows it is the import tables that lead here, of
/// the program and of each DLL that does not lie below Windows' own folder, loaded already or by a
/// LoadLibrary of one of these; until `uninstall` has been called in every thread that installed.
/// So these call Winsock as before: who got a function's address from GetProcAddress, or kept one;
/// who imports with delay; Windows' own DLLs (WinHTTP, say). And Windows has no call that does not
/// wait: a socket that a fiber has used stays in non-blocking mode until a call comes that shall
/// block, or the last `uninstall`; those who are not led here would notice, and so may a thread
/// that uses it at the same time. Windows does not tell a socket's mode either: one that was made
/// non-blocking before `install` is taken for one that blocks.
///
/// Throws std::system_error: operation_not_permitted (something is installed in this thread
/// already: `uninstall` first), too_many_files_open.
/// Threads: for the calling one, which has to be the one that runs `s`; each may install its own.
/// Cost: outside of fibers a test of a thread's variable (on Windows a look into a table of
/// sockets); a call that need not wait costs nothing more, one that waits fcntl, getsockopt and two
/// epoll_ctl (getsockopt and one request to Winsock's driver). Source: ld.so(8) on symbol lookup,
/// dlsym(3) RTLD_NEXT, epoll(7); "PE Format", the import address table; IOCTL_AFD_POLL.
inline void install(fibers& s) {
  auto& mine = detail::installed_here();
  if (mine.now && mine.now->alive()) {
    detail::throw_error(failure(std::errc::operation_not_permitted).code(),
                        "rouse: install: a scheduler is installed in this thread already");
  }
  detail::watched_files first;
  if (const failure why = first.create(s)) detail::throw_error(why.code(), "rouse: install");
  mine.now = std::make_shared<detail::installation>(std::move(first));
  mine.now->self = mine.now;
  if (!mine.calls) mine.calls.emplace();
  os::call_parker::here = mine.now.get();
}

/// From now on this thread's calls block as the system makes them; a fiber that is parked in one is
/// woken as before. Harmless when nothing is installed. Sockets made meanwhile stay as they are.
inline void uninstall() noexcept { detail::installed_here().clear(); }

/// As long as it lives, the fiber that made it blocks its thread as if nothing were installed.
class [[nodiscard]] blocking_scope {
public:
  blocking_scope() noexcept : installed_(detail::installed_here().now) {
    if (!installed_) return;
    mark_.fiber = installed_->running();
    if (mark_.fiber) installed_->marks_.push_back(mark_);
  }
  blocking_scope(const blocking_scope&) = delete;
  blocking_scope& operator=(const blocking_scope&) = delete;
  ~blocking_scope() { mark_.unlink(); }

private:
  std::shared_ptr<detail::installation> installed_; // its list outlives the mark
  detail::blocking_mark mark_;
};

}} // namespace rouse::ROUSE_ABI

// install(): blocking calls of libraries park the calling fiber in place of its thread.
//
//     library calls recv
//       |   install/linux/interpose.hpp: a definition that precedes the C library's
//       |   install/windows/interpose.hpp: a function in the import tables
//       v
//     installed::here()?  ---- no: outside of fibers, in a signal handler ---->  real::recv
//       | yes
//       v
//     parked::receive  (install/*/calls.hpp, sockets.hpp): tries without waiting <----+
//       | it would block                                                              |
//       v                                                                             |
//     call_parker::wait, which `installation` below implements: parks the fiber until |
//       the files may be ready, the time has passed or a signal handler has run ------+
//
// Include this header in one source file of a program. rouse.hpp does not include it.
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

#if !ROUSE_LINUX && !ROUSE_WINDOWS
#error "rouse: install.hpp is for Linux and Windows: there is no install() on macOS"
#else
#include <atomic>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

// Owns a set of files (os::watch_set) and its socket_state at the engine.
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
    if (!why && !(record_ = s.engine().adopt(&s, h, 0, 0, why))) os::close_socket(h);
    return why;
  }
  [[nodiscard]] socket_state* record() const noexcept { return record_; }
  [[nodiscard]] native_handle_type handle() const noexcept {
    return static_cast<native_handle_type>(record_->native);
  }
  /// Null once the scheduler is destroyed.
  [[nodiscard]] fibers* scheduler() const noexcept {
    return record_ ? static_cast<fibers*>(record_->owner) : nullptr;
  }

private:
  socket_state* record_ = nullptr;
};

// A fiber that is parked until files are ready or a time has passed.
struct parked_fiber : list_node {
  const os::watched_file* files;
  os::file_count count;
  const os::interruption* ends; // signal handlers that end the wait
  operation* op = nullptr;
  bool closed = false; // another fiber closed one of the files
  bool interrupted = false; // by a signal handler
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

// An entry in the list of fibers that block their thread; see blocking_scope.
struct blocking_mark : list_node {
  const void* fiber = nullptr;
};

class installation final : public os::call_parker {
public:
  /// @param first  its record tells when the scheduler is destroyed.
  explicit installation(watched_files first)
      : first_(std::move(first)), handler_note_(new handler_note(*this)) {}
  installation(const installation&) = delete;
  ~installation() {
    if (handler_note_->posted) // the engine deletes the note
      handler_note_->of = nullptr;
    else
      delete handler_note_;
  }

  /// False if the scheduler is destroyed, or in a forked child.
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
    if (!process_.is_here()) { // in a child of vfork(2): polls
      os::process_mark::nap();
      return 0;
    }
    const std::shared_ptr<installation> kept = self.lock(); // outlives uninstall()
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
    if (why) { // handles or memory are short: polls
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

  /// The running fiber, or null.
  [[nodiscard]] const void* running() const noexcept {
    return alive() ? first_.scheduler()->waker().runtime().running() : nullptr;
  }

  std::weak_ptr<installation> self;
  list<blocking_mark> marks_;

private:
  static constexpr auto pause = std::chrono::milliseconds(20);
  static constexpr unsigned calls_in_a_row = 64; // then other fibers run

  // Makes the loop cancel the calls that a signal handler interrupts. The handler only posts it,
  // because it may have interrupted any code.
  struct handler_note : fibers::engine_type::posted {
    explicit handler_note(installation& i) noexcept
        : fibers::engine_type::posted(&handler_note::run), of(&i) {}

    static void run(fibers::engine_type::posted& p, bool call) noexcept {
      auto& self = static_cast<handler_note&>(p);
      self.posted = false; // a later handler posts it again
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

  // Not inlined: where g++ 12 sees both that `me` is a local variable and that the list refers to
  // it, it warns of a dangling pointer, since it cannot see that `me` is always unlinked.
  template <class Call, class Limit>
  ROUSE_NOINLINE int park(parked_fiber& me, Call c, Limit l) noexcept {
    parked_.push_back(me);
    // No handler is missed: one that ran before has counted its run, which is_due() sees, and one
    // that runs from now on finds the fiber in the list.
    const int result = me.ends->is_due() ? os::call_interrupted : call(std::move(c), std::move(l));
    me.unlink();
    if (me.closed) return os::handle_closed;
    return me.interrupted ? os::call_interrupted : result;
  }

  // Returns 0, also when the limit has passed, or the error of the caller's call. The exception
  // that unwinds a fiber when its scheduler is destroyed must not pass through a C library:
  // instead, this call and each further one of the library fails.
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
  // In a child of fork(2), an engine that was never used continues to work.
  ROUSE_NO_UNIQUE_ADDRESS os::fork_hook in_child_{
      [](void* i) noexcept { static_cast<installation*>(i)->process_.move_here(); }, this};
};

// The installation of a thread. Destroyed as the thread exits: destructors that run later may still
// make calls, which are the system's then.
struct installed_scheduler {
  std::shared_ptr<installation> now;
  std::optional<os::interposed_calls> calls;

  void clear() noexcept {
    os::call_parker::here = nullptr;
    std::atomic_signal_fence(std::memory_order_seq_cst); // signal handlers no longer use it
    now.reset();
    calls.reset();
  }
  ~installed_scheduler() { clear(); }
};

inline installed_scheduler& installed_here() { return *thread_object<installed_scheduler>(); }

} // namespace detail

/// Makes blocking calls park the calling fiber: from now on, a blocking call that this program or
/// one of its shared libraries makes on this thread, inside a fiber of `s`, parks that fiber in
/// place of the thread, and other fibers run.
///
/// Linux: connect, accept, accept4, recv, recvfrom, recvmsg, send, sendto, sendmsg, read, write,
/// readv, writev, poll, ppoll, select, pselect, epoll_wait, epoll_pwait, epoll_pwait2, sleep,
/// usleep, nanosleep, clock_nanosleep and getaddrinfo, which runs in a helper thread for the
/// duration of the call. The calls keep their meaning: they obey O_NONBLOCK, SO_RCVTIMEO,
/// SO_SNDTIMEO, SO_RCVLOWAT (if this program has set it) and their flags, results and errno are
/// those of the kernel, and a call that succeeds does not change errno. It does not matter when a
/// socket was made, because nothing is stored with a socket. A call on a socket keeps the socket
/// open while it waits, even if another thread closes it, as a system call does; poll, select and
/// epoll_wait do not.
///
/// Only a call that may have to wait for another party switches fibers: on sockets, pipes,
/// terminals, eventfds, timerfds and other files that support poll(2). On these, every 64th call in
/// a row that need not wait also switches, so that other fibers run. Calls on regular files,
/// directories and disks never switch, so a fiber may hold a lock during them. The system accepts
/// output to a terminal at the terminal's pace: a write blocks the thread once it has begun.
///
/// Windows: connect, accept, recv, recvfrom, send, sendto, their WSA forms if they get no
/// OVERLAPPED, select, WSAPoll, Sleep, SleepEx, getaddrinfo and GetAddrInfoW. They obey FIONBIO,
/// SO_RCVTIMEO and the other options as well. Calls on files other than sockets remain the
/// system's.
///
/// On both platforms, calls from outside of fibers and from other threads remain the system's.
///
/// pthread_cancel(3) of a thread that is not running a scheduler works as without this header: the
/// blocked call is a cancellation point and unwinds. A thread inside `run()` must not be cancelled:
/// a fiber's stack is not the thread's, and the loop cannot be unwound, so the program would end.
/// Use `stop()`, `flow_handle::cancel` or `kill`, or disable cancellation around `run()`.
///
/// Signals (Linux) follow signal(7). A signal handler that runs on this thread makes these calls
/// fail with EINTR: poll, select, epoll_wait and their variants; the sleeps, which report the
/// remaining time; calls on sockets that have SO_RCVTIMEO or SO_SNDTIMEO; and other calls on
/// sockets, pipes and similar files if the handler was installed without SA_RESTART. A call that
/// has moved part of its bytes returns that part. The handler interrupts the calls of all fibers
/// that were parked in such a call when it ran, not only one, whether the loop slept or another
/// fiber ran. ppoll, pselect and epoll_pwait admit the signals that their mask admits, and check
/// for them every 20 ms. A signal that their mask blocks, but the thread's mask does not, still
/// interrupts them. Inside a signal handler all calls are the system's: they never switch, lock or
/// allocate. To this end sigaction, signal, sysv_signal and sigset are replaced too, and give the
/// kernel a function that calls the program's handler. A handler that was installed by a direct
/// system call is not noticed.
///
/// Differences from the system's calls:
///  - A close wakes the fibers of this thread that wait for the handle, with EBADF (WSAENOTSOCK).
///  - `flow_handle::cancel` and the destruction of the scheduler make a call fail with ECANCELED
///    (WSAECANCELLED).
///  - A child of fork(2) has the calling fiber only, and nothing is installed in it: its calls are
///    the system's, and it may install a scheduler of its own. (A scheduler that was installed but
///    never run continues to work in the child.)
///  - A child of vfork(2) does not disturb the fibers of its parent. A call that would park in it
///    polls every 2 ms.
///  - Not covered on Linux: calls that the C library makes internally (stdio, gethostbyname),
///    recvmmsg, sendmmsg, sendfile, flock, waitpid, mutexes. Not covered on Windows: waits for
///    handles, gethostbyname, WSARecvMsg, WSASendMsg, TransmitFile.
///  - A library that holds a lock of its own while it blocks, and is then called by another fiber,
///    blocks the thread, so that the fiber that holds the lock cannot run and unlock it.
///  - A library that stores data per thread, as interpreters do, may need it per fiber:
///    `basic_scheduler::on_switch` reports each switch.
///
/// On Linux, include this header in one source file of the program (a second one fails to link),
/// and link the program with the shared C library.
///
/// On Windows, the import tables are redirected: those of the program and of each DLL outside of
/// Windows' own folder, whether it is loaded already or later, by a LoadLibrary of one of these
/// modules. The redirection lasts until `uninstall` has been called on every thread that called
/// `install`. Therefore these calls still reach Winsock directly: calls through an address from
/// GetProcAddress or one that was stored earlier, delay-loaded imports, and Windows' own DLLs (such
/// as WinHTTP). Windows has no flag for a call that does not wait, so a socket that a fiber has
/// used stays in non-blocking mode until a call has to block the thread, or until the last
/// `uninstall`. Code that bypasses the redirection would notice the mode, and so may a thread that
/// uses the socket at the same time. Windows cannot report a socket's mode either: a socket that
/// was made non-blocking before `install` is treated as blocking.
///
/// @param s  the scheduler that the calling thread runs.
///
/// Throws std::system_error: operation_not_permitted (a scheduler is already installed on this
/// thread: call `uninstall` first), too_many_files_open.
/// Threads: has effect on the calling thread, which has to be the one that runs `s`. Each thread
/// may install a scheduler of its own.
/// Cost: outside of fibers, a test of a thread-local variable (on Windows also a lookup in a table
/// of sockets). A call that need not wait costs nothing more. A call that waits costs fcntl,
/// getsockopt and two epoll_ctl (on Windows getsockopt and one request to Winsock's driver).
/// Source: ld.so(8) on symbol lookup, dlsym(3) RTLD_NEXT, epoll(7); "PE Format", the import address
/// table; IOCTL_AFD_POLL.
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

/// Undoes `install` for the calling thread: from now on its calls block the thread. Fibers that are
/// already parked in a call are woken as before. Does nothing if nothing is installed. Sockets that
/// were made in between are not changed.
inline void uninstall() noexcept { detail::installed_here().clear(); }

/// While it exists, blocking calls of the fiber that made it block the thread, as if nothing were
/// installed.
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
  std::shared_ptr<detail::installation> installed_; // keeps the list alive
  detail::blocking_mark mark_;
};

}} // namespace rouse::ROUSE_ABI
#endif

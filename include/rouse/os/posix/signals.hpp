// How signals reach `signals` objects. One process may hold several copies of this library (shared
// libraries with hidden visibility), and each copy may have such objects.
//
// Each copy has a signal handler of its own. For each signal, the copies that want it form a stack:
//
//   kernel -> handler of copy C -> handler of copy B -> handler of copy A -> end
//             found: B             found: A             found: the original disposition
//
// A handler adds the signal to the objects of its copy. It then calls the handler that its copy
// found, if that is a handler of this library, which it recognizes by its unusual signal mask.
//
// A copy that no longer wants the signal and is on top restores the disposition that it found.
// Otherwise it hands that disposition to the copy above it, by a signal_request: it calls that
// copy's handler with a number that no signal has.
//
// Copies of all versions must agree on the mask, on that number, and on signal_request.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/posix/fork.hpp>
#include <rouse/os/signal_inbox.hpp>
#include <rouse/os/socket.hpp>

#if !ROUSE_WINDOWS
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <sched.h>
#include <unistd.h>
#if ROUSE_LINUX
#include <link.h>
#include <sys/syscall.h>
#endif

namespace rouse { inline namespace ROUSE_ABI { namespace os {

namespace detail {

using signal_handler = void(int, siginfo_t*, void*);

// A request of one copy to another, the receiver.
//   set_above: `above` is now on top of the receiver, or nothing is (null)
//   set_below: `found` is now the disposition below the receiver
// Result: `in_use`, whether the receiver wants the signal. If it does not, `found` is the
// disposition that the receiver found, which applies in its place.
struct signal_request {
  static constexpr int number = 0x726f7573; // passed instead of a signal number
  enum class command { set_above, set_below };

  command kind;
  int signal;
  signal_handler* above;
  struct sigaction found;
  bool in_use;
};

// The state of one signal in one copy.
struct signal_owner {
  std::atomic<int> users{0}; // the objects that want it
  std::atomic<signal_handler*> below{nullptr}; // the handler of the copy below
  signal_handler* above = nullptr;
  struct sigaction found = {}; // the disposition before this copy's
};

} // namespace detail

/// The signal handling of this copy. Its visibility is hidden: a handler and its data belong to one
/// shared library and are unloaded with it.
///
/// A handler may run on any thread at any time, concurrently with every function here. What it
/// reads is therefore atomic, and stays alive until no handler runs (`running_handlers_`). All
/// other work is done by one thread at a time, across all copies (`exclusively`).
///
/// Limit: a shared library must not be unloaded while its signals are being sent. Nothing can
/// detect that the kernel is just about to call its handler.
///
/// Threads: any. Source: sigaction(2), signal-safety(7).
class __attribute__((visibility("hidden"))) signal_table {
public:
  /// Adds each arriving signal of the set `numbers` (bit n - 1: signal n) to `in`, until `in.leave`
  /// is called.
  static failure subscribe(signal_inbox& in, std::uint64_t numbers) noexcept {
    static const fork_hook hook(&restore_in_child, nullptr);
    failure f;
    exclusively([&] {
      if (process_.load() != this_process()) reset_for_this_process();
      in.wanted = numbers;
      in.leave = &unsubscribe;
      in.next.store(first_.load());
      first_.store(&in);
      std::uint64_t taken = 0;
      for (int n = 1; n <= signal_inbox::most_numbers && !f; ++n) {
        if (!(numbers & signal_inbox::bit(n))) continue;
        f = add_user(n);
        if (!f) taken |= signal_inbox::bit(n);
      }
      if (f) remove(in, taken);
    });
    return f;
  }

private:
  using owner = detail::signal_owner;
  using request = detail::signal_request;

  static inline std::atomic<int> process_{0}; // the process that this state describes
  static inline std::atomic<int> locked_by_{0}; // the lock holder's process, or 0
  static inline std::atomic<int> running_handlers_{0};
  static inline std::atomic<signal_inbox*> first_{nullptr};
  static inline owner owners_[signal_inbox::most_numbers + 1];

  static void unsubscribe(signal_inbox& in) noexcept {
    if (!in.of_this_process()) return; // a forked child's copy, in no list
    exclusively([&] { remove(in, in.wanted); });
  }

  static void remove(signal_inbox& in, std::uint64_t taken) noexcept {
    for (int n = 1; n <= signal_inbox::most_numbers; ++n) {
      if (taken & signal_inbox::bit(n)) remove_user(n);
    }
    std::atomic<signal_inbox*>* at = &first_;
    while (at->load() != &in) at = &at->load()->next;
    at->store(in.next.load());
    wait_for_handlers();
  }

  // ---- mutual exclusion

  // Calls f while no other thread changes anything here or in another copy, and no shared library
  // is unloaded. It holds the lock of the dynamic loader, the only lock that all copies in a
  // process share. (musl does not hold its lock here, and unloads nothing. With musl, signals
  // objects of different copies must not be made or destroyed at the same time. The same holds on
  // macOS.)
  template <class F>
  static void exclusively(F f) noexcept {
#if ROUSE_LINUX
    const auto call = [](dl_phdr_info*, std::size_t, void* what) {
      const lock own;
      (*static_cast<F*>(what))();
      return 1; // ends the iteration
    };
    ::dl_iterate_phdr(call, &f);
#else
    const lock own;
    f();
#endif
  }

  // The lock of this copy. It names the process of its holder, so that a forked child can take over
  // the lock that a thread of the parent held during the fork.
  struct lock {
    lock() noexcept {
      const int me = this_process();
      for (;;) {
        int by = 0;
        if (locked_by_.compare_exchange_strong(by, me)) return;
        if (by != me && locked_by_.compare_exchange_strong(by, me)) return;
        ::sched_yield();
      }
    }
    ~lock() { locked_by_.store(0); }
    lock(const lock&) = delete;
    lock& operator=(const lock&) = delete;
  };

  // Waits for the handlers that began before the last change.
  static void wait_for_handlers() noexcept {
    while (running_handlers_.load() != 0) ::sched_yield();
  }

  // Discards the parent's state in a child process. `found` stays, for the handlers that the child
  // has inherited.
  static void reset_for_this_process() noexcept {
    for (owner& o : owners_) {
      o.users.store(0);
      o.below.store(nullptr);
      o.above = nullptr;
    }
    first_.store(nullptr);
    running_handlers_.store(0);
    process_.store(this_process());
  }

  // ---- dispositions

  // The signals that the handler's mask leaves unblocked: an arbitrary pattern, which no other mask
  // in the process is likely to have. It is in the numbers of the real-time signals. macOS has
  // none, so there it is in those from SIGURG to SIGUSR2, without SIGSTOP, which no mask contains.
#if ROUSE_LINUX
  static constexpr int first_unmasked = 35, last_unmasked = signal_inbox::most_numbers;
  static constexpr std::uint64_t pattern = 0x1c9bd5dc;
#else
  static constexpr int first_unmasked = 16, last_unmasked = 31;
  static constexpr std::uint64_t pattern = 0x9bd6;
#endif
  static constexpr bool unmasked(int n) noexcept {
    return n >= first_unmasked && ((pattern >> (n - first_unmasked)) & 1);
  }
  static struct sigaction our_disposition() noexcept {
    struct sigaction a = {};
    a.sa_sigaction = &handle;
    a.sa_flags = SA_RESTART | SA_SIGINFO;
    sigfillset(&a.sa_mask); // these are macros on some systems
    for (int n = first_unmasked; n <= last_unmasked; ++n) {
      if (unmasked(n)) sigdelset(&a.sa_mask, n);
    }
    return a;
  }
  static bool is_ours(const struct sigaction& a) noexcept {
    return (a.sa_flags & SA_SIGINFO) && a.sa_sigaction == &handle;
  }
  static bool is_masked(const struct sigaction& a, int n) noexcept {
    return sigismember(&a.sa_mask, n) != 0;
  }
  // Whether `a` is the handler of any copy of this library.
  static bool is_rouse(const struct sigaction& a) noexcept {
    if (!(a.sa_flags & SA_SIGINFO)) return false;
    for (int n = first_unmasked; n <= last_unmasked; ++n) {
      if (is_masked(a, n) == unmasked(n)) return false;
    }
    return is_masked(a, SIGTERM) && is_masked(a, SIGSEGV);
  }

  static void send_request(detail::signal_handler* copy, request& r) noexcept {
    copy(request::number, reinterpret_cast<siginfo_t*>(&r), nullptr);
  }
  // The receiver's side. The requesting copy is inside `exclusively`, so this runs alone as well.
  // (A race detector does not see the loader's lock; the two changes of this copy's lock, which add
  // nothing, show it the order.)
  static void receive_request(request& r) noexcept {
    locked_by_.fetch_add(0);
    carry_out(r);
    locked_by_.fetch_add(0);
  }
  static void carry_out(request& r) noexcept {
    owner& o = owners_[r.signal];
    r.in_use = o.users.load() != 0 && process_.load() == this_process();
    if (!r.in_use)
      r.found = o.found;
    else if (r.kind == request::command::set_above)
      o.above = r.above;
    else {
      set_below(o, r.found);
      wait_for_handlers(); // they may be about to call the old one
    }
  }
  static void set_below(owner& o, const struct sigaction& a) noexcept {
    o.found = a;
    o.below.store(is_rouse(a) ? a.sa_sigaction : nullptr);
  }

  // Returns the disposition that applies for `a`. That is `a` itself, unless it is the handler of a
  // copy that does not want `n` (inherited from the parent process, or reinstalled by the
  // application): then it is the disposition which that copy found, and so on. If the result is a
  // copy's handler, that copy learns that `above` is now on top of it.
  static struct sigaction effective_disposition(int n, struct sigaction a,
                                                detail::signal_handler* above) noexcept {
    while (is_rouse(a)) {
      request r{request::command::set_above, n, above, {}, false};
      if (is_ours(a))
        r.found = owners_[n].found;
      else
        send_request(a.sa_sigaction, r);
      if (r.in_use) break;
      a = r.found;
    }
    return a;
  }

  static failure add_user(int n) noexcept {
    owner& o = owners_[n];
    struct sigaction now = {};
    if (const failure f = outcome(::sigaction(n, nullptr, &now))) return f;
    // If the application has replaced this copy's handler by one of its own, this copy's handler is
    // installed again on top of it, unless there are other copies above or below this one.
    if (o.users.load() == 0 || !(is_ours(now) || o.above || o.below.load())) {
      set_below(o, effective_disposition(n, now, &handle));
      o.users.fetch_add(1); // before the handler can run
      const struct sigaction a = our_disposition();
      const failure f = outcome(::sigaction(n, &a, nullptr));
      if (f) o.users.fetch_sub(1);
      return f;
    }
    o.users.fetch_add(1);
    return {};
  }

  static void remove_user(int n) noexcept {
    owner& o = owners_[n];
    if (o.users.load() == 1) {
      if (o.above) {
        request r{request::command::set_below, n, nullptr, o.found, false};
        send_request(o.above, r);
      } else {
        restore_if_ours(n, o.found);
      }
      if (detail::signal_handler* const below = o.below.exchange(nullptr)) {
        request r{request::command::set_above, n, o.above, {}, false};
        send_request(below, r);
      }
      o.above = nullptr;
    }
    o.users.fetch_sub(1);
  }
  // Installs `a` if this copy's handler is still the installed one. @returns whether it was.
  static bool restore_if_ours(int n, const struct sigaction& a) noexcept {
    struct sigaction now = {};
    if (::sigaction(n, nullptr, &now) != 0 || !is_ours(now)) return false;
    ::sigaction(n, &a, nullptr);
    return true;
  }

  // Restores the disposition of each signal in a forked child.
  static void restore_in_child(void*) noexcept {
    for (int n = 1; n <= signal_inbox::most_numbers; ++n) {
      if (owners_[n].users.load() != 0)
        restore_if_ours(n, effective_disposition(n, owners_[n].found, nullptr));
    }
  }

  // ---- the handler

  static void handle(int n, siginfo_t* info, void* context) noexcept {
    if (n == request::number) return receive_request(*reinterpret_cast<request*>(info));
    const int kept = errno;
    running_handlers_.fetch_add(1);
    const owner& o = owners_[n];
    if (o.users.load() == 0 || process_.load() != this_process()) {
      restore_and_resend(n, info);
    } else {
      for (signal_inbox* i = first_.load(); i; i = i->next.load()) {
        if (i->wanted & signal_inbox::bit(n)) i->add(n);
      }
      if (detail::signal_handler* const below = o.below.load()) below(n, info, context);
    }
    running_handlers_.fetch_sub(1);
    errno = kept;
  }

  // For a signal that this copy does not want, above all in a child of vfork(2), where no fork hook
  // has run. Restores the disposition that this copy found and sends the signal again; it arrives
  // once this handler has returned.
  static void restore_and_resend(int n, siginfo_t* info) noexcept {
    if (!restore_if_ours(n, owners_[n].found)) return;
#if ROUSE_LINUX
    const auto thread = static_cast<int>(::syscall(SYS_gettid));
    if (::syscall(SYS_rt_tgsigqueueinfo, this_process(), thread, n, info) == 0) return;
#else
    (void)info;
#endif
    ::raise(n);
  }
};

}}} // namespace rouse::ROUSE_ABI::os
#endif

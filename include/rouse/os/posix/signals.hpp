// How signals reach `signals` objects, of which several copies of this library in one process (in
// shared libraries, with hidden visibility) may each have some.
//
// Each copy has a handler of its own. For each signal the copies that want it stand on each other:
//
//   kernel -> handler of copy C -> handler of copy B -> handler of copy A -> nothing more
//             what it found: B     what it found: A     what it found: the first disposition
//
// A handler tells the objects of its copy, then calls the handler that its copy found, if that is
// one of this library's: it is known by its unusual mask. A copy that leaves restores what it found
// if it is on top, or else gives that to the copy above it: by a call of its handler with a number
// that is no signal's.
//
// What must hold for the copies of all versions: the mask, that number, and signal_request.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/posix/fork.hpp>
#include <rouse/os/signal_inbox.hpp>
#include <rouse/os/socket.hpp>

#if ROUSE_LINUX
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <link.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

namespace detail {

using signal_handler = void(int, siginfo_t*, void*);

// What one copy asks of another.
struct signal_request {
  static constexpr int number = 0x726f7573; // in a signal's place
  enum class command { set_above, set_below };

  command kind;
  int signal;
  signal_handler* above; // set_above: what stands on the copy from now on, or null
  struct sigaction found; // set_below: what it finds below itself from now on
  bool in_use; // the answer; else `found` is what the copy found, which holds in its place
};

// One signal, as one copy has it.
struct signal_owner {
  std::atomic<int> users{0}; // objects that want it
  std::atomic<signal_handler*> below{nullptr}; // the handler of the copy below
  signal_handler* above = nullptr;
  struct sigaction found = {}; // what was there before
};

} // namespace detail

/// This copy's part. Hidden: a handler and what it works on belong to one shared library, and go
/// with it.
///
/// A handler may run in any thread at any time, beside everything here: what it reads is atomic,
/// and stays until no handler is at work (`running_handlers_`). Everything else is done by one
/// thread at a time, of all copies.
///
/// Limit: a shared library must not be unloaded at the very moment at which the kernel calls its
/// handler, which nothing can find out: not while its signals are being sent.
///
/// Threads: any. Source: sigaction(2), signal-safety(7).
class __attribute__((visibility("hidden"))) signal_table {
public:
  /// From now on each of `numbers` (bit n - 1: signal n) that comes is added to `in`, until
  /// `in.leave` is called.
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

  static inline std::atomic<int> process_{0}; // the one that all this is of
  static inline std::atomic<int> locked_by_{0}; // a process
  static inline std::atomic<int> running_handlers_{0}; // handlers at work
  static inline std::atomic<signal_inbox*> first_{nullptr};
  static inline owner owners_[signal_inbox::most_numbers + 1];

  static void unsubscribe(signal_inbox& in) noexcept {
    if (!in.of_this_process()) return; // a copy, in a forked child: it is in no list there
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

  // ---- one at a time

  // Calls f while no other thread changes anything here or in another copy, and no shared library
  // is unloaded: with the lock of the dynamic loader, the only one that all copies in a process
  // share. (musl does not hold it here, and unloads nothing: there, copies are not to be made and
  // destroyed at once.)
  template <class F>
  static void exclusively(F f) noexcept {
    const auto call = [](dl_phdr_info*, std::size_t, void* what) {
      const lock own;
      (*static_cast<F*>(what))();
      return 1; // once
    };
    ::dl_iterate_phdr(call, &f);
  }

  // One that a thread of the parent process held during a fork is free in the child.
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

  // Handlers that began before what was just changed.
  static void wait_for_handlers() noexcept {
    while (running_handlers_.load() != 0) ::sched_yield();
  }

  // In a child process nothing of the parent's counts; `found` stays, for handlers that the child
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

  // Signals that the handler lets interrupt it, which makes its mask one that nothing else has.
  static constexpr bool unmasked(int n) noexcept {
    return n > 34 && ((std::uint64_t{0x1c9bd5dc} >> (n - 35)) & 1);
  }
  static struct sigaction our_disposition() noexcept {
    struct sigaction a = {};
    a.sa_sigaction = &handle;
    a.sa_flags = SA_RESTART | SA_SIGINFO;
    ::sigfillset(&a.sa_mask);
    for (int n = 35; n <= signal_inbox::most_numbers; ++n) {
      if (unmasked(n)) ::sigdelset(&a.sa_mask, n);
    }
    return a;
  }
  static bool is_ours(const struct sigaction& a) noexcept {
    return (a.sa_flags & SA_SIGINFO) && a.sa_sigaction == &handle;
  }
  // Whether it is a copy's.
  static bool is_rouse(const struct sigaction& a) noexcept {
    if (!(a.sa_flags & SA_SIGINFO)) return false;
    for (int n = 35; n <= signal_inbox::most_numbers; ++n) {
      if ((::sigismember(&a.sa_mask, n) == 1) == unmasked(n)) return false;
    }
    return ::sigismember(&a.sa_mask, SIGTERM) == 1 && ::sigismember(&a.sa_mask, SIGSEGV) == 1;
  }

  static void send_request(detail::signal_handler* copy, request& r) noexcept {
    copy(request::number, reinterpret_cast<siginfo_t*>(&r), nullptr);
  }
  // What answers to that, within what is exclusive to the asking copy. (A change of nothing in the
  // own lock, before and after, shows that to a race detector, which cannot see the loader's.)
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
      wait_for_handlers(); // they may be about to call what was found before
    }
  }
  static void set_below(owner& o, const struct sigaction& a) noexcept {
    o.found = a;
    o.below.store(is_rouse(a) ? a.sa_sigaction : nullptr);
  }

  // `a`, or what holds in its place if it is the handler of a copy that does not want `n`: one that
  // this process inherited, or that the application has put back. `above` stands on it then.
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
    // Has the application installed a handler of its own meanwhile, ours goes on top of it, unless
    // other copies have a part in it.
    if (o.users.load() == 0 || !(is_ours(now) || o.above || o.below.load())) {
      set_below(o, effective_disposition(n, now, &handle));
      o.users.fetch_add(1); // before the handler looks
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
  // Unless something else has been installed since. @returns whether it was ours.
  static bool restore_if_ours(int n, const struct sigaction& a) noexcept {
    struct sigaction now = {};
    if (::sigaction(n, nullptr, &now) != 0 || !is_ours(now)) return false;
    ::sigaction(n, &a, nullptr);
    return true;
  }

  // In a forked child each signal does again what it did before.
  static void restore_in_child(void*) noexcept {
    for (int n = 1; n <= signal_inbox::most_numbers; ++n) {
      if (owners_[n].users.load() != 0)
        restore_if_ours(n, effective_disposition(n, owners_[n].found, nullptr));
    }
  }

  // ---- what the kernel calls

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

  // A signal that is not for us, above all one of a child process that was told nothing (vfork):
  // it has the disposition that there was before us, from now on, and the signal comes again, once
  // this handler has returned.
  static void restore_and_resend(int n, siginfo_t* info) noexcept {
    if (!restore_if_ours(n, owners_[n].found)) return;
    const auto thread = static_cast<int>(::syscall(SYS_gettid));
    if (::syscall(SYS_rt_tgsigqueueinfo, this_process(), thread, n, info) != 0) ::raise(n);
  }
};

}}} // namespace rouse::ROUSE_ABI::os
#endif

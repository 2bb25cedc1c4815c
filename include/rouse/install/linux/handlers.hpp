// Wraps the program's signal handlers, so that blocking calls know that a handler runs (they must
// then not switch, lock or allocate) and that one has run (it makes them fail with EINTR).
//
//     program: sigaction(n, own)            kernel delivers signal n
//       |                                     |
//     signal_handlers::set                  call_plain or call_informed
//       plain_[n] or informed_[n] = own       handler_run: counts the run, remembers the frame,
//       real::sigaction(n, call_plain         |            posts the loop's check of parked calls
//                       or call_informed)     own(n, ...)
//     returns the former own handler, never call_plain or call_informed
#pragma once
#include <rouse/config.hpp>
#include <rouse/install/call_parker.hpp>
#include <rouse/install/linux/interruption.hpp>
#include <rouse/install/linux/real_calls.hpp>

#if ROUSE_LINUX
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// Marks the run of a handler of signal `n` on this thread. The handler may throw or be unwound.
///
/// Async-signal-safe. Does not change errno.
class handler_run {
public:
  /// @param frame  the stack frame of the function that calls the handler.
  handler_run(int n, const void* frame) noexcept : before_(handlers_here::mine.frame) {
    const int error = errno;
    handlers_here& mine = handlers_here::mine;
    mine.frame = frame;
    ++mine.runs;
    if (call_parker::here) { // else no call on this thread asks
      if (!restarts(n)) ++mine.runs_without_restart;
      call_parker::here->handler_runs();
    }
    errno = error;
  }
  handler_run(const handler_run&) = delete;
  handler_run& operator=(const handler_run&) = delete;
  ~handler_run() { handlers_here::mine.frame = before_; }

private:
  static bool restarts(int n) noexcept {
    struct sigaction now = {};
    return real::sigaction(n, nullptr, &now) == 0 && (now.sa_flags & SA_RESTART) != 0;
  }

  const void* const before_;
};

/// Replaces sigaction(2), signal(2) and the older functions. The kernel gets one of two functions
/// that call the program's handler. The program never sees these two.
///
/// Threads: any, also inside signal handlers.
class signal_handlers {
public:
  using plain = real::plain_handler;
  using informed = void (*)(int, siginfo_t*, void*);

  static int set(int n, const struct sigaction* wanted, struct sigaction* before) noexcept {
    if (n < 1 || n > last) return real::sigaction(n, wanted, before);
    const replacement r(n);
    struct sigaction ours = {};
    if (wanted) ours = *wanted;
    if (wanted && (wanted->sa_flags & SA_SIGINFO))
      ours.sa_sigaction = r.replace(wanted->sa_sigaction);
    else if (wanted)
      ours.sa_handler = r.replace(wanted->sa_handler);
    const int result = real::sigaction(n, wanted ? &ours : nullptr, before);
    if (result != 0) r.undo();
    if (result != 0 || !before) return result;
    if (before->sa_flags & SA_SIGINFO)
      before->sa_sigaction = r.former(before->sa_sigaction);
    else
      before->sa_handler = r.former(before->sa_handler);
    return result;
  }

  /// @param set_really  the C library's signal(2), or a function that is called like it.
  template <class Set>
  static plain set(int n, plain wanted, Set& set_really) noexcept {
    if (n < 1 || n > last) return set_really(n, wanted);
    const replacement r(n);
    const plain before = set_really(n, r.replace(wanted));
    if (before == SIG_ERR) r.undo();
    struct sigaction was = {};
    was.sa_handler = before; // shares storage with sa_sigaction
    if (was.sa_sigaction != &call_informed) return r.former(before);
    was.sa_sigaction = r.former(was.sa_sigaction);
    return was.sa_handler;
  }

private:
  static constexpr int last = 64;

  static void call_plain(int n) {
    const plain own = plain_[n].load(std::memory_order_relaxed);
    const handler_run here(n, __builtin_frame_address(0));
    own(n);
  }
  static void call_informed(int n, siginfo_t* info, void* context) {
    const informed own = informed_[n].load(std::memory_order_relaxed);
    const handler_run here(n, __builtin_frame_address(0));
    own(n, info, context);
  }

  // One change of a signal's handler. A signal that arrives during the change finds either the old
  // or the new handler, because plain and informed handlers are stored separately.
  class replacement {
  public:
    explicit replacement(int n) noexcept
        : n_(n), plain_before_(plain_[n].load(std::memory_order_relaxed)),
          informed_before_(informed_[n].load(std::memory_order_relaxed)) {}

    // The function to give to the kernel.
    [[nodiscard]] plain replace(plain own) const noexcept {
      // SIG_DFL, SIG_IGN and SIG_HOLD are small numbers, SIG_ERR is the largest number.
      if (!is_function(reinterpret_cast<std::uintptr_t>(own)) || own == &call_plain) return own;
      plain_[n_].store(own, std::memory_order_relaxed);
      return &call_plain;
    }
    [[nodiscard]] informed replace(informed own) const noexcept {
      if (!is_function(reinterpret_cast<std::uintptr_t>(own)) || own == &call_informed) return own;
      informed_[n_].store(own, std::memory_order_relaxed);
      return &call_informed;
    }
    // The program's former handler, if the kernel had `f`.
    [[nodiscard]] plain former(plain f) const noexcept {
      return f == &call_plain ? plain_before_ : f;
    }
    [[nodiscard]] informed former(informed f) const noexcept {
      return f == &call_informed ? informed_before_ : f;
    }
    void undo() const noexcept {
      plain_[n_].store(plain_before_, std::memory_order_relaxed);
      informed_[n_].store(informed_before_, std::memory_order_relaxed);
    }

  private:
    static bool is_function(std::uintptr_t address) noexcept {
      return address > 16 && address != ~std::uintptr_t{0};
    }

    const int n_;
    const plain plain_before_;
    const informed informed_before_;
  };

  static constinit inline std::atomic<plain> plain_[last + 1] = {};
  static constinit inline std::atomic<informed> informed_[last + 1] = {};
};

}}} // namespace rouse::ROUSE_ABI::os
#endif

// A child that is a copy of the running test: fork(2), what a function returns in the child, and how
// the child ends. Linux. <support/run_test_case.hpp> executes this program anew instead.
#pragma once
#include <rouse/rouse.hpp>

#if ROUSE_LINUX
#include <catch2/catch.hpp>

#include <concepts>
#include <csignal>
#include <cstdlib>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

namespace testing {

/// Ends a child without any further code, such as that of a sanitizer.
[[noreturn]] inline void leave(int status) noexcept {
  for (;;) ::syscall(SYS_exit_group, status);
}

// The leak checker, which runs last when a child exits, would report memory that only the stacks of
// the parent's threads and fibers refer to. This object is made before all other static objects,
// and so destroyed after them.
struct end_before_leak_check {
  bool wanted = false;
  ~end_before_leak_check() {
    if (wanted) leave(0);
  }
};
__attribute__((init_priority(101))) inline end_before_leak_check ends_before_leak_check;

/// Forks. The child runs `f()`, which returns its exit status. A child that hangs or spins is ended
/// by a signal, after 30 s, or 5 s of CPU time. The child may use no test macros.
class child_process {
public:
  template <class F>
    requires std::invocable<F&>
  explicit child_process(F f) : pid_(::fork()) {
    if (pid_ == 0) {
      guard();
      leave(f());
    }
    REQUIRE(pid_ > 0);
  }
  /// A child that was forked already.
  explicit child_process(pid_t pid) : pid_(pid) {}
  child_process(const child_process&) = delete;
  child_process& operator=(const child_process&) = delete;
  ~child_process() {
    if (pid_ > 0) ::kill(pid_, SIGKILL), (void)wait();
  }

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }

  /// Its exit status, or if a signal ended it, 1000 and the number of the signal.
  int wait() {
    int status = 0;
    const pid_t ended = ::waitpid(std::exchange(pid_, -1), &status, 0);
    if (ended <= 0) return -1;
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
  }

  /// Ends a child that hangs or spins.
  static void guard() noexcept {
    ends_before_leak_check.wanted = true;
    for (const int n : {SIGALRM, SIGXCPU}) std::signal(n, SIG_DFL);
    const rlimit seconds{5, 5};
    ::setrlimit(RLIMIT_CPU, &seconds);
    ::alarm(30);
  }

private:
  pid_t pid_;
};

} // namespace testing
#endif

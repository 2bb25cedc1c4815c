// A forked child never disturbs its parent, and never spins. Linux.
#include <support/child_process.hpp>
#include <support/testing.hpp>

#if ROUSE_LINUX
#include <csignal>
#include <sys/wait.h>
#include <unistd.h>

using namespace testing;

// ---- signals

TEMPLATE_LIST_TEST_CASE("fork: a signal to a child is the child's, and its parent hears nothing",
                        "[fork][O8][signals]", every_scheduler) {
  TestType sched;
  rouse::signals caught{sched, {SIGUSR1}};
  child_process child([] {
    for (;;) ::pause();
    return 0;
  });
  ::kill(child.pid(), SIGUSR1);
  CHECK(child.wait() == 1000 + SIGUSR1);
  CHECK(await<int>(sched, CALL(caught.wait(0s, how...))).ec == std::errc::timed_out);
  std::thread([] { ::kill(::getpid(), SIGUSR1); }).join();
  CHECK(await<int>(sched, CALL(caught.wait(how...))).value == SIGUSR1);
}

TEST_CASE("fork: a child ignores again what was ignored before its parent waited for it",
          "[fork][O8][signals]") {
  const auto before = std::signal(SIGUSR1, SIG_IGN);
  {
    rouse::callbacks sched;
    rouse::signals caught{sched, {SIGUSR1}};
    child_process child([] {
      ::raise(SIGUSR1);
      return std::signal(SIGUSR1, SIG_DFL) == SIG_IGN ? 0 : 1;
    });
    CHECK(child.wait() == 0);
  }
  std::signal(SIGUSR1, before);
}

TEST_CASE("fork: a signal to a child of vfork ends the child, and its parent hears nothing",
          "[fork][O8][signals]") {
  rouse::callbacks sched;
  rouse::signals caught{sched, {SIGUSR1}};
  const pid_t child = ::vfork();
  if (child == 0) {
    ::raise(SIGUSR1);
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1));
  CHECK(await<int>(sched, CALL(caught.wait(0s, how...))).ec == std::errc::timed_out);
}

TEST_CASE("fork: a child waits for signals of its own, on a scheduler of its own",
          "[fork][O8][signals]") {
  rouse::callbacks sched;
  rouse::signals caught{sched, {SIGUSR1}};
  child_process child([] {
    rouse::fibers own;
    int got = 0;
    own.spawn([&] {
      rouse::signals mine{own, {SIGUSR1}};
      ::raise(SIGUSR1);
      std::error_code ec;
      got = mine.wait(10s, ec);
    });
    own.run();
    return got == SIGUSR1 ? 0 : 1;
  });
  CHECK(child.wait() == 0);
  CHECK(await<int>(sched, CALL(caught.wait(0s, how...))).ec == std::errc::timed_out);
}
#endif

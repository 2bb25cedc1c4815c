// Dispositions of signals, before and after rouse::signals, and in forked children.
#include <support/child_process.hpp>
#include <support/testing.hpp>

#if ROUSE_LINUX
#include <csignal>
#include <memory>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace testing;

namespace {

using fiber_signals = rouse::signals<rouse::fibers>;

volatile std::sig_atomic_t heard = 0;
void hear(int) { heard = heard + 1; }
void hear_too(int) { heard = heard + 100; }

void (*disposition(int n))(int) {
  struct sigaction now = {};
  ::sigaction(n, nullptr, &now);
  return now.sa_handler;
}

// Sets the disposition of a signal, and restores the former one at the end.
class with_disposition {
public:
  with_disposition(int n, void (*what)(int)) : n_(n) {
    struct sigaction a = {};
    a.sa_handler = what;
    ::sigaction(n, &a, &before_);
    heard = 0;
  }
  with_disposition(const with_disposition&) = delete;
  with_disposition& operator=(const with_disposition&) = delete;
  ~with_disposition() { ::sigaction(n_, &before_, nullptr); }

private:
  int n_;
  struct sigaction before_ = {};
};

bool empty(rouse::fibers& sched, fiber_signals& s) {
  return await<int>(sched, CALL(s.wait(50ms, how...))).ec == std::errc::timed_out;
}
int next(rouse::fibers& sched, fiber_signals& s) {
  return await<int>(sched, CALL(s.wait(patience, how...))).value;
}

int wait_until_heard() {
  while (heard == 0) ::usleep(1000);
  return static_cast<int>(heard);
}

} // namespace

TEST_CASE("signals: the last object restores the former disposition", "[signals]") {
  const with_disposition first(SIGUSR1, &hear);
  rouse::fibers sched;
  auto one = std::make_unique<fiber_signals>(sched, std::initializer_list<int>{SIGUSR1});
  auto two = std::make_unique<fiber_signals>(sched, std::initializer_list<int>{SIGUSR1, SIGUSR2});
  one.reset();
  ::raise(SIGUSR1);
  CHECK(heard == 0);
  CHECK(next(sched, *two) == SIGUSR1);
  two.reset();
  CHECK(disposition(SIGUSR1) == &hear);
  CHECK(disposition(SIGUSR2) == SIG_DFL);
}

TEST_CASE("signals: a handler that the application installs later is kept", "[signals]") {
  const with_disposition first(SIGUSR1, SIG_DFL);
  rouse::fibers sched;
  {
    fiber_signals caught{sched, {SIGUSR1}};
    ::signal(SIGUSR1, &hear);
    ::raise(SIGUSR1);
    CHECK(heard == 1);
    CHECK(empty(sched, caught));
  }
  CHECK(disposition(SIGUSR1) == &hear);
}

TEST_CASE("signals: an object made after the application's handler gets signals, and restores the "
          "handler",
          "[signals]") {
  const with_disposition first(SIGUSR1, SIG_DFL);
  rouse::fibers sched;
  {
    fiber_signals older{sched, {SIGUSR1}};
    ::signal(SIGUSR1, &hear);
    fiber_signals newer{sched, {SIGUSR1}};
    ::raise(SIGUSR1);
    CHECK(heard == 0);
    CHECK(next(sched, newer) == SIGUSR1);
    CHECK(next(sched, older) == SIGUSR1);
  }
  CHECK(disposition(SIGUSR1) == &hear);
}

TEST_CASE("signals: a handler restored after the object's end does what the former one did",
          "[signals]") {
  const with_disposition first(SIGUSR1, &hear);
  rouse::fibers sched;
  struct sigaction of_rouse = {};
  {
    fiber_signals caught{sched, {SIGUSR1}};
    ::sigaction(SIGUSR1, nullptr, &of_rouse);
    ::signal(SIGUSR1, &hear_too);
  }
  ::sigaction(SIGUSR1, &of_rouse, nullptr);
  ::raise(SIGUSR1);
  CHECK(heard == 1);
  CHECK(disposition(SIGUSR1) == &hear);
  fiber_signals again{sched, {SIGUSR1}};
  ::raise(SIGUSR1);
  CHECK(next(sched, again) == SIGUSR1);
}

TEST_CASE("signals: objects may be made and destroyed while signals arrive on other threads",
          "[signals]") {
  rouse::threads sched;
  rouse::signals<rouse::threads> lasting{sched, {SIGUSR1}};
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i != 2; ++i) {
    threads.emplace_back([&] {
      while (!stop.load()) ::raise(SIGUSR1);
    });
    threads.emplace_back([&] {
      for (int k = 0; k != 200; ++k) {
        const rouse::signals<rouse::threads> passing{sched, {SIGUSR1, SIGUSR2}};
        ::raise(SIGUSR2);
      }
    });
  }
  threads[1].join();
  threads[3].join();
  stop.store(true);
  threads[0].join();
  threads[2].join();
  CHECK(await<int>(sched, CALL(lasting.wait(patience, how...))).value == SIGUSR1);
}

TEST_CASE("signals: a forked child has the handler that the application installed before",
          "[signals][O8]") {
  const with_disposition first(SIGUSR1, &hear);
  rouse::fibers sched;
  fiber_signals caught{sched, {SIGUSR1}};
  child_process child([] { return disposition(SIGUSR1) == &hear ? wait_until_heard() : 2; });
  ::kill(child.pid(), SIGUSR1);
  CHECK(child.wait() == 1);
  CHECK(empty(sched, caught));
}

TEST_CASE("signals: a child forked without the C library has that handler too", "[signals][O8]") {
  const with_disposition first(SIGUSR1, &hear);
  rouse::fibers sched;
  fiber_signals caught{sched, {SIGUSR1}};
  // As fork(2), without the handlers of pthread_atfork(3).
  const auto child =
      static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, 0));
  if (child == 0) {
    ::raise(SIGUSR1);
    ::_exit(heard == 1 && disposition(SIGUSR1) == &hear ? 0 : 1);
  }
  int status = -1;
  CHECK(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(empty(sched, caught));
}

TEST_CASE("signals: a forked child destroys its copy of an object without effect on the parent",
          "[signals][O8]") {
  rouse::fibers sched;
  auto caught = std::make_unique<fiber_signals>(sched, std::initializer_list<int>{SIGUSR1});
  ::raise(SIGUSR1); // no wait has taken it
  child_process child([&] {
    caught.reset();
    return disposition(SIGUSR1) == SIG_DFL ? 0 : 1;
  });
  CHECK(child.wait() == 0);
  CHECK(next(sched, *caught) == SIGUSR1);
  ::raise(SIGUSR1);
  CHECK(next(sched, *caught) == SIGUSR1);
  CHECK(empty(sched, *caught));
}

TEST_CASE("signals: an object of a forked child restores the former disposition", "[signals][O8]") {
  const with_disposition first(SIGUSR1, &hear);
  rouse::fibers sched;
  fiber_signals caught{sched, {SIGUSR1}};
  child_process child([] {
    {
      rouse::fibers own;
      fiber_signals mine{own, {SIGUSR1}};
      ::raise(SIGUSR1);
      if (next(own, mine) != SIGUSR1 || heard != 0) return 1;
    }
    return disposition(SIGUSR1) == &hear ? 0 : 2;
  });
  CHECK(child.wait() == 0);
  CHECK(empty(sched, caught));
}

TEMPLATE_LIST_TEST_CASE("signals: a forked child may use an object if its scheduler has not run",
                        "[signals][O8]", every_scheduler) {
  const with_disposition first(SIGUSR1, &hear);
  auto sched = std::make_unique<TestType>();
  auto caught = std::make_unique<rouse::signals<TestType>>(*sched, std::initializer_list{SIGUSR1});
  child_process child([&] {
    auto waiting = start<int>(*sched, CALL(caught->wait(patience, how...)));
    run_until(*sched, [] { return disposition(SIGUSR1) != &hear; });
    ::raise(SIGUSR1);
    const int got = waiting.wait().value;
    caught.reset();
    sched.reset(); // with its threads
    return got == SIGUSR1 && disposition(SIGUSR1) == &hear ? 0 : 1;
  });
  CHECK(child.wait() == 0);
  ::raise(SIGUSR1);
  CHECK(await<int>(*sched, CALL(caught->wait(patience, how...))).value == SIGUSR1);
  CHECK(await<int>(*sched, CALL(caught->wait(0s, how...))).ec == std::errc::timed_out);
}

TEST_CASE("signals: a wait in a forked child is refused if its parent has run the scheduler",
          "[signals][O8]") {
  rouse::fibers sched;
  fiber_signals caught{sched, {SIGUSR1}};
  CHECK(empty(sched, caught));
  child_process child([&] {
    std::error_code ec;
    caught.wait(patience, ec);
    return ec == std::errc::operation_not_permitted ? 0 : 1;
  });
  CHECK(child.wait() == 0);
  ::raise(SIGUSR1);
  CHECK(next(sched, caught) == SIGUSR1);
}
#endif

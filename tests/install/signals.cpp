// Signals and pthread_cancel in a program with install(). Linux.
#include "installed.hpp"
#include "support/testing.hpp"

#include <atomic>
#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

using namespace testing;

namespace {

struct pair_of {
  int a = -1, b = -1;
  explicit pair_of(int type = SOCK_STREAM) {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, type, 0, ends) == 0);
    a = ends[0], b = ends[1];
  }
  ~pair_of() { ::close(a), ::close(b); }
};

// ---- handlers

std::atomic<int> handled{0};
void count_one(int) { ++handled; }

// A handler of SIGUSR1 while it exists.
class handling {
public:
  explicit handling(void (*f)(int) = &count_one, int flags = 0) {
    struct sigaction a = {};
    a.sa_handler = f;
    a.sa_flags = flags;
    REQUIRE(::sigaction(SIGUSR1, &a, &before_) == 0);
    handled = 0;
  }
  ~handling() { ::sigaction(SIGUSR1, &before_, nullptr); }

private:
  struct sigaction before_ = {};
};

struct result {
  long value = -2;
  int error = 0;
};
template <class Call>
result made(Call call) {
  errno = 0;
  const auto value = static_cast<long>(call());
  return {value, errno};
}

// The result of a call during which a handler runs, because another fiber raises the signal;
// `finish()` then completes the call.
template <class Call, class Finish>
result interrupted(int flags, Call call, Finish finish) {
  const handling h(&count_one, flags);
  installed here;
  result r;
  here.run([&] { r = made(call); },
           [&] {
             ::raise(SIGUSR1);
             for (int i = 0; i != 4; ++i) here.sched.yield();
             finish();
           });
  CHECK(handled == 1);
  return r;
}
template <class Call>
result interrupted(int flags, Call call) {
  return interrupted(flags, call, [] {});
}

void limit_to(int fd, int option, int seconds) {
  const timeval t{seconds, 0};
  REQUIRE(::setsockopt(fd, SOL_SOCKET, option, &t, sizeof t) == 0);
}

void fill(int fd) {
  const std::string block(65536, 'x');
  while (::send(fd, block.data(), block.size(), MSG_DONTWAIT) > 0) {
  }
}

// ---- pthread_cancel

// Makes `call` on a thread with a pending cancellation. True if the thread was unwound.
template <class Call>
bool cancelled(Call call) {
  struct context {
    Call* call;
    bool unwound = false;
  } c{&call};
  pthread_t thread;
  const auto body = [](void* argument) -> void* {
    struct unwinding {
      bool& seen;
      ~unwinding() { seen = true; }
    };
    auto& mine = *static_cast<context*>(argument);
    const unwinding guard{mine.unwound};
    ::pthread_cancel(::pthread_self());
    (*mine.call)();
    return nullptr;
  };
  REQUIRE(::pthread_create(&thread, nullptr, body, &c) == 0);
  void* result = nullptr;
  ::pthread_join(thread, &result);
  return result == PTHREAD_CANCELED && c.unwound;
}

} // namespace

TEST_CASE("install: pthread_cancel ends each call outside of fibers, and unwinds its thread",
          "[install][cancel]") {
  const bool elsewhere = GENERATE(false, true); // installed on another thread
  rouse::fibers sched;
  if (elsewhere) rouse::install(sched);
  const pair_of p;
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  REQUIRE(::listen(listener, 1) == 0);
  const int set = ::epoll_create1(0);
  char byte = 0;
  iovec piece{&byte, 1};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  epoll_event event;
  pollfd file{p.a, POLLIN, 0};
  const timespec hour{3600, 0};
  CHECK(cancelled([&] { ::recv(p.a, &byte, 1, 0); }));
  CHECK(cancelled([&] { ::recvfrom(p.a, &byte, 1, 0, nullptr, nullptr); }));
  CHECK(cancelled([&] { ::recvmsg(p.a, &message, 0); }));
  CHECK(cancelled([&] { (void)!::read(p.a, &byte, 1); }));
  CHECK(cancelled([&] { (void)!::readv(p.a, &piece, 1); }));
  CHECK(cancelled([&] { (void)!::read(ends[0], &byte, 1); }));
  CHECK(cancelled([&] { ::accept(listener, nullptr, nullptr); }));
  CHECK(cancelled([&] { ::accept4(listener, nullptr, nullptr, 0); }));
  CHECK(cancelled([&] { ::poll(&file, 1, -1); }));
  CHECK(cancelled([&] { ::ppoll(&file, 1, nullptr, nullptr); }));
  CHECK(cancelled([&] { ::select(0, nullptr, nullptr, nullptr, nullptr); }));
  CHECK(cancelled([&] { ::pselect(0, nullptr, nullptr, nullptr, nullptr, nullptr); }));
  CHECK(cancelled([&] { ::epoll_wait(set, &event, 1, -1); }));
  CHECK(cancelled([&] { ::epoll_pwait(set, &event, 1, -1, nullptr); }));
  CHECK(cancelled([] { ::sleep(3600); }));
  CHECK(cancelled([] { ::usleep(900'000'000); }));
  CHECK(cancelled([&] { ::nanosleep(&hour, nullptr); }));
  CHECK(cancelled([&] { ::clock_nanosleep(CLOCK_MONOTONIC, 0, &hour, nullptr); }));
  CHECK(cancelled([&] { ::send(p.a, &byte, 1, 0); }));
  CHECK(cancelled([&] { (void)!::write(ends[1], &byte, 1); }));
  CHECK(cancelled([&] { (void)!::writev(ends[1], &piece, 1); }));
  for (int fd : {ends[0], ends[1], listener, set}) ::close(fd);
  if (elsewhere) rouse::uninstall();
}

TEST_CASE("install: calls of a signal handler never switch fibers", "[install][signals]") {
  static int pipe_ends[2];
  REQUIRE(::pipe2(pipe_ends, O_NONBLOCK) == 0);
  const handling h([](int) {
    ++handled;
    char bytes[16];
    (void)!::write(pipe_ends[1], "!", 1);
    (void)!::read(pipe_ends[0], bytes, sizeof bytes);
    ::usleep(1);
    pollfd f{pipe_ends[0], POLLIN, 0};
    (void)::poll(&f, 1, 1);
  });
  installed here;
  int others = 0, others_meanwhile = 0;
  here.run(
      [&] {
        for (int i = 0; i != 200; ++i) ::raise(SIGUSR1);
        others_meanwhile = others;
      },
      [&] { ++others; });
  CHECK(handled == 200);
  CHECK(others_meanwhile == 0);
  ::close(pipe_ends[0]), ::close(pipe_ends[1]);
}

TEST_CASE("install: a signal handler that writes may interrupt malloc, the loop and switches",
          "[install][signals]") {
  static int pipe_ends[2];
  REQUIRE(::pipe2(pipe_ends, O_NONBLOCK) == 0);
  struct sigaction a = {}, before = {};
  a.sa_handler = [](int) {
    ++handled;
    (void)!::write(pipe_ends[1], "!", 1);
  };
  a.sa_flags = SA_RESTART;
  REQUIRE(::sigaction(SIGALRM, &a, &before) == 0);
  handled = 0;
  installed here;
  const auto work = [&] {
    const pair_of p;
    for (int i = 0; i != 5000; ++i) {
      void* held[20];
      for (int k = 0; k != 20; ++k) held[k] = std::malloc(static_cast<std::size_t>(2000 + k * 100));
      for (void* m : held) std::free(m);
      char c = 'x';
      if (i % 16 == 0) {
        (void)!::send(p.b, &c, 1, 0);
        (void)!::recv(p.a, &c, 1, 0);
      }
      if (i % 64 == 0) {
        char bytes[256];
        (void)!::read(pipe_ends[0], bytes, sizeof bytes);
        here.sched.yield();
      }
    }
  };
  const itimerval often{{0, 500}, {0, 500}}, never{};
  ::setitimer(ITIMER_REAL, &often, nullptr);
  here.run(work, work, work, work);
  ::setitimer(ITIMER_REAL, &never, nullptr);
  ::sigaction(SIGALRM, &before, nullptr);
  CHECK(handled > 0);
  ::close(pipe_ends[0]), ::close(pipe_ends[1]);
}

TEST_CASE("install: a signal handler interrupts the calls that are never restarted",
          "[install][signals]") {
  const int flags = GENERATE(0, SA_RESTART);
  CAPTURE(flags);
  const pair_of p;
  pollfd file{p.a, POLLIN, 0};
  fd_set in;
  FD_ZERO(&in);
  FD_SET(p.a, &in);
  const int set = ::epoll_create1(0);
  epoll_event event{};
  timeval limit{30, 0};
  const timespec long_time{30, 0};
  timespec left{};
  const auto ends = [](const result& r) { return r.value == -1 && r.error == EINTR; };
  CHECK(ends(interrupted(flags, [&] { return ::poll(&file, 1, -1); })));
  CHECK(ends(interrupted(flags, [&] { return ::ppoll(&file, 1, nullptr, nullptr); })));
  CHECK(ends(interrupted(flags, [&] { return ::select(p.a + 1, &in, nullptr, nullptr, &limit); })));
  CHECK(limit.tv_sec < 30); // the remaining time
  CHECK(limit.tv_sec > 0);
  CHECK(ends(interrupted(
      flags, [&] { return ::pselect(p.a + 1, &in, nullptr, nullptr, nullptr, nullptr); })));
  CHECK(ends(interrupted(flags, [&] { return ::epoll_wait(set, &event, 1, -1); })));
  CHECK(ends(interrupted(flags, [&] { return ::epoll_pwait(set, &event, 1, -1, nullptr); })));
  CHECK(ends(interrupted(flags, [] { return ::usleep(30'000'000); })));
  CHECK(ends(interrupted(flags, [&] { return ::nanosleep(&long_time, &left); })));
  CHECK(left.tv_sec == 29);
  left = {};
  CHECK(interrupted(flags, [&] {
          return ::clock_nanosleep(CLOCK_MONOTONIC, 0, &long_time, &left);
        }).value == EINTR);
  CHECK(left.tv_sec == 29);
  CHECK(interrupted(flags, [] { return ::sleep(30); }).value == 29);
  ::close(set);
}

TEST_CASE(
    "install: a signal handler interrupts a socket's call with SO_RCVTIMEO, even with SA_RESTART",
    "[install][signals]") {
  const int flags = GENERATE(0, SA_RESTART);
  CAPTURE(flags);
  const pair_of p;
  limit_to(p.a, SO_RCVTIMEO, 30);
  limit_to(p.a, SO_SNDTIMEO, 30);
  fill(p.a);
  char byte = 0;
  const result received = interrupted(flags, [&] { return ::recv(p.a, &byte, 1, 0); });
  CHECK(received.value == -1);
  CHECK(received.error == EINTR);
  const result sent = interrupted(flags, [&] { return ::send(p.a, &byte, 1, 0); });
  CHECK(sent.value == -1);
  CHECK(sent.error == EINTR);
}

TEST_CASE("install: a signal handler interrupts a call without a limit, unless SA_RESTART is set",
          "[install][signals]") {
  const int flags = GENERATE(0, SA_RESTART);
  CAPTURE(flags);
  const pair_of p, q, full;
  fill(full.a);
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  REQUIRE(::listen(listener, 1) == 0);
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  REQUIRE(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  char byte = 0;
  const auto give = [&] { (void)!::send(p.b, "x", 1, 0); };
  int accepted = -1;
  const result results[] = {
      interrupted(
          flags, [&] { return ::recv(p.a, &byte, 1, 0); }, give),
      interrupted(
          flags, [&] { return ::read(q.a, &byte, 1); }, [&] { (void)!::send(q.b, "x", 1, 0); }),
      interrupted(
          flags, [&] { return ::read(ends[0], &byte, 1); },
          [&] { (void)!::write(ends[1], "x", 1); }),
      interrupted(
          flags, [&] { return ::send(full.a, "x", 1, 0); },
          [&] {
            std::string bytes(std::size_t{1} << 20, '\0');
            while (::recv(full.b, bytes.data(), bytes.size(), MSG_DONTWAIT) > 0) {
            }
          }),
      interrupted(
          flags, [&] { return (accepted = ::accept(listener, nullptr, nullptr)) < 0 ? -1 : 1; },
          [&] { (void)::connect(client, reinterpret_cast<const sockaddr*>(&address), size); }),
  };
  for (const result& r : results) {
    CAPTURE(&r - results);
    CHECK(r.value == (flags ? 1 : -1));
    CHECK((flags || r.error == EINTR));
  }
  for (int fd : {ends[0], ends[1], listener, client, accepted}) {
    if (fd >= 0) ::close(fd);
  }
}

TEST_CASE("install: a half-done call returns its part when a signal handler has run",
          "[install][signals]") {
  const int flags = GENERATE(0, SA_RESTART);
  CAPTURE(flags);
  const pair_of p, q;
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const std::string block(std::size_t{8} << 20, 'x');
  const auto is_part = [&](const result& r) {
    return r.value > 0 && r.value < static_cast<long>(block.size());
  };
  CHECK(is_part(interrupted(flags, [&] { return ::send(p.a, block.data(), block.size(), 0); })));
  CHECK(is_part(interrupted(flags, [&] { return ::write(ends[1], block.data(), block.size()); })));
  char bytes[8];
  (void)!::send(q.b, "abc", 3, 0);
  CHECK(interrupted(flags, [&] { return ::recv(q.a, bytes, sizeof bytes, MSG_WAITALL); }).value ==
        3);
  ::close(ends[0]), ::close(ends[1]);
}

TEST_CASE("install: a signal that arrives while the loop sleeps interrupts the wait",
          "[install][signals]") {
  const handling h;
  installed here;
  const pair_of p;
  pollfd file{p.a, POLLIN, 0};
  result polled;
  std::atomic<bool> over{false};
  const pthread_t loop = ::pthread_self();
  std::thread sender([&] {
    while (!over) {
      ::pthread_kill(loop, SIGUSR1);
      std::this_thread::sleep_for(1ms);
    }
  });
  here.run([&] { polled = made([&] { return ::poll(&file, 1, -1); }); });
  over = true;
  sender.join();
  CHECK(polled.value == -1);
  CHECK(polled.error == EINTR);
}

TEST_CASE(
    "install: a signal handler that ran before a call, or on another thread, does not interrupt it",
    "[install][signals]") {
  const handling h;
  installed here;
  const pair_of p;
  pollfd file{p.a, POLLIN, 0};
  result after, meanwhile;
  here.run([&] {
    ::raise(SIGUSR1);
    after = made([&] { return ::poll(&file, 1, 5); });
  });
  here.run([&] { meanwhile = made([&] { return ::poll(&file, 1, 5); }); },
           [] { std::thread([] { ::raise(SIGUSR1); }).join(); });
  CHECK(handled == 2);
  CHECK(after.value == 0);
  CHECK(meanwhile.value == 0);
}

TEST_CASE("install: ppoll, pselect and epoll_pwait admit the signals of their mask",
          "[install][signals]") {
  const handling h;
  sigset_t usr1, before, none;
  sigemptyset(&none);
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  REQUIRE(::pthread_sigmask(SIG_BLOCK, &usr1, &before) == 0);
  installed here;
  const bool pending = GENERATE(false, true); // before the call
  const int which = GENERATE(0, 1, 2);
  CAPTURE(pending, which);
  const pair_of p;
  pollfd file{p.a, POLLIN, 0};
  const int set = ::epoll_create1(0);
  epoll_event event{};
  result r;
  int handled_outside = 0;
  if (pending) ::raise(SIGUSR1);
  here.run(
      [&] {
        r = made([&] {
          return which == 0   ? ::ppoll(&file, 1, nullptr, &none)
                 : which == 1 ? ::pselect(0, nullptr, nullptr, nullptr, nullptr, &none)
                              : ::epoll_pwait(set, &event, 1, -1, &none);
        });
      },
      [&] {
        if (!pending) ::raise(SIGUSR1);
        handled_outside = pending ? 0 : handled.load();
      });
  CHECK(handled == 1);
  CHECK(handled_outside == 0);
  CHECK(r.value == -1);
  CHECK(r.error == EINTR);
  ::close(set);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST_CASE("install: sigaction returns the program's own handlers", "[install][signals]") {
  static std::atomic<int> value{0};
  const handling h;
  struct sigaction a = {}, now = {};
  REQUIRE(::sigaction(SIGUSR1, nullptr, &now) == 0);
  CHECK(now.sa_handler == &count_one);
  a.sa_sigaction = [](int, siginfo_t* info, void*) { value = info->si_value.sival_int; };
  a.sa_flags = SA_SIGINFO;
  REQUIRE(::sigaction(SIGUSR1, &a, &now) == 0);
  CHECK(now.sa_handler == &count_one);
  sigval sent{};
  sent.sival_int = 42;
  ::sigqueue(::getpid(), SIGUSR1, sent);
  CHECK(value == 42);
  CHECK(::sigaction(SIGUSR1, nullptr, &now) == 0);
  CHECK(now.sa_sigaction == a.sa_sigaction);
  CHECK(::signal(SIGUSR1, &count_one) == a.sa_handler); // instead of sa_sigaction
  CHECK(::signal(SIGUSR1, SIG_IGN) == &count_one);
  CHECK(::signal(SIGUSR1, SIG_DFL) == SIG_IGN);
  CHECK(::signal(SIGKILL, &count_one) == SIG_ERR);
  CHECK(::sigaction(SIGUSR1, &now, nullptr) == 0);
  CHECK(::sigaction(SIGUSR1, nullptr, &a) == 0);
  CHECK(a.sa_sigaction == now.sa_sigaction);
}

TEST_CASE("install: calls park as before after a jump out of a signal handler",
          "[install][signals]") {
  static sigjmp_buf back;
  const handling h([](int) { ::siglongjmp(back, 1); });
  installed here;
  bool others_ran = false, jumped = false;
  here.run(
      [&] {
        if (::sigsetjmp(back, 1) == 0)
          ::raise(SIGUSR1);
        else
          jumped = true;
        ::usleep(1000);
        CHECK(others_ran);
      },
      [&] { others_ran = true; });
  CHECK(jumped);
}

TEST_CASE("install: rouse::signals works in a program with install()", "[install][signals]") {
  installed here;
  int heard = 0;
  here.run([&] {
    rouse::signals sent{here.sched, {SIGUSR2}};
    here.sched.post([] { ::raise(SIGUSR2); });
    heard = sent.wait();
  });
  CHECK(heard == SIGUSR2);
}

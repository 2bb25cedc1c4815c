// Signals and pthread_cancel in a program with install(). Linux.
#include "support/testing.hpp"

#include <rouse/install.hpp>

#include <atomic>
#include <cerrno>
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

// ---- pthread_cancel

// What a thread does until it is cancelled, which is pending before it does it.
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

TEST_CASE("install: a thread that is no fiber is cancelled in each call, and unwound",
          "[install][cancel]") {
  const bool elsewhere = GENERATE(false, true); // installed, in another thread
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

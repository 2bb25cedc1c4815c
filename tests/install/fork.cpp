// Processes that fibers start under install(): a child never disturbs the fibers of its parent, and
// its own calls are the system's. Linux.
#include "support/child_process.hpp"
#include "support/testing.hpp"

#include <rouse/install.hpp>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace testing;

#if ROUSE_TSAN
// Children may be forked by a program with several threads.
extern "C" const char* __tsan_default_options() { return "die_after_fork=0"; }
#endif

namespace {

// A fiber waits for a message while another one forks a child.
struct parent {
  rouse::fibers sched;
  int a = -1, b = -1;
  std::string got;

  parent() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    a = ends[0], b = ends[1];
    rouse::install(sched);
  }
  ~parent() {
    rouse::uninstall();
    ::close(a), ::close(b);
  }
  // `make` returns the child's id. True if the child ended well and no wait ended early.
  template <class F>
  bool undisturbed_by(F make) {
    bool good = true;
    int status = -1;
    sched.spawn([&] { receive(); });
    sched.spawn([&] {
      ::usleep(1); // the other fiber waits in the kernel
      const pid_t child = make();
      good &= ::waitpid(child, &status, 0) == child && got.empty();
      for (int i = 0; i != 3; ++i) ::usleep(1000); // time for effects of the child to show
      good &= got.empty() && ::send(b, "x", 1, 0) == 1;
    });
    sched.spawn([] { ::usleep(2000); });
    sched.run();
    return good && status == 0 && got == "x";
  }
  void receive() {
    char byte = 0;
    const ssize_t n = ::recv(a, &byte, 1, 0);
    got += n == 1 ? byte : '?';
  }
};

void close_all() {
  for (int fd = 3; fd != 64; ++fd) ::close(fd);
}

} // namespace

TEST_CASE(
    "install, fork: a child that closes all inherited files does not affect its parent's fibers",
    "[install][fork][O8]") {
  parent p;
  CHECK(p.undisturbed_by([] {
    const pid_t child = ::fork();
    if (child == 0) close_all(), leave(0);
    return child;
  }));
}

TEST_CASE(
    "install, fork: a child of vfork that closes all files does not affect its parent's fibers",
    "[install][fork][O8]") {
  parent p;
  CHECK(p.undisturbed_by([] {
    const pid_t child = ::vfork();
    if (child == 0) close_all(), leave(0);
    return child;
  }));
}

#if defined(SYS_fork)
TEST_CASE("install, fork: a child made without the C library does not affect its parent's fibers",
          "[install][fork][O8]") {
  parent p;
  CHECK(p.undisturbed_by([] {
    const auto child = static_cast<pid_t>(::syscall(SYS_fork));
    if (child == 0) close_all(), leave(0);
    return child;
  }));
}
#endif

TEST_CASE("install, fork: a child that executes a program does not affect its parent's fibers",
          "[install][fork][O8]") {
  parent p;
  for (const bool shared : {false, true}) {
    p.got.clear();
    CHECK(p.undisturbed_by([shared] {
      const pid_t child = shared ? ::vfork() : ::fork();
      if (child == 0) {
        close_all();
        ::execl("/bin/true", "true", nullptr);
        leave(1);
      }
      return child;
    }));
  }
}

TEST_CASE("install, fork: a fiber reads the output and the status of a program",
          "[install][fork][O8]") {
  parent p;
  std::string line(16, '\0');
  int returned = -1;
  p.sched.spawn([&] { p.receive(); });
  p.sched.spawn([&] {
    std::FILE* const pipe = ::popen("echo text", "r");
    if (pipe && std::fgets(line.data(), 16, pipe)) line.resize(std::strlen(line.data()));
    if (pipe) ::pclose(pipe);
    returned = std::system("exit 3");
    (void)!::send(p.b, "x", 1, 0);
  });
  p.sched.run();
  CHECK(line == "text\n");
  CHECK(returned == 3 << 8);
  CHECK(p.got == "x");
}

TEST_CASE("install, fork: a child has the calling fiber only, and its calls are the system's",
          "[install][fork][O8]") {
  parent p;
  int others = 0;
  p.sched.spawn([&] {
    for (int i = 0; i != 20; ++i) ::usleep(1000), ++others;
  });
  CHECK(p.undisturbed_by([&] {
    const pid_t child = ::fork();
    if (child != 0) return child;
    child_process::guard();
    others = 0;
    int ends[2], pipe[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0 || ::pipe(pipe) != 0) leave(1);
    std::thread peer([&] {
      for (int i = 0; i != 5; ++i) {
        ::usleep(2000);
        (void)!::send(ends[1], "y", 1, 0);
        (void)!::write(pipe[1], "z", 1);
      }
    });
    bool good = true;
    char byte = 0;
    for (int i = 0; i != 5; ++i) {
      good &= ::recv(ends[0], &byte, 1, 0) == 1 && byte == 'y';
      good &= ::read(pipe[0], &byte, 1) == 1 && byte == 'z';
    }
    pollfd nothing{ends[0], POLLIN, 0};
    good &= ::poll(&nothing, 1, 10) == 0 && ::usleep(5000) == 0;
    peer.join();
    leave(good && others == 0 && p.got.empty() ? 0 : 2);
  }));
  CHECK(others == 20);
}

TEST_CASE("install, fork: when the fiber of a child returns, run() refuses to continue",
          "[install][fork][O8]") {
  parent p;
  pid_t child = -1;
  int others = 0;
  p.sched.spawn([&] {
    child = ::fork();
    if (child == 0) child_process::guard();
  });
  p.sched.spawn([&] { ++others; });
  std::error_code ec;
  try {
    p.sched.run();
  } catch (const std::system_error& e) {
    ec = e.code();
  }
  if (child == 0) leave(ec == std::errc::operation_not_permitted && others == 0 ? 0 : 1);
  CHECK(child_process(child).wait() == 0);
  CHECK(!ec);
  CHECK(others == 1);
}

TEST_CASE("install, fork: a child can exit in a fiber of a static scheduler",
          "[install][fork][O8]") {
  static std::optional<parent> p;
  p.emplace();
  CHECK(p->undisturbed_by([] {
    const pid_t child = ::fork();
    if (child == 0) child_process::guard(), std::exit(0);
    return child;
  }));
  p.reset();
}

TEST_CASE("install, fork: a child can install a scheduler of its own", "[install][fork][O8]") {
  parent p;
  CHECK(p.undisturbed_by([&] {
    const pid_t child = ::fork();
    if (child != 0) return child;
    child_process::guard();
    std::thread([] { // not on the stack of a fiber
      parent own;
      leave(own.undisturbed_by([] {
        const pid_t second = ::fork();
        if (second == 0) leave(0);
        return second;
      })
                ? 0
                : 1);
    })
        .join();
    return child;
  }));
}

TEST_CASE("install, fork: a scheduler that was installed but never run works in a child",
          "[install][fork][O8]") {
  parent p;
  child_process child([&] {
    return p.undisturbed_by([] {
      const pid_t second = ::fork();
      if (second == 0) close_all(), leave(0);
      return second;
    })
               ? 0
               : 1;
  });
  CHECK(child.wait() == 0);
}

TEST_CASE("install, fork: a child of vfork waits in its calls, and no fiber runs meanwhile",
          "[install][fork][O8]") {
  parent p;
  int pipe[2];
  REQUIRE(::pipe(pipe) == 0);
  std::atomic<bool> begun{false};
  std::thread writer([&] {
    begun.wait(false);
    ::usleep(10000);
    (void)!::write(pipe[1], "z", 1);
  });
  CHECK(p.undisturbed_by([&] {
    begun = true;
    begun.notify_all();
    const pid_t child = ::vfork();
    if (child == 0) {
      char byte = 0;
      const bool good = ::read(pipe[0], &byte, 1) == 1 && byte == 'z';
      leave(good ? 0 : 1);
    }
    return child;
  }));
  writer.join();
  ::close(pipe[0]), ::close(pipe[1]);
}

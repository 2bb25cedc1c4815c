// Reads and writes under install() of files other than sockets: on ordinary files they keep the
// thread, on pipes and similar files they park. Linux.
#include "installed.hpp"
#include "support/testing.hpp"

#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <mutex>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <termios.h>
#include <unistd.h>

using namespace testing;

namespace {

struct file {
  int fd = -1;
  file() = default;
  explicit file(int f) : fd(f) { REQUIRE(fd >= 0); }
  file(const file&) = delete;
  ~file() { close(); }
  void close() {
    if (fd >= 0) ::close(std::exchange(fd, -1));
  }
};

struct pipe_ends {
  file in, out;
  pipe_ends() {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    in.fd = ends[0], out.fd = ends[1];
  }
};

// A terminal, and the end of a terminal emulator.
struct terminal_ends {
  file master{::posix_openpt(O_RDWR | O_NOCTTY)}, terminal;
  terminal_ends() {
    REQUIRE(::grantpt(master.fd) == 0);
    REQUIRE(::unlockpt(master.fd) == 0);
    terminal.fd = ::open(::ptsname(master.fd), O_RDWR | O_NOCTTY);
    REQUIRE(terminal.fd >= 0);
  }
};

// An ordinary file without a name, with some bytes in it.
int ordinary_file() {
  char name[] = "/tmp/rouse_ordinary_XXXXXX";
  const int fd = ::mkstemp(name);
  ::unlink(name);
  (void)!::write(fd, "some bytes", 10);
  return fd;
}

std::string name_of_fifo() {
  char directory[] = "/tmp/rouse_fifo_XXXXXX";
  REQUIRE(::mkdtemp(directory));
  return std::string(directory) + "/fifo";
}

} // namespace

TEST_CASE("install: calls on ordinary files never switch fibers",
          "[install][files]") {
  installed here;
  const file ordinary(ordinary_file());
  const std::string how =
      GENERATE("read", "write", "readv", "writev", "poll", "select", "directory");
  CAPTURE(how);
  const file directory(::open("/", O_RDONLY | O_DIRECTORY));
  int others = 0, others_meanwhile = -1;
  here.run(
      [&] {
        char bytes[4] = {};
        const iovec piece{bytes, sizeof bytes};
        for (int i = 0; i != 200; ++i) {
          ::lseek(ordinary.fd, 0, SEEK_SET);
          pollfd f{ordinary.fd, POLLIN, 0};
          fd_set in;
          FD_ZERO(&in);
          FD_SET(ordinary.fd, &in);
          if (how == "read") (void)!::read(ordinary.fd, bytes, sizeof bytes);
          if (how == "write") (void)!::write(ordinary.fd, bytes, sizeof bytes);
          if (how == "readv") (void)!::readv(ordinary.fd, &piece, 1);
          if (how == "writev") (void)!::writev(ordinary.fd, &piece, 1);
          if (how == "poll") (void)::poll(&f, 1, -1);
          if (how == "select") (void)::select(ordinary.fd + 1, &in, nullptr, nullptr, nullptr);
          if (how == "directory") (void)!::read(directory.fd, bytes, sizeof bytes);
        }
        others_meanwhile = others;
      },
      [&] { ++others; });
  CHECK(others_meanwhile == 0);
  CHECK(others == 1);
}

TEST_CASE("install: a lock held while an ordinary file is written is free for the next fiber",
          "[install][files]") {
  installed here;
  const file log(ordinary_file());
  std::mutex mutex;
  int blocked = 0;
  const auto write_lines = [&] {
    for (int i = 0; i != 200; ++i) {
      std::unique_lock lock(mutex, std::try_to_lock); // a blocking lock would never return
      blocked += lock.owns_lock() ? 0 : 1;
      (void)!::write(log.fd, "line\n", 5);
    }
  };
  here.run(write_lines, write_lines);
  CHECK(blocked == 0);
}

TEST_CASE("install: a read of an empty pipe parks its fiber until bytes or the end arrive",
          "[install][files]") {
  installed here;
  pipe_ends p;
  char got[8] = {};
  ssize_t first = -1, second = -1;
  int after_success = -1;
  here.run(
      [&] {
        errno = 77;
        first = ::read(p.in.fd, got, sizeof got);
        after_success = errno;
        iovec piece{got, sizeof got};
        second = ::readv(p.in.fd, &piece, 1);
      },
      [&] {
        (void)!::write(p.out.fd, "abc", 3);
        here.sched.yield();
        p.out.close();
      });
  CHECK(first == 3);
  CHECK(std::string(got) == "abc");
  CHECK(after_success == 77);
  CHECK(second == 0);
}

TEST_CASE("install: a write to a full pipe parks its fiber until all is written",
          "[install][files]") {
  installed here;
  const bool named = GENERATE(false, true); // a FIFO has no calls that do not wait
  CAPTURE(named);
  pipe_ends p;
  std::string name;
  if (named) {
    name = name_of_fifo();
    REQUIRE(::mkfifo(name.c_str(), 0600) == 0);
    p.in.close(), p.out.close();
    const file both(::open(name.c_str(), O_RDWR)); // so that the other opens do not wait
    p.in.fd = ::open(name.c_str(), O_RDONLY);
    p.out.fd = ::open(name.c_str(), O_WRONLY);
    ::unlink(name.c_str());
    ::rmdir(name.substr(0, name.rfind('/')).c_str());
  }
  std::string block(std::size_t{300} << 10, '\0'), got;
  for (std::size_t i = 0; i != block.size(); ++i) block[i] = static_cast<char>(i * 7 / 3);
  ssize_t wrote = -1;
  here.run(
      [&] {
        char* const data = block.data();
        const iovec pieces[] = {{data, 5}, {data, 0}, {data + 5, block.size() - 5}};
        wrote = ::writev(p.out.fd, pieces, 3);
        p.out.close();
      },
      [&] {
        char some[5000];
        while (const ssize_t n = ::read(p.in.fd, some, sizeof some)) {
          if (n < 0) break;
          got.append(some, static_cast<std::size_t>(n));
        }
      });
  CHECK(wrote == static_cast<ssize_t>(block.size()));
  CHECK(got == block);
}

TEST_CASE("install: a half-done write returns its part when the pipe's reader closes",
          "[install][files]") {
  installed here;
  pipe_ends p;
  const std::string block(std::size_t{1} << 20, 'x');
  ssize_t wrote = -1;
  struct sigaction ignore = {}, before = {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &ignore, &before);
  here.run([&] { wrote = ::write(p.out.fd, block.data(), block.size()); }, [&] { p.in.close(); });
  ::sigaction(SIGPIPE, &before, nullptr);
  CHECK(wrote > 0);
  CHECK(wrote < static_cast<ssize_t>(block.size()));
}

TEST_CASE("install: reads of eventfds, timerfds and terminals park their fiber",
          "[install][files]") {
  installed here;
  const file counter(::eventfd(0, 0)), timer(::timerfd_create(CLOCK_MONOTONIC, 0));
  const terminal_ends ends;
  std::uint64_t count = 0, expirations = 0;
  char line[16] = {};
  std::string order;
  here.run(
      [&] {
        (void)!::read(counter.fd, &count, sizeof count);
        order += 'c';
      },
      [&] {
        (void)!::read(timer.fd, &expirations, sizeof expirations);
        order += 't';
      },
      [&] {
        (void)!::read(ends.terminal.fd, line, sizeof line);
        order += 'l';
      },
      [&] {
        order += '-';
        const std::uint64_t three = 3;
        (void)!::write(counter.fd, &three, sizeof three);
        const itimerspec soon{{}, {0, 1}};
        ::timerfd_settime(timer.fd, 0, &soon, nullptr);
        (void)!::write(ends.master.fd, "word\n", 5);
      });
  CHECK(order.front() == '-');
  CHECK(order.size() == 4);
  CHECK(count == 3);
  CHECK(expirations == 1);
  CHECK(std::string(line) == "word\n");
}

TEST_CASE("install: a write to a full eventfd parks its fiber", "[install][files]") {
  installed here;
  const file counter(::eventfd(0, 0));
  const std::uint64_t most = UINT64_MAX - 1, one = 1;
  std::uint64_t count = 0;
  ssize_t wrote = -1;
  here.run(
      [&] {
        (void)!::write(counter.fd, &most, sizeof most);
        wrote = ::write(counter.fd, &one, sizeof one);
      },
      [&] { (void)!::read(counter.fd, &count, sizeof count); });
  CHECK(count == most);
  CHECK(wrote == 8);
}

TEST_CASE("install: calls on pipes and terminals obey O_NONBLOCK", "[install][files]") {
  installed here;
  int ends[2];
  REQUIRE(::pipe2(ends, O_NONBLOCK) == 0);
  const file in(ends[0]), out(ends[1]);
  const file master(::posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK));
  const std::string block(std::size_t{1} << 20, 'x');
  ssize_t read = 0, wrote = 0, again = 0, from_terminal = 0;
  int errors[3] = {};
  here.run([&] {
    char byte;
    read = ::read(in.fd, &byte, 1);
    errors[0] = errno;
    wrote = ::write(out.fd, block.data(), block.size());
    again = ::write(out.fd, block.data(), block.size());
    errors[1] = errno;
    from_terminal = ::read(master.fd, &byte, 1);
    errors[2] = errno;
  });
  CHECK(read == -1);
  CHECK(errors[0] == EAGAIN);
  CHECK(wrote == 65536);
  CHECK(again == -1);
  CHECK(errors[1] == EAGAIN);
  CHECK(from_terminal == -1);
  CHECK(errors[2] == EAGAIN);
}

TEST_CASE("install: a read of a terminal with VMIN 0 returns without bytes", "[install][files]") {
  installed here;
  const terminal_ends ends;
  termios mode{};
  REQUIRE(::tcgetattr(ends.terminal.fd, &mode) == 0);
  ::cfmakeraw(&mode);
  mode.c_cc[VMIN] = 0;
  mode.c_cc[VTIME] = 1; // a tenth of a second
  REQUIRE(::tcsetattr(ends.terminal.fd, TCSANOW, &mode) == 0);
  char byte;
  ssize_t read = -1;
  here.run([&] { read = ::read(ends.terminal.fd, &byte, 1); });
  CHECK(read == 0);
}

TEST_CASE("install: a close by another fiber wakes a read of a pipe", "[install][files]") {
  installed here;
  pipe_ends p;
  char byte;
  ssize_t read = 0;
  int error = 0;
  here.run(
      [&] {
        read = ::read(p.in.fd, &byte, 1);
        error = errno;
      },
      [&] { p.in.close(); });
  CHECK(read == -1);
  CHECK(error == EBADF);
}

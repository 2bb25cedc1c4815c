// The blocking calls under install(), made as any library makes them. Linux.
#include "support/testing.hpp"

#include <rouse/install.hpp>

#include <arpa/inet.h>
#include <cerrno>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

using namespace testing;

namespace {

// A scheduler that is installed, and two sockets connected with each other.
struct installed {
  rouse::fibers sched;
  int a = -1, b = -1;

  explicit installed(int type = SOCK_STREAM) {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, type, 0, ends) == 0);
    a = ends[0], b = ends[1];
    rouse::install(sched);
  }
  ~installed() {
    rouse::uninstall();
    ::close(a), ::close(b);
  }
  // Runs two flows, the first until it waits, then the second. Uses no REQUIRE inside fibers.
  template <class F, class G>
  void run(F first, G second) {
    sched.spawn(std::move(first));
    sched.spawn(std::move(second));
    sched.run();
  }
};

struct result {
  long value = -2;
  int error = 0;
};
// If io_uring has work for the thread, the kernel may interrupt a call that really blocks.
template <class Call>
result made(Call call) {
  result r;
  do {
    errno = 0;
    r.value = static_cast<long>(call());
    r.error = errno;
  } while (r.value == -1 && r.error == EINTR);
  return r;
}

void limit_to(int fd, int option, std::chrono::milliseconds d) {
  const timeval t{d.count() / 1000, d.count() % 1000 * 1000};
  REQUIRE(::setsockopt(fd, SOL_SOCKET, option, &t, sizeof t) == 0);
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  a.sin_port = port;
  return a;
}

struct tcp_listener {
  int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = loopback(0);

  explicit tcp_listener(int backlog) {
    socklen_t size = sizeof address;
    REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(::listen(fd, backlog) == 0);
    REQUIRE(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  }
  ~tcp_listener() { ::close(fd); }
  int connect(int s) const {
    return ::connect(s, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  }
};

} // namespace

TEST_CASE("install: a blocking call parks its fiber, and other fibers run", "[install][P08]") {
  installed here; // its sockets existed before, which makes no difference
  char got[8] = {};
  result received, sent;
  std::string order;
  here.run(
      [&] {
        order += 'r';
        received = made([&] { return ::recv(here.a, got, sizeof got, 0); });
        order += 'R';
      },
      [&] {
        order += 's';
        sent = made([&] { return ::send(here.b, "abc", 3, 0); });
      });
  CHECK(order == "rsR");
  CHECK(received.value == 3);
  CHECK(sent.value == 3);
  CHECK(std::string(got) == "abc");
}

TEST_CASE("install: dump names the call that parks a fiber, and its descriptor",
          "[install][dump]") {
  installed i;
  char byte = 0;
  std::string lines;
  i.run([&] { (void)!::recv(i.a, &byte, 1, 0); },
        [&] {
          i.sched.dump([&](std::string_view line) { lines += line; });
          (void)!::write(i.b, "x", 1);
        });
  const std::string words = "recv on descriptor " + std::to_string(i.a);
  INFO(lines);
  CHECK(lines.find("\n  " + words) != std::string::npos);
  CHECK(lines.find("fiber, waits for " + words) != std::string::npos);
  lines.clear();
  i.run(
      [&] {
        pollfd file{i.a, POLLIN, 0};
        (void)::poll(&file, 1, -1);
      },
      [&] {
        i.sched.dump([&](std::string_view line) { lines += line; });
        (void)!::write(i.b, "x", 1);
      });
  INFO(lines);
  CHECK(lines.find("waits for poll on descriptor " + std::to_string(i.a)) != std::string::npos);
}

TEST_CASE("install: a second install is refused until uninstall", "[install][B1][B2]") {
  installed here;
  rouse::fibers other;
  std::error_code ec;
  try {
    rouse::install(other);
  } catch (const std::system_error& e) {
    ec = e.code();
  }
  CHECK(ec == std::errc::operation_not_permitted);
  rouse::uninstall();
  rouse::uninstall(); // harmless
  rouse::install(other);
}

TEST_CASE("uninstall: calls block their thread again, and parked fibers are still woken",
          "[install][B2][B6]") {
  installed here;
  limit_to(here.b, SO_RCVTIMEO, 20ms);
  char byte = 0;
  result parked, blocked;
  bool others_ran = false;
  here.sched.spawn([&] { parked = made([&] { return ::recv(here.a, &byte, 1, 0); }); });
  here.sched.spawn([&] {
    rouse::uninstall();
    here.sched.spawn([&] { others_ran = true; });
    char nothing;
    blocked = made([&] { return ::recv(here.b, &nothing, 1, 0); });
    CHECK(!others_ran);
    (void)!::send(here.b, "x", 1, 0);
  });
  here.sched.run();
  CHECK(blocked.value == -1);
  CHECK(blocked.error == EAGAIN);
  CHECK(parked.value == 1);
  CHECK(byte == 'x');
}

TEST_CASE("uninstall: a half-done send continues", "[install][B2][B6]") {
  installed here;
  const std::string block = large_block();
  result sent;
  std::size_t got = 0;
  std::thread reader;
  here.run([&] { sent = made([&] { return ::send(here.a, block.data(), block.size(), 0); }); },
           [&] {
             rouse::uninstall();
             reader = std::thread([&] {
               std::vector<char> bytes(65536);
               while (got != block.size()) {
                 const ssize_t n = ::recv(here.b, bytes.data(), bytes.size(), 0);
                 if (n <= 0) return;
                 got += static_cast<std::size_t>(n);
               }
             });
           });
  reader.join();
  CHECK(sent.value == static_cast<long>(block.size()));
  CHECK(got == block.size());
}

TEST_CASE("blocking_scope: calls of its fiber block the thread, those of others park",
          "[install][B5]") {
  installed here;
  limit_to(here.a, SO_RCVTIMEO, 20ms);
  result inside, after;
  bool others_ran = false;
  here.run(
      [&] {
        char byte;
        {
          const rouse::blocking_scope block;
          here.sched.spawn([&] { others_ran = true; });
          inside = made([&] { return ::recv(here.a, &byte, 1, 0); });
          CHECK(!others_ran);
        }
        after = made([&] { return ::recv(here.a, &byte, 1, 0); });
        CHECK(others_ran);
      },
      [] {});
  CHECK(inside.error == EAGAIN);
  CHECK(after.error == EAGAIN);
}

TEST_CASE("install: it does not keep the loop running, and leaves nothing in it", "[install][B7]") {
  installed here;
  CHECK(here.sched.run() == 0);
  limit_to(here.a, SO_RCVTIMEO, 1ms);
  char byte;
  here.run([&] { (void)!::recv(here.a, &byte, 1, 0); }, [] {});
  CHECK(here.sched.engine().active() == 0);
}

TEST_CASE("install: calls of other threads and outside of fibers are unaffected",
          "[install][P08]") {
  installed here;
  limit_to(here.a, SO_RCVTIMEO, 10ms);
  char byte;
  CHECK(made([&] { return ::recv(here.a, &byte, 1, 0); }).error == EAGAIN);
  result elsewhere;
  std::thread([&] { elsewhere = made([&] { return ::recv(here.a, &byte, 1, 0); }); }).join();
  CHECK(elsewhere.error == EAGAIN);
}

TEST_CASE("install: calls obey SO_RCVTIMEO and SO_SNDTIMEO, and fail with their errno",
          "[install]") {
  installed here;
  limit_to(here.a, SO_RCVTIMEO, 10ms);
  limit_to(here.a, SO_SNDTIMEO, 10ms);
  const std::string block(std::size_t{8} << 20, 'x');
  char byte;
  result received, part, nothing;
  here.run(
      [&] {
        received = made([&] { return ::recv(here.a, &byte, 1, 0); });
        part = made([&] { return ::send(here.a, block.data(), block.size(), 0); });
        nothing = made([&] { return ::send(here.a, block.data(), block.size(), 0); });
      },
      [] {});
  CHECK(received.value == -1);
  CHECK(received.error == EAGAIN);
  CHECK(part.value > 0);
  CHECK(part.value < static_cast<long>(block.size()));
  CHECK(nothing.value == -1);
  CHECK(nothing.error == EAGAIN);
}

TEST_CASE("install: calls obey O_NONBLOCK and MSG_DONTWAIT", "[install]") {
  installed here;
  char byte;
  result with_flag, with_mode, accepted;
  const tcp_listener listener(1);
  here.run(
      [&] {
        with_flag = made([&] { return ::recv(here.a, &byte, 1, MSG_DONTWAIT); });
        ::fcntl(here.a, F_SETFL, O_NONBLOCK);
        with_mode = made([&] { return ::read(here.a, &byte, 1); });
        ::fcntl(listener.fd, F_SETFL, O_NONBLOCK);
        accepted = made([&] { return ::accept(listener.fd, nullptr, nullptr); });
      },
      [] {});
  CHECK(with_flag.error == EAGAIN);
  CHECK(with_mode.error == EAGAIN);
  CHECK(accepted.error == EAGAIN);
}

TEST_CASE("install: a blocking send sends all, and MSG_WAITALL receives all", "[install]") {
  installed here;
  const std::string block = large_block();
  std::string got(block.size(), '\0');
  result sent, received;
  SECTION("send and recv") {
    here.run([&] { sent = made([&] { return ::send(here.a, block.data(), block.size(), 0); }); },
             [&] {
               received = made([&] { return ::recv(here.b, got.data(), got.size(), MSG_WAITALL); });
             });
  }
  SECTION("writev and recvmsg, in pieces") {
    here.run(
        [&] {
          char* const data = const_cast<char*>(block.data());
          const iovec pieces[] = {{data, 5}, {data, 0}, {data + 5, block.size() - 5}};
          sent = made([&] { return ::writev(here.a, pieces, 3); });
        },
        [&] {
          iovec pieces[] = {{got.data(), got.size() - 7}, {got.data() + got.size() - 7, 7}};
          msghdr m{};
          m.msg_iov = pieces;
          m.msg_iovlen = 2;
          received = made([&] { return ::recvmsg(here.b, &m, MSG_WAITALL); });
        });
  }
  SECTION("the peer finishes early") {
    got.resize(block.size() + 1);
    here.run(
        [&] {
          sent = made([&] { return ::write(here.a, block.data(), block.size()); });
          ::shutdown(here.a, SHUT_WR);
        },
        [&] {
          received = made([&] { return ::recv(here.b, got.data(), got.size(), MSG_WAITALL); });
        });
    got.resize(block.size());
  }
  CHECK(sent.value == static_cast<long>(block.size()));
  CHECK(received.value == static_cast<long>(block.size()));
  CHECK(got == block);
}

TEST_CASE("install: connect and accept work, and a connect can be refused", "[install]") {
  installed here;
  const tcp_listener listener(8);
  int accepted = -1;
  result connected, again, refused;
  here.run([&] { accepted = ::accept(listener.fd, nullptr, nullptr); },
           [&] {
             const int s = ::socket(AF_INET, SOCK_STREAM, 0);
             connected = made([&] { return listener.connect(s); });
             again = made([&] { return listener.connect(s); });
             ::close(s);
             const tcp_listener gone(1);
             const auto closed = gone.address;
             ::shutdown(gone.fd, SHUT_RDWR);
             const int t = ::socket(AF_INET, SOCK_STREAM, 0);
             refused = made([&] {
               return ::connect(t, reinterpret_cast<const sockaddr*>(&closed), sizeof closed);
             });
             ::close(t);
           });
  CHECK(accepted >= 0);
  ::close(accepted);
  CHECK(connected.value == 0);
  CHECK(again.error == EISCONN);
  CHECK(refused.value == -1);
  CHECK(refused.error == ECONNREFUSED);
}

TEST_CASE("install: a connect that SO_SNDTIMEO ends fails with EINPROGRESS", "[install]") {
  installed here;
  const tcp_listener full(0);
  std::vector<int> fillers; // fills the queue of a listener that does not accept
  for (int i = 0; i != 4; ++i) {
    fillers.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    (void)full.connect(fillers.back());
  }
  const int s = ::socket(AF_INET, SOCK_STREAM, 0);
  limit_to(s, SO_SNDTIMEO, 20ms);
  result connected;
  here.run([&] { connected = made([&] { return full.connect(s); }); }, [] {});
  CHECK(connected.value == -1);
  CHECK(connected.error == EINPROGRESS);
  CHECK((::fcntl(s, F_GETFL) & O_NONBLOCK) == 0);
  ::close(s);
  for (int f : fillers) ::close(f);
}

TEST_CASE("install: a connect waits while a Unix-domain listener's queue is full", "[install]") {
  installed here;
  sockaddr_un path{};
  path.sun_family = AF_UNIX; // abstract; the system chooses the name
  socklen_t size = sizeof path;
  const int listener = ::socket(AF_UNIX, SOCK_STREAM, 0);
  REQUIRE(::bind(listener, reinterpret_cast<sockaddr*>(&path), sizeof path.sun_family) == 0);
  REQUIRE(::getsockname(listener, reinterpret_cast<sockaddr*>(&path), &size) == 0);
  REQUIRE(::listen(listener, 0) == 0);
  const int first = ::socket(AF_UNIX, SOCK_STREAM, 0), second = ::socket(AF_UNIX, SOCK_STREAM, 0);
  result one, two;
  int accepted[2] = {-1, -1};
  here.run(
      [&] {
        const auto* to = reinterpret_cast<const sockaddr*>(&path);
        one = made([&] { return ::connect(first, to, size); });
        two = made([&] { return ::connect(second, to, size); });
      },
      [&] {
        for (int& s : accepted) s = ::accept(listener, nullptr, nullptr);
      });
  CHECK(one.value == 0);
  CHECK(two.value == 0);
  for (int s : {first, second, listener, accepted[0], accepted[1]}) CHECK(::close(s) == 0);
}

TEST_CASE("install: poll waits for files of several kinds at once", "[install]") {
  installed here;
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const int counter = ::eventfd(0, 0), timer = ::timerfd_create(CLOCK_MONOTONIC, 0);
  pollfd files[] = {{here.a, POLLIN, 0},  {ends[0], POLLIN, 0}, {-1, POLLIN, 0},
                    {counter, POLLIN, 0}, {timer, POLLIN, 0},   {here.a, POLLPRI, 0}};
  const int wanted = GENERATE(0, 1, 3, 4);
  result polled;
  here.run([&] { polled = made([&] { return ::poll(files, 6, -1); }); },
           [&] {
             const itimerspec soon{{}, {0, 1}};
             if (wanted == 0) (void)!::write(here.b, "x", 1);
             if (wanted == 1) (void)!::write(ends[1], "x", 1);
             if (wanted == 3) ::eventfd_write(counter, 1);
             if (wanted == 4) ::timerfd_settime(timer, 0, &soon, nullptr);
           });
  CHECK(polled.value == 1);
  for (int i = 0; i != 6; ++i) CHECK(files[i].revents == (i == wanted ? POLLIN : 0));
  for (int fd : {ends[0], ends[1], counter, timer}) ::close(fd);
}

TEST_CASE("install: poll reports a regular file and a closed handle at once", "[install]") {
  installed here;
  const int regular = ::open("/proc/self/exe", O_RDONLY);
  pollfd files[] = {{here.a, POLLIN, 0}, {regular, POLLIN, 0}, {987654, POLLIN, 0}};
  result polled;
  here.run([&] { polled = made([&] { return ::poll(files, 3, -1); }); }, [] {});
  CHECK(polled.value == 2);
  CHECK(files[1].revents == POLLIN);
  CHECK(files[2].revents == POLLNVAL);
  ::close(regular);
}

TEST_CASE("install: poll, select and epoll_wait return 0 at their timeout", "[install]") {
  installed here;
  result polled, selected, waited;
  timeval left{0, 5000};
  const int set = ::epoll_create1(0);
  here.run(
      [&] {
        pollfd file{here.a, POLLIN, 0};
        polled = made([&] { return ::poll(&file, 1, 5); });
        fd_set in;
        FD_ZERO(&in);
        FD_SET(here.a, &in);
        selected = made([&] { return ::select(here.a + 1, &in, nullptr, nullptr, &left); });
        CHECK(!FD_ISSET(here.a, &in));
        epoll_event event;
        waited = made([&] { return ::epoll_wait(set, &event, 1, 5); });
      },
      [] {});
  CHECK(polled.value == 0);
  CHECK(selected.value == 0);
  CHECK(left.tv_sec == 0);
  CHECK(left.tv_usec == 0);
  CHECK(waited.value == 0);
  ::close(set);
}

TEST_CASE("install: select and epoll_wait park until something is ready", "[install]") {
  installed here;
  const int set = ::epoll_create1(0);
  epoll_event e{EPOLLIN, {}};
  e.data.u64 = 77;
  REQUIRE(::epoll_ctl(set, EPOLL_CTL_ADD, here.a, &e) == 0);
  result selected, waited;
  fd_set in, out;
  FD_ZERO(&in);
  FD_SET(here.a, &in);
  FD_ZERO(&out);
  epoll_event event{};
  here.sched.spawn(
      [&] { selected = made([&] { return ::select(here.a + 1, &in, &out, nullptr, nullptr); }); });
  here.run([&] { waited = made([&] { return ::epoll_wait(set, &event, 1, -1); }); },
           [&] { (void)!::write(here.b, "x", 1); });
  CHECK(selected.value == 1);
  CHECK(FD_ISSET(here.a, &in));
  CHECK(waited.value == 1);
  const std::uint64_t tag = event.data.u64; // the record is packed
  CHECK(tag == 77);
  ::close(set);
}

TEST_CASE("install: sleep lets other fibers run", "[install]") {
  installed here;
  std::string order;
  here.run(
      [&] {
        CHECK(::usleep(1000) == 0);
        const timespec t{0, 1'000'000};
        CHECK(::nanosleep(&t, nullptr) == 0);
        std::this_thread::sleep_for(1ms);
        timespec at{};
        ::clock_gettime(CLOCK_REALTIME, &at);
        CHECK(::clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &at, nullptr) == 0);
        const timespec wrong{0, -1};
        CHECK(made([&] { return ::nanosleep(&wrong, nullptr); }).error == EINVAL);
        order += 'a';
      },
      [&] { order += 'b'; });
  CHECK(order == "ba");
}

TEST_CASE("install: clock_nanosleep on any clock lets other fibers run", "[install]") {
  installed here;
  const clockid_t clock = GENERATE(CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_TAI);
  std::string order;
  here.run(
      [&] {
        const timespec t{0, 1'000'000};
        CHECK(::clock_nanosleep(clock, 0, &t, nullptr) == 0);
        order += 'a';
      },
      [&] { order += 'b'; });
  CHECK(order == "ba");
}

TEST_CASE("install: a close by another fiber wakes the fibers that wait", "[install][B21]") {
  installed here;
  const int s = ::dup(here.a); // the connection itself stays
  char byte;
  result received;
  here.run([&] { received = made([&] { return ::recv(s, &byte, 1, 0); }); },
           [&] { CHECK(::close(s) == 0); });
  CHECK(received.value == -1);
  CHECK(received.error == EBADF);
}

TEST_CASE("install: a call of a cancelled flow fails with ECANCELED", "[install]") {
  installed here;
  char byte;
  result received;
  auto flow =
      here.sched.spawn([&] { received = made([&] { return ::recv(here.a, &byte, 1, 0); }); });
  here.sched.spawn([&] { flow.cancel(); });
  here.sched.run();
  CHECK(received.value == -1);
  CHECK(received.error == ECANCELED);
}

TEST_CASE("install: destroying the scheduler makes calls fail, and throws nothing through them",
          "[install]") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  result first, second;
  {
    rouse::fibers sched;
    rouse::install(sched);
    sched.spawn([&] {
      char byte;
      first = made([&] { return ::recv(ends[0], &byte, 1, 0); });
      second = made([&] { return ::recv(ends[0], &byte, 1, 0); });
    });
    sched.poll();
    sched.poll();
  }
  CHECK(first.error == ECANCELED);
  CHECK(second.error == ECANCELED);
  // uninstall was not called, but nothing is installed any more.
  limit_to(ends[0], SO_RCVTIMEO, 5ms);
  char byte;
  rouse::fibers other;
  CHECK(made([&] { return ::recv(ends[0], &byte, 1, 0); }).error == EAGAIN);
  rouse::install(other);
  rouse::uninstall();
  for (int fd : ends) CHECK(::close(fd) == 0);
}

TEST_CASE("install: a thread that ends without uninstall leaves nothing behind", "[install][B7]") {
  struct closer { // destroyed after the state of install()
    int fd = -1;
    ~closer() { (void)!::close(fd); }
  };
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  std::thread([&] {
    static thread_local closer late;
    late.fd = ends[0];
    rouse::fibers sched;
    rouse::install(sched);
    sched.spawn([] { ::usleep(1); });
    sched.run();
  }).join();
  CHECK(::fcntl(ends[0], F_GETFD) == -1);
  CHECK(::close(ends[1]) == 0);
}

TEST_CASE("install: a fiber lets others run even if its calls never wait", "[install][B17]") {
  installed here;
  bool over = false;
  long calls = 0;
  here.run(
      [&] {
        while (!over && calls < 1'000'000) { // a byte is always there
          char byte;
          (void)!::send(here.b, "x", 1, 0);
          (void)!::recv(here.a, &byte, 1, 0);
          ++calls;
        }
      },
      [&] { over = true; });
  CHECK(calls < 1'000'000);
}

TEST_CASE("install: files that are not sockets are read and written as before", "[install]") {
  installed here;
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  char got[4] = {};
  result wrote, read, none;
  here.run(
      [&] {
        wrote = made([&] { return ::write(ends[1], "abc", 3); });
        iovec piece{got, 3};
        read = made([&] { return ::readv(ends[0], &piece, 1); });
        none = made([&] { return ::read(here.a, got, 0); });
      },
      [] {});
  CHECK(wrote.value == 3);
  CHECK(read.value == 3);
  CHECK(read.error == 0);
  CHECK(none.value == 0);
  CHECK(std::string(got) == "abc");
  for (int fd : ends) ::close(fd);
}

TEST_CASE("install: datagrams keep their boundaries, empty ones too", "[install]") {
  installed here(SOCK_DGRAM);
  char got[8];
  result lengths[2];
  here.run(
      [&] {
        for (result& r : lengths)
          r = made([&] { return ::recv(here.a, got, sizeof got, MSG_WAITALL); });
      },
      [&] {
        (void)!::send(here.b, "abc", 3, 0);
        (void)!::send(here.b, "", 0, 0);
      });
  CHECK(lengths[0].value == 3);
  CHECK(lengths[1].value == 0);
}

TEST_CASE("install: the loop goes on during getaddrinfo", "[install][B8]") {
  installed here;
  int local = -1, numeric = -1, unknown = -1;
  std::uint16_t port = 0;
  here.run(
      [&] {
        addrinfo hints{}, *found = nullptr;
        hints.ai_socktype = SOCK_STREAM;
        hints.ai_family = AF_INET;
        local = ::getaddrinfo("localhost", "80", &hints, &found);
        if (local == 0) {
          port = ntohs(reinterpret_cast<sockaddr_in*>(found->ai_addr)->sin_port);
          ::freeaddrinfo(found);
        }
        numeric = ::getaddrinfo("127.0.0.1", nullptr, nullptr, &found);
        if (numeric == 0) ::freeaddrinfo(found);
        hints.ai_flags = AI_NUMERICHOST;
        unknown = ::getaddrinfo("localhost", nullptr, &hints, &found);
      },
      [] {});
  CHECK(local == 0);
  CHECK(port == 80);
  CHECK(numeric == 0);
  CHECK(unknown == EAI_NONAME);
}

TEST_CASE("install: rouse's own sockets work as before", "[install]") {
  installed here;
  auto listener = listening(here.sched);
  std::string got;
  here.run(
      [&] {
        auto peer = listener.accept();
        peer.send_all("abc");
      },
      [&] {
        rouse::socket client{here.sched};
        client.connect(listener.local_endpoint());
        char buffer[3];
        client.recv_exactly(buffer);
        got.assign(buffer, 3);
      });
  CHECK(got == "abc");
}

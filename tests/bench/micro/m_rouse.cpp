// What rouse's own mechanisms cost, beside what they are measured against; rivals take turns, round by round.
#include <rouse/rouse.hpp>

#include <boost/context/fiber.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <thread>
#include <tuple>
#include <vector>

#include "../src/net.hpp"
#include "../src/uring.hpp"
#include "micro.hpp"

using rouse::os::context;
using namespace std::chrono_literals;

namespace {

struct rival {
  const char* name;
  std::function<double()> round; // ns per operation
};

void race(std::vector<rival> rivals, int rounds = 9, const char* unit = "ns") {
  std::vector<std::vector<double>> took(rivals.size());
  for (int r = 0; r <= rounds; ++r)
    for (std::size_t i = 0; i != rivals.size(); ++i) {
      const double t = rivals[i].round();
      if (r != 0) took[i].push_back(t); // the first is the warm-up
    }
  for (std::size_t i = 0; i != rivals.size(); ++i) {
    std::sort(took[i].begin(), took[i].end());
    printf("%s|%.2f|%.2f|%.2f|%s\n", rivals[i].name, took[i][took[i].size() / 2], took[i].front(), took[i].back(), unit);
  }
  fflush(stdout);
}

template <class F>
double timed(long n, F&& f) {
  const double a = now();
  f(n);
  return (now() - a) / double(n);
}

// ---- a fiber's switch: there and back is two

struct rouse_fibers {
  struct place { // at the top of its stack, as the record of a spawned fiber is
    rouse::os::context context;
  };
  context main;
  std::vector<place*> places;
  std::size_t at = 0;

  explicit rouse_fibers(std::size_t n) {
    main.enter_thread();
    for (std::size_t i = 0; i != n; ++i) {
      std::error_code why;
      place* const p = places.emplace_back(context::create_with<place>(64 << 10, why));
      if (!p) abort();
      p->context.reset(&rouse_fibers::body, this);
    }
  }
  ~rouse_fibers() {
    for (place* p : places) context::destroy(*p);
  }
  static void body(void* p) noexcept {
    auto& me = *static_cast<rouse_fibers*>(p);
    for (context& mine = me.places[me.at]->context;;) context::switch_to(mine, me.main);
  }
  double round() {
    return timed(200000, [&](long n) {
             for (long i = 0; i != n; ++i) {
               if (++at >= places.size()) at = 0;
               context::switch_to(main, places[at]->context);
             }
           }) / 2;
  }
};

struct boost_fibers {
  std::vector<boost::context::fiber> fibers;
  std::size_t at = 0;

  explicit boost_fibers(std::size_t n) {
    for (std::size_t i = 0; i != n; ++i)
      fibers.emplace_back(std::allocator_arg, boost::context::fixedsize_stack(64 << 10), [](boost::context::fiber&& back) {
        for (;;) back = std::move(back).resume();
        return std::move(back);
      });
  }
  double round() {
    return timed(200000, [&](long n) {
             for (long i = 0; i != n; ++i) {
               if (++at >= fibers.size()) at = 0;
               fibers[at] = std::move(fibers[at]).resume();
             }
           }) / 2;
  }
};

void fiber_switch() {
  static std::vector<std::string> names;
  names.reserve(14);
  for (const std::size_t n : {1, 4, 16, 64, 256, 1024, 4096}) {
    static std::vector<std::unique_ptr<rouse_fibers>> ours; // the stacks stay until the end
    static std::vector<std::unique_ptr<boost_fibers>> theirs;
    auto& a = *ours.emplace_back(std::make_unique<rouse_fibers>(n));
    auto& b = *theirs.emplace_back(std::make_unique<boost_fibers>(n));
    race({{names.emplace_back("fiber switch, rouse, " + std::to_string(n)).c_str(), [&] { return a.round(); }},
          {names.emplace_back("fiber switch, Boost.Context, " + std::to_string(n)).c_str(), [&] { return b.round(); }}});
  }
}

// ---- round trips through the loop

template <class S>
double yields() {
  S sched;
  double result = 0;
  sched.spawn([&]() -> rouse::task<> {
    const double a = now();
    for (int i = 0; i != 20000; ++i) co_await sched.yield();
    result = (now() - a) / 20000;
  });
  sched.run();
  return result;
}

// A value from flow to flow, through a channel without a buffer: the receiver waits, then the sender.
double rendezvous_of_coroutines() {
  constexpr int n = 100000;
  rouse::coroutines sched;
  rouse::channel<int, rouse::coroutines> ch{sched};
  sched.spawn([&]() -> rouse::task<> {
    for (int i = 0; i != n; ++i) co_await ch.send(i);
    ch.close();
  });
  double result = 0;
  sched.spawn([&]() -> rouse::task<> {
    const double a = now();
    while (co_await ch.receive()) {
    }
    result = (now() - a) / n;
  });
  sched.run();
  return result;
}
double rendezvous_of_fibers() {
  constexpr int n = 100000;
  rouse::fibers sched;
  rouse::channel<int, rouse::fibers> ch{sched};
  sched.spawn([&] {
    for (int i = 0; i != n; ++i) ch.send(i);
    ch.close();
  });
  double result = 0;
  sched.spawn([&] {
    const double a = now();
    while (ch.receive()) {
    }
    result = (now() - a) / n;
  });
  sched.run();
  return result;
}

rouse::task<int> child(int i) { co_return i; }
double children() {
  rouse::coroutines sched;
  double result = 0;
  sched.spawn([&]() -> rouse::task<> {
    const double a = now();
    int sum = 0;
    for (int i = 0; i != 100000; ++i) sum += co_await child(i);
    result = (now() - a) / 100000;
    if (sum == 1) puts("");
  });
  sched.run();
  return result;
}

// ---- threads: ping-pong of two flows over loopback, both cores

template <class S>
std::pair<rouse::socket<S>, rouse::socket<S>> pair_of(S& sched) {
  rouse::socket listener{sched};
  listener.bind({"127.0.0.1", 0});
  listener.listen();
  int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const rouse::os::socket_address to(listener.local_endpoint());
  if (::connect(client, &to.any, to.length) != 0) abort();
  const int server = ::accept4(listener.native_handle(), nullptr, nullptr, SOCK_CLOEXEC);
  for (int s : {client, server}) {
    const int on = 1;
    ::setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  return {rouse::socket<S>::adopt(sched, client), rouse::socket<S>::adopt(sched, server)};
}

template <class Recv, class Send>
void play(long n, bool first, Recv recv, Send send) {
  if (first) send();
  for (long i = 0; i != n; ++i) recv(), send();
}

double thread_ping_pong(bool plain) {
  constexpr long n = 3000;
  rouse::threads sched;
  auto [a, b] = pair_of(sched);
  const double start = now();
  if (plain) {
    const int fa = a.release(), fb = b.release();
    char c = 0;
    const auto side = [&](int fd, bool first) {
      char d = 0;
      play(n, first, [&] { if (::recv(fd, &d, 1, 0) < 0) abort(); }, [&] { if (::send(fd, &d, 1, MSG_NOSIGNAL) < 0) abort(); });
    };
    std::thread other(side, fb, false);
    side(fa, true);
    other.join();
    (void)c;
    ::close(fa), ::close(fb);
  } else {
    const auto side = [](rouse::socket<rouse::threads> s, bool first) {
      std::array<char, 1> d{};
      play(n, first, [&] { (void)s.recv(d); }, [&] { (void)s.send(d); });
    };
    sched.spawn([&, s = std::move(a)]() mutable { side(std::move(s), true); });
    sched.spawn([&, s = std::move(b)]() mutable { side(std::move(s), false); });
    sched.run();
  }
  return (now() - start) / n;
}

// ---- post

// A loop that sleeps: one way, from the call to the function; the other way is an eventfd that this thread spins on.
double post_to_sleeper(int core) {
  rouse::coroutines* there = nullptr;
  std::atomic<int> state{0};
  std::atomic<double> ran{0};
  pin(0);
  std::thread loop([&] {
    pin(core);
    rouse::coroutines sched;
    there = &sched;
    sched.spawn([](rouse::coroutines& s) -> rouse::task<> { co_await s.sleep_for(1h); }(sched));
    sched.poll();
    state = 1;
    sched.run();
  });
  while (state != 1) sched_yield();
  double sum = 0;
  constexpr int n = 300;
  for (int i = 0; i != n; ++i) {
    const double quiet = now() + 60000;
    while (now() < quiet) sched_yield(); // it has gone to sleep
    ran = 0;
    const double a = now();
    there->post([&] { ran.store(now(), std::memory_order_release); });
    while (ran.load(std::memory_order_acquire) == 0) sched_yield();
    sum += ran - a;
  }
  there->stop();
  loop.join();
  return sum / n;
}

double eventfd_to_sleeper(int core) {
  std::atomic<int> state{0};
  std::atomic<double> ran{0};
  const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  pin(0);
  std::thread loop([&] {
    pin(core);
    const int ep = epoll_create1(EPOLL_CLOEXEC);
    epoll_event e{};
    e.events = EPOLLIN;
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
    state = 1;
    for (bool more = true; more;) {
      epoll_wait(ep, &e, 1, -1);
      eventfd_t v = 0;
      eventfd_read(fd, &v);
      more = v < 1000;
      ran.store(now(), std::memory_order_release);
    }
    close(ep);
  });
  while (state != 1) sched_yield();
  double sum = 0;
  constexpr int n = 300;
  for (int i = 0; i != n; ++i) {
    const double quiet = now() + 60000;
    while (now() < quiet) sched_yield();
    ran = 0;
    const double a = now();
    eventfd_write(fd, 1);
    while (ran.load(std::memory_order_acquire) == 0) sched_yield();
    sum += ran - a;
  }
  eventfd_write(fd, 1000);
  loop.join();
  close(fd);
  return sum / n;
}

// What the poster pays while the loop is busy.
double post_to_busy() {
  rouse::coroutines* there = nullptr;
  std::atomic<int> state{0};
  pin(0);
  std::thread loop([&] {
    pin(1);
    rouse::coroutines sched;
    there = &sched;
    sched.spawn([](rouse::coroutines& s, std::atomic<int>& st) -> rouse::task<> {
      st = 1;
      while (st != 2) co_await s.yield();
    }(sched, state));
    sched.run();
  });
  while (state != 1) sched_yield();
  const double each = timed(20000, [&](long n) {
    for (long i = 0; i != n; ++i) there->post([] {});
  });
  state = 2;
  loop.join();
  return each;
}

// ---- limits

struct armed_wheel {
  rouse::detail::timer_wheel wheel{rouse::clock::now()};
  std::unique_ptr<rouse::detail::timer_node[]> others;
  std::size_t count;
  std::vector<rouse::clock::time_point> due;

  explicit armed_wheel(std::size_t n) : others(new rouse::detail::timer_node[n]), count(n) {
    std::mt19937_64 random(1);
    const auto t = rouse::clock::now();
    for (std::size_t i = 0; i != n; ++i) wheel.arm(others[i], t + std::chrono::nanoseconds(random() % 60'000'000'000));
    for (int i = 0; i != 4096; ++i) due.push_back(t + std::chrono::nanoseconds(random() % 60'000'000'000));
  }
  ~armed_wheel() {
    for (std::size_t i = 0; i != count; ++i) wheel.disarm(others[i]);
  }
  double round() {
    rouse::detail::timer_node mine;
    return timed(200000, [&](long n) {
      for (long i = 0; i != n; ++i) {
        wheel.arm(mine, due[static_cast<std::size_t>(i) % 4096]);
        wheel.disarm(mine);
      }
    });
  }
};

// ---- zero-copy: a large send through a ring, and all that it brings back, to a peer that takes the bytes

double ring_send(std::size_t bytes, bool zero_copy) {
  uring::Ring ring;
  if (ring.init(8, IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER, 16, true) < 0) return 0; // refused
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), from = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at = loopback(0);
  socklen_t length = sizeof at;
  auto* const any = reinterpret_cast<sockaddr*>(&at);
  if (::bind(listener, any, length) != 0 || ::listen(listener, 1) != 0 || ::getsockname(listener, any, &length) != 0) abort();
  const int room = 4 << 20;
  ::setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  ::setsockopt(from, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  if (::connect(from, any, length) != 0) abort();
  const int to = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  no_delay(from);
  std::vector<char> block(bytes), sink(bytes);
  const double took = timed(bytes > 100'000 ? 300 : 1000, [&](long n) {
    for (long i = 0; i != n; ++i) {
      io_uring_sqe* const s = ring.sqe();
      s->opcode = zero_copy ? IORING_OP_SEND_ZC : IORING_OP_SEND;
      s->fd = from;
      s->addr = reinterpret_cast<std::uintptr_t>(block.data());
      s->len = static_cast<unsigned>(bytes);
      s->msg_flags = MSG_WAITALL | MSG_NOSIGNAL;
      // A zero-copy send answers twice: when it is queued, and when the peer has it and the bytes are free again.
      bool over = false, taken = false;
      while (!over) {
        ring.enter(1);
        ring.drain([&](const io_uring_cqe& c) {
          if (c.res < 0) abort();
          over = !(c.flags & IORING_CQE_F_MORE);
        });
        if (!taken && ::recv(to, sink.data(), bytes, MSG_WAITALL) != static_cast<ssize_t>(bytes)) abort();
        taken = true;
      }
    }
  });
  for (const int fd : {listener, from, to, ring.fd}) ::close(fd);
  return took;
}

// ---- datagrams, of 64 bytes over loopback: one by one, and in batches. What is not measured (to fill the receiver's
// queue, or to empty it) is done by system calls on the handles. The queue takes them all: none is dropped.

struct datagram_bench {
  static constexpr std::size_t batch = 32, all = 4 * batch; // in the queue at once
  rouse::coroutines sched;
  rouse::socket<rouse::coroutines> from{sched, AF_INET, SOCK_DGRAM}, to{sched, AF_INET, SOCK_DGRAM};
  rouse::endpoint where;
  std::array<std::array<char, 64>, batch> room{};
  std::array<rouse::incoming, batch> slots;
  std::array<rouse::outgoing, batch> items;

  datagram_bench() {
    to.bind({"127.0.0.1", 0});
    from.bind({"127.0.0.1", 0});
    where = to.local_endpoint();
    for (std::size_t i = 0; i != batch; ++i) slots[i].buffer = room[i], items[i] = {room[i], where};
  }
  void fill() {
    const rouse::os::socket_address a(where);
    for (std::size_t i = 0; i != all; ++i)
      if (::sendto(from.native_handle(), room[0].data(), room[0].size(), 0, &a.any, a.length) < 0) abort();
  }
  void empty() {
    for (std::size_t i = 0; i != all; ++i)
      if (::recv(to.native_handle(), room[0].data(), room[0].size(), MSG_DONTWAIT) != 64) abort();
  }

  // ns per datagram
  double receive(bool batches) {
    double took = 0;
    const auto rounds = [](datagram_bench& b, bool together, double& sum) -> rouse::task<> {
      for (int r = 0; r != 300; ++r) {
        b.fill();
        const double a = now();
        for (std::size_t n = 0; n != all;) {
          if (together) {
            n += co_await b.to.recv_batch(b.slots);
          } else {
            const auto got = co_await b.to.recv_from(b.room[0]);
            n += got.bytes == 64;
          }
        }
        sum += now() - a;
      }
    };
    sched.spawn(rounds(*this, batches, took));
    sched.run();
    return took / 300 / all;
  }
  enum class way { one_by_one, batches, cut_by_the_kernel };
  double send(way how) {
    double took = 0;
    const auto rounds = [](datagram_bench& b, way sent, double& sum) -> rouse::task<> {
      for (int r = 0; r != 300; ++r) {
        const double a = now();
        for (std::size_t n = 0; n != all;) {
          if (sent == way::batches) {
            n += co_await b.from.send_batch(b.items);
          } else if (sent == way::cut_by_the_kernel) {
            n += co_await b.from.send_to({b.room[0].data(), 64 * batch}, b.where) / 64;
          } else {
            (void)co_await b.from.send_to(b.room[0], b.where);
            ++n;
          }
        }
        sum += now() - a;
        b.empty();
      }
    };
    std::error_code ec;
    from.set_option(rouse::udp_segment{how == way::cut_by_the_kernel ? 64 : 0}, ec);
    if (ec && how == way::cut_by_the_kernel) return 0; // refused
    sched.spawn(rounds(*this, how, took));
    sched.run();
    return took / 300 / all;
  }
};

// ---- fairness: a quiet connection's round trips while another one floods the same loop

double quiet_p99(bool flood) {
  std::atomic<std::uint16_t> port{0};
  std::atomic<bool> over{false};
  rouse::coroutines* there = nullptr;
  std::thread server([&] {
    pin(0);
    rouse::coroutines sched;
    rouse::socket listener{sched};
    listener.bind({"127.0.0.1", 0});
    listener.listen();
    sched.spawn([](rouse::coroutines& s, rouse::socket<rouse::coroutines>& l) -> rouse::task<> {
      for (;;)
        s.spawn([](rouse::socket<rouse::coroutines> c) -> rouse::task<> {
          std::array<char, 4096> buf;
          std::error_code ec;
          while (const std::size_t n = co_await c.recv(buf, ec)) (void)co_await c.send_all({buf.data(), n}, ec);
        }(co_await l.accept()));
    }(sched, listener));
    there = &sched;
    port = listener.local_endpoint().port();
    sched.run();
  });
  while (port == 0) sched_yield();
  rouse::endpoint where{"127.0.0.1", port};
  const rouse::os::socket_address to(where);
  const auto dial = [&] {
    const int s = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (::connect(s, &to.any, to.length) != 0) abort();
    ::setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return s;
  };
  std::thread flooder;
  if (flood)
    flooder = std::thread([&] {
      pin(1);
      // Both clients share a core: the quiet one is to have it when its answer is there, or this would measure the
      // kernel's time slices.
      ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), 19);
      const int s = dial();
      std::vector<char> block(65536);
      while (!over) {
        (void)::send(s, block.data(), block.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)::recv(s, block.data(), block.size(), MSG_DONTWAIT);
      }
      ::close(s);
    });
  pin(1);
  const int s = dial();
  std::vector<double> took;
  char c = 'x';
  for (int i = 0; i != 2000; ++i) {
    const double a = now();
    if (::send(s, &c, 1, MSG_NOSIGNAL) != 1 || ::recv(s, &c, 1, 0) != 1) abort();
    took.push_back((now() - a) / 1000);
  }
  over = true;
  if (flood) flooder.join();
  ::close(s);
  there->stop();
  server.join();
  std::sort(took.begin(), took.end());
  return took[took.size() * 99 / 100];
}

// What a fiber that waits takes of the memory, the handle to it as well. First of all, when there is none free.
void fiber_memory() {
  constexpr std::size_t n = 30'000;
  const auto resident = [] {
    std::size_t all = 0, mine = 0;
    std::FILE* f = std::fopen("/proc/self/statm", "r");
    if (!f || std::fscanf(f, "%zu %zu", &all, &mine) != 2) abort();
    std::fclose(f);
    return mine * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  };
  rouse::fibers s{rouse::stack_size{16384}};
  rouse::flow_event<rouse::fibers> go{s};
  std::vector<rouse::flow_handle<rouse::fibers>> handles;
  std::size_t waiting = 0;
  const std::size_t before = resident();
  handles.reserve(n);
  while (handles.size() != n) handles.push_back(s.spawn([&] { ++waiting, go.wait(); }));
  while (waiting != n) s.poll();
  const double each = static_cast<double>(resident() - before) / n;
  printf("memory of a fiber that waits|%.0f|%.0f|%.0f|B\n", each, each, each);
  go.set();
  s.run();
}

} // namespace

int main() {
  pin(0);
  fiber_memory();
  fiber_switch();
  race({{"yield of a coroutine, through the loop", [] { return yields<rouse::coroutines>(); }},
        {"yield of a fiber, through the loop", [] { return yields<rouse::fibers>(); }},
        {"co_await of a task that does not wait", [] { return children(); }}});
  race({{"rendezvous of two fibers", [] { return rendezvous_of_fibers(); }},
        {"rendezvous of two coroutines", [] { return rendezvous_of_coroutines(); }}});
  {
    armed_wheel one(1), million(1'000'000);
    race({{"limit armed and disarmed, 1 other", [&] { return one.round(); }},
          {"limit armed and disarmed, 1,000,000 others", [&] { return million.round(); }}});
  }
  race({{"post to a loop that is awake", [] { return post_to_busy(); }}});
  race({{"post to a loop that sleeps, other core", [] { return post_to_sleeper(1); }},
        {"eventfd to an epoll_wait that sleeps, other core", [] { return eventfd_to_sleeper(1); }}}, 7);
  race({{"post to a loop that sleeps, same core", [] { return post_to_sleeper(0); }},
        {"eventfd to an epoll_wait that sleeps, same core", [] { return eventfd_to_sleeper(0); }}}, 7);
  for (const auto& [bytes, ring, zero_copy] : {std::tuple<std::size_t, const char*, const char*>
       {16384, "send of 16 KiB through a ring, with the peer's recv", "zero-copy send of 16 KiB"},
       {65536, "send of 64 KiB through a ring, with the peer's recv", "zero-copy send of 64 KiB"},
       {262144, "send of 256 KiB through a ring, with the peer's recv", "zero-copy send of 256 KiB"}})
    race({{ring, [n = bytes] { return ring_send(n, false); }}, {zero_copy, [n = bytes] { return ring_send(n, true); }}}, 7);
  {
    datagram_bench d;
    race({{"datagram received by recv_from", [&] { return d.receive(false); }},
          {"datagram received by recv_batch, 32 at once", [&] { return d.receive(true); }},
          {"datagram sent by send_to", [&] { return d.send(datagram_bench::way::one_by_one); }},
          {"datagram sent by send_batch, 32 at once", [&] { return d.send(datagram_bench::way::batches); }},
          {"datagram sent by send_to, 32 cut by udp_segment", [&] { return d.send(datagram_bench::way::cut_by_the_kernel); }}});
  }
  cpu_set_t both;
  CPU_ZERO(&both);
  CPU_SET(0, &both), CPU_SET(1, &both);
  sched_setaffinity(0, sizeof both, &both);
  race({{"ping-pong of two rouse threads, a round trip", [] { return thread_ping_pong(false); }},
        {"ping-pong of two blocking threads, a round trip", [] { return thread_ping_pong(true); }}}, 7);
  race({{"p99 of a quiet connection, alone", [] { return quiet_p99(false); }},
        {"p99 of a quiet connection, beside one that floods", [] { return quiet_p99(true); }}}, 5, "us");
}

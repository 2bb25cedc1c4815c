// Lock-step cost of rouse.   lockstep_rouse BATCH SIZE [cb|co|fiber|lent|thread...]    (ROUSE_ENGINE picks the engine)
// lent: callbacks that use receive(), so that a connection has no buffer of its own.
#include <rouse/rouse.hpp>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "lockstep.hpp"

static int left;

static rouse::task<> echo(rouse::socket<rouse::coroutines> s) {
  std::array<char, 4096> buf;
  while (const std::size_t n = co_await s.recv(buf)) {
    co_await s.send_all({buf.data(), n});
    --left;
  }
}

struct session {
  rouse::socket<rouse::callbacks> s;
  std::array<char, 4096> buf;
  void read() {
    s.recv(buf, [this](std::error_code ec, std::size_t n) {
      if (!ec && n) write(n);
    });
  }
  void write(std::size_t n) {
    s.send_all({buf.data(), n}, [this](std::error_code ec, std::size_t) {
      if (ec) return;
      --left;
      read();
    });
  }
};

struct session_lent {
  rouse::socket<rouse::callbacks> s;
  rouse::loan bytes{};
  void read() {
    s.receive([this](std::error_code ec, rouse::loan got) {
      if (!ec && got) write(std::move(got));
    });
  }
  void write(rouse::loan got) {
    bytes = std::move(got);
    s.send_all(bytes, [this](std::error_code ec, std::size_t) {
      bytes.reset();
      if (ec) return;
      --left;
      read();
    });
  }
};

static void begin(rouse::coroutines& sched, int fd) {
  sched.spawn(echo(rouse::socket<rouse::coroutines>::adopt(sched, fd)));
}
static void begin(rouse::fibers& sched, int fd) {
  sched.spawn([s = rouse::socket<rouse::fibers>::adopt(sched, fd)]() mutable {
    std::array<char, 4096> buf;
    while (const std::size_t n = s.recv(buf)) {
      s.send_all({buf.data(), n});
      --left;
    }
  });
}
static void begin(rouse::callbacks& sched, int fd) {
  (new session{rouse::socket<rouse::callbacks>::adopt(sched, fd), {}})->read();
}
static void begin_lent(rouse::callbacks& sched, int fd) {
  (new session_lent{rouse::socket<rouse::callbacks>::adopt(sched, fd)})->read();
}

template <class S>
static void run(const char* waker, lockstep::Args a, void (*begin)(S&, int)) {
  lockstep::Pairs p(a.batch);
  S sched;
  for (const int fd : p.server) begin(sched, fd);
  for (int i = 0; i != 3; ++i) sched.poll();
  const std::string name = std::string("rouse-") + waker + (sched.engine_report().rfind("epoll", 0) == 0 ? "-epoll" : "-uring");
  lockstep::measure(name.c_str(), p, a.size, [&](int b) {
    left = b;
    while (left > 0) sched.run_once();
  });
}

// Calls that return directly, made by the thread itself: the bytes are there, as for a blocking
// recv() and send(), so this is the cost of a call of a shared engine. (The load runs show the cost
// of waking another thread.)
static void run_threads(lockstep::Args a) {
  lockstep::Pairs p(a.batch);
  rouse::threads sched;
  std::vector<rouse::socket<rouse::threads>> sockets;
  for (const int fd : p.server) sockets.push_back(rouse::socket<rouse::threads>::adopt(sched, fd));
  std::array<char, 4096> buf;
  const bool epoll = sched.engine_report().rfind("epoll", 0) == 0;
  lockstep::measure(epoll ? "rouse-thread-epoll" : "rouse-thread-uring", p, a.size, [&](int) {
    for (auto& s : sockets) s.send_all({buf.data(), s.recv_exactly({buf.data(), static_cast<std::size_t>(a.size)})});
  });
}

int main(int argc, char** argv) {
  lockstep::Args a(argc, argv);
  const auto wanted = [&](const char* n) {
    for (int i = 3; i < argc; ++i)
      if (!strcmp(argv[i], n)) return true;
    return argc < 4;
  };
  if (wanted("cb")) run<rouse::callbacks>("cb", a, begin);
  if (wanted("co")) run<rouse::coroutines>("co", a, begin);
  if (wanted("fiber")) run<rouse::fibers>("fiber", a, begin);
  if (wanted("lent")) run<rouse::callbacks>("lent", a, begin_lent);
  if (wanted("thread")) run_threads(a);
  fflush(stdout);
  _exit(0);
}

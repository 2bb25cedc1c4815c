// rouse echo servers.   srv_rouse PORT KIND [BUF]    (ROUSE_ENGINE picks the engine)
// KIND: coroutine, fiber, thread, callback; lent-coroutine, lent-fiber, lent-callback: a buffer is lent with the bytes,
// an idle connection has none; cores-1, cores-2: coroutines, a scheduler on each of that many cores.
#include <rouse/rouse.hpp>

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

static std::size_t buffer_size = 4096;

template <class S>
static rouse::socket<S> listening(S& sched, int port) {
  rouse::socket listener{sched};
  listener.bind({"127.0.0.1", static_cast<std::uint16_t>(port)});
  listener.set_option(rouse::tcp_no_delay{true}); // accepted sockets inherit it
  listener.listen(4096);
  return listener;
}

static rouse::task<> echo(rouse::socket<rouse::coroutines> s) {
  std::vector<char> buf(buffer_size);
  std::error_code ec;
  while (const std::size_t n = co_await s.recv(buf, ec)) {
    co_await s.send_all({buf.data(), n}, ec);
    if (ec) break;
  }
}

static rouse::task<> echo_lent(rouse::socket<rouse::coroutines> s) {
  std::error_code ec;
  while (const auto bytes = co_await s.receive(ec)) {
    co_await s.send_all(bytes, ec);
    if (ec) break;
  }
}

static void coroutines(int port, rouse::task<> (*session)(rouse::socket<rouse::coroutines>)) {
  rouse::coroutines sched;
  auto listener = listening(sched, port);
  sched.spawn([&]() -> rouse::task<> {
    for (;;) sched.spawn(session(co_await listener.accept()));
  });
  sched.run();
}

static void cores(int port, unsigned n) {
  rouse::per_core<rouse::coroutines> server{{"127.0.0.1", static_cast<std::uint16_t>(port)}, n, 4096};
  server.run(echo);
}

template <class S>
static void echo_blocking(rouse::socket<S>& s) {
  std::vector<char> buf(buffer_size);
  std::error_code ec;
  while (const std::size_t n = s.recv(buf, ec)) {
    s.send_all({buf.data(), n}, ec);
    if (ec) break;
  }
}

static void echo_blocking_lent(rouse::socket<rouse::fibers>& s) {
  std::error_code ec;
  while (const auto bytes = s.receive(ec)) {
    s.send_all(bytes, ec);
    if (ec) break;
  }
}

// Fibers and threads differ only in the name of the scheduler.
template <class S>
static void blocking(int port, void (*session)(rouse::socket<S>&)) {
  S sched;
  auto listener = listening(sched, port);
  sched.spawn([&] {
    for (;;) sched.spawn([session, s = listener.accept()]() mutable { session(s); });
  });
  sched.run();
}

struct session {
  rouse::socket<rouse::callbacks> s;
  std::vector<char> buf = std::vector<char>(buffer_size);

  void read() {
    s.recv(buf, [this](std::error_code ec, std::size_t n) {
      if (ec || n == 0)
        delete this;
      else
        write(n);
    });
  }
  void write(std::size_t n) {
    s.send_all({buf.data(), n}, [this](std::error_code ec, std::size_t) {
      if (ec)
        delete this;
      else
        read();
    });
  }
};

struct session_lent {
  rouse::socket<rouse::callbacks> s;
  rouse::loan bytes{};

  void read() {
    s.receive([this](std::error_code ec, rouse::loan got) {
      if (ec || !got)
        delete this;
      else
        write(std::move(got));
    });
  }
  void write(rouse::loan got) {
    bytes = std::move(got);
    s.send_all(bytes, [this](std::error_code ec, std::size_t) {
      bytes.reset();
      if (ec)
        delete this;
      else
        read();
    });
  }
};

template <class Session>
static void accept(rouse::socket<rouse::callbacks>& listener) {
  listener.accept([&](std::error_code ec, rouse::socket<rouse::callbacks> s) {
    if (!ec) (new Session{std::move(s)})->read();
    accept<Session>(listener);
  });
}

template <class Session>
static void callbacks(int port) {
  rouse::callbacks sched;
  auto listener = listening(sched, port);
  accept<Session>(listener);
  sched.run();
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const int port = std::atoi(argv[1]);
  const std::string kind = argv[2];
  if (argc > 3) buffer_size = static_cast<std::size_t>(std::atoi(argv[3]));
  if (kind == "coroutine") coroutines(port, echo);
  if (kind == "fiber") blocking<rouse::fibers>(port, echo_blocking<rouse::fibers>);
  if (kind == "thread") blocking<rouse::threads>(port, echo_blocking<rouse::threads>);
  if (kind == "callback") callbacks<session>(port);
  if (kind == "lent-coroutine") coroutines(port, echo_lent);
  if (kind == "lent-fiber") blocking<rouse::fibers>(port, echo_blocking_lent);
  if (kind == "lent-callback") callbacks<session_lent>(port);
  if (kind == "cores-1") cores(port, 1);
  if (kind == "cores-2") cores(port, 2);
}

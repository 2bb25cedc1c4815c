// rouse echo servers.   srv_rouse PORT coroutine|fiber|thread|callback [BUF]    (ROUSE_ENGINE picks the engine)
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

static void coroutines(int port) {
  rouse::coroutines sched;
  auto listener = listening(sched, port);
  sched.spawn([&]() -> rouse::task<> {
    for (;;) sched.spawn(echo(co_await listener.accept()));
  });
  sched.run();
}

// Fibers and threads differ in the scheduler's name alone.
template <class S>
static void blocking(int port) {
  S sched;
  auto listener = listening(sched, port);
  sched.spawn([&] {
    for (;;) {
      sched.spawn([s = listener.accept()]() mutable {
        std::vector<char> buf(buffer_size);
        std::error_code ec;
        while (const std::size_t n = s.recv(buf, ec)) {
          s.send_all({buf.data(), n}, ec);
          if (ec) break;
        }
      });
    }
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

static void accept(rouse::socket<rouse::callbacks>& listener) {
  listener.accept([&](std::error_code ec, rouse::socket<rouse::callbacks> s) {
    if (!ec) (new session{std::move(s)})->read();
    accept(listener);
  });
}

static void callbacks(int port) {
  rouse::callbacks sched;
  auto listener = listening(sched, port);
  accept(listener);
  sched.run();
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const int port = std::atoi(argv[1]);
  const std::string waker = argv[2];
  if (argc > 3) buffer_size = static_cast<std::size_t>(std::atoi(argv[3]));
  if (waker == "coroutine") coroutines(port);
  if (waker == "fiber") blocking<rouse::fibers>(port);
  if (waker == "thread") blocking<rouse::threads>(port);
  if (waker == "callback") callbacks(port);
}

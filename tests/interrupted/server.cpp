// An echo service that Ctrl-C ends, under any waker: server coroutine|fiber|thread|callback
#include <rouse/rouse.hpp>

#include <array>
#include <csignal>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace {

template <class S>
rouse::socket<S> listening(S& sched) {
  rouse::socket listener{sched};
  listener.bind({"127.0.0.1", 0});
  listener.listen();
  std::cout << listener.local_endpoint().port() << ' ' << sched.engine_report() << std::endl;
  return listener;
}

rouse::task<> echo(rouse::socket<rouse::coroutines> conn) {
  std::array<char, 4096> buf;
  std::error_code ec;
  while (const auto n = co_await conn.recv(buf, ec)) co_await conn.send_all({buf.data(), n}, ec);
}

void serve(rouse::coroutines& sched) {
  auto listener = listening(sched);
  rouse::signals interrupted{sched, {SIGINT, SIGTERM}};
  sched.spawn([&]() -> rouse::task<> {
    for (;;) sched.spawn(echo(co_await listener.accept()));
  });
  sched.spawn([&]() -> rouse::task<> {
    co_await interrupted.wait();
    sched.stop();
  });
  sched.run();
}

template <class S>
void serve(S& sched) {
  auto listener = listening(sched);
  rouse::signals interrupted{sched, {SIGINT, SIGTERM}};
  sched.spawn([&] {
    for (;;) {
      sched.spawn([conn = listener.accept()]() mutable {
        std::array<char, 4096> buf;
        std::error_code ec;
        while (const auto n = conn.recv(buf, ec)) conn.send_all({buf.data(), n}, ec);
      });
    }
  });
  sched.spawn([&] {
    interrupted.wait();
    sched.stop();
  });
  sched.run();
}

struct session {
  rouse::socket<rouse::callbacks> conn;
  std::array<char, 4096> buf{};
};

void read(const std::shared_ptr<session>& s) {
  s->conn.recv(s->buf, [s](std::error_code ec, std::size_t n) {
    if (ec || n == 0) return;
    s->conn.send_all({s->buf.data(), n}, [s](std::error_code failed, std::size_t) {
      if (!failed) read(s);
    });
  });
}

void accept(rouse::socket<rouse::callbacks>& listener) {
  listener.accept([&](std::error_code ec, rouse::socket<rouse::callbacks> conn) {
    if (ec) return;
    read(std::make_shared<session>(session{std::move(conn)}));
    accept(listener);
  });
}

void serve(rouse::callbacks& sched) {
  auto listener = listening(sched);
  rouse::signals interrupted{sched, {SIGINT, SIGTERM}};
  accept(listener);
  interrupted.wait([&](std::error_code, int) { sched.stop(); });
  sched.run();
}

template <class S>
int run() {
  {
    S sched;
    serve(sched);
  }
  std::cout << "ended" << std::endl;
  return 0;
}

} // namespace

int main(int argc, char** argv) {
  const std::string waker = argc > 1 ? argv[1] : "";
  if (waker == "coroutine") return run<rouse::coroutines>();
  if (waker == "fiber") return run<rouse::fibers>();
  if (waker == "thread") return run<rouse::threads>();
  if (waker == "callback") return run<rouse::callbacks>();
  return 2;
}

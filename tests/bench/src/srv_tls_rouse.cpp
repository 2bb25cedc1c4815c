// rouse::tls server, one thread.   srv_tls_rouse PORT CHAIN KEY echo|download WAKER [BUF]    (ROUSE_ENGINE picks the engine)
// WAKER: callback, coroutine, fiber; lent-callback, lent-coroutine: a buffer is lent with the bytes, as the hand-written server
// has one for all connections. BUF: bytes of a connection's buffer. download: after the first message, 16 KiB messages without
// end.
#include <rouse/tls.hpp>

#include <cstdlib>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

static std::size_t buffer_size = 16384;
static bool download = false;
static const std::vector<char> message(16384, 'x');

using std::chrono_literals::operator""s;
static constexpr auto patience = 10s; // for a handshake

template <class S>
static rouse::socket<S> listening(S& sched, int port) {
  rouse::socket listener{sched};
  listener.bind({"127.0.0.1", static_cast<std::uint16_t>(port)});
  listener.set_option(rouse::tcp_no_delay{true}); // accepted sockets inherit it
  listener.listen(4096);
  return listener;
}

static rouse::task<> session(const rouse::tls::server_context& site, rouse::socket<rouse::coroutines> plain) {
  std::error_code ec;
  auto s = co_await rouse::tls::accept(site, std::move(plain), patience, ec);
  if (ec) co_return;
  const std::unique_ptr<char[]> buf(new char[buffer_size]);
  while (const std::size_t n = co_await s.recv({buf.get(), buffer_size}, ec)) {
    do co_await s.send_all(download ? rouse::const_buffer(message.data(), message.size()) : rouse::const_buffer(buf.get(), n), ec);
    while (download && !ec);
    if (ec) break;
  }
}

static rouse::task<> session_lent(const rouse::tls::server_context& site, rouse::socket<rouse::coroutines> plain) {
  std::error_code ec;
  auto s = co_await rouse::tls::accept(site, std::move(plain), patience, ec);
  if (ec) co_return;
  while (const auto bytes = co_await s.receive(ec)) {
    do co_await s.send_all(download ? rouse::const_buffer(message.data(), message.size()) : rouse::const_buffer(bytes), ec);
    while (download && !ec);
    if (ec) break;
  }
}

using session_of_coroutines = rouse::task<>(const rouse::tls::server_context&, rouse::socket<rouse::coroutines>);
static void coroutines(const rouse::tls::server_context& site, int port, session_of_coroutines* session) {
  rouse::coroutines sched;
  auto listener = listening(sched, port);
  sched.spawn([&]() -> rouse::task<> {
    for (;;) sched.spawn(session(site, co_await listener.accept()));
  });
  sched.run();
}

static void session_of_fiber(const rouse::tls::server_context& site, rouse::socket<rouse::fibers> plain) {
  std::error_code ec;
  auto s = rouse::tls::accept(site, std::move(plain), patience, ec);
  if (ec) return;
  const std::unique_ptr<char[]> buf(new char[buffer_size]);
  while (const std::size_t n = s.recv({buf.get(), buffer_size}, ec)) {
    do s.send_all(download ? rouse::const_buffer(message.data(), message.size()) : rouse::const_buffer(buf.get(), n), ec);
    while (download && !ec);
    if (ec) break;
  }
}

static void fibers(const rouse::tls::server_context& site, int port) {
  rouse::fibers sched;
  auto listener = listening(sched, port);
  sched.spawn([&] {
    for (;;) sched.spawn([&site, s = listener.accept()]() mutable { session_of_fiber(site, std::move(s)); });
  });
  sched.run();
}

struct connection {
  rouse::tls::socket<rouse::callbacks> s;
  std::unique_ptr<char[]> buf{new char[buffer_size]};

  void read() {
    s.recv({buf.get(), buffer_size}, [this](std::error_code ec, std::size_t n) {
      if (ec || n == 0)
        delete this;
      else if (download)
        write({message.data(), message.size()});
      else
        write({buf.get(), n});
    });
  }
  void write(rouse::const_buffer bytes) {
    s.send_all(bytes, [this](std::error_code ec, std::size_t) {
      if (ec)
        delete this;
      else if (download)
        write({message.data(), message.size()});
      else
        read();
    });
  }
};

struct connection_lent {
  rouse::tls::socket<rouse::callbacks> s;
  rouse::loan bytes{};

  void read() {
    s.receive([this](std::error_code ec, rouse::loan got) {
      if (ec || !got) {
        delete this;
        return;
      }
      bytes = std::move(got);
      if (download)
        write({message.data(), message.size()});
      else
        write(bytes);
    });
  }
  void write(rouse::const_buffer what) {
    s.send_all(what, [this](std::error_code ec, std::size_t) {
      if (!download) bytes.reset();
      if (ec)
        delete this;
      else if (download)
        write({message.data(), message.size()});
      else
        read();
    });
  }
};

template <class Connection>
static void accept(const rouse::tls::server_context& site, rouse::socket<rouse::callbacks>& listener) {
  listener.accept([&](std::error_code ec, rouse::socket<rouse::callbacks> plain) {
    if (!ec)
      rouse::tls::accept(site, std::move(plain), patience, [](std::error_code why, rouse::tls::socket<rouse::callbacks> s) {
        if (!why) (new Connection{std::move(s)})->read();
      });
    accept<Connection>(site, listener);
  });
}

template <class Connection>
static void callbacks(const rouse::tls::server_context& site, int port) {
  rouse::callbacks sched;
  auto listener = listening(sched, port);
  accept<Connection>(site, listener);
  sched.run();
}

int main(int argc, char** argv) {
  if (argc < 6) return 2;
  const int port = std::atoi(argv[1]);
  download = std::string(argv[4]) == "download";
  const std::string waker = argv[5];
  if (argc > 6) buffer_size = static_cast<std::size_t>(std::atoi(argv[6]));
  const rouse::tls::server_context site(argv[2], argv[3]);
  if (waker == "callback") callbacks<connection>(site, port);
  if (waker == "lent-callback") callbacks<connection_lent>(site, port);
  if (waker == "coroutine") coroutines(site, port, session);
  if (waker == "lent-coroutine") coroutines(site, port, session_lent);
  if (waker == "fiber") fibers(site, port);
}

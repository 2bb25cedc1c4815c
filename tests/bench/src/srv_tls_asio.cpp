// Asio ssl::stream server on epoll, one thread, callbacks.   srv_tls_asio PORT CHAIN KEY echo|download [BUF]
// TUNED: the least Asio can cost: concrete executor, no locking, no shared_ptr, async_write_some.
#include <asio.hpp>
#include <asio/ssl.hpp>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

using asio::ip::tcp;
#ifdef TUNED
using Ex = asio::io_context::executor_type;
#else
using Ex = asio::any_io_executor;
#endif
using Socket = asio::basic_stream_socket<tcp, Ex>;
using Acceptor = asio::basic_socket_acceptor<tcp, Ex>;
using Stream = asio::ssl::stream<Socket>;

static size_t bufsz = 16384;
static bool download = false;
static const std::vector<char> message(16384, 'x');

#ifdef TUNED
struct Session {
  Stream s;
  std::unique_ptr<char[]> buf{new char[bufsz]};
  const char* at = nullptr;
  size_t left = 0;
  Session(Socket&& k, asio::ssl::context& ctx) : s(std::move(k), ctx) {}
  void start() {
    s.async_handshake(asio::ssl::stream_base::server, [this](std::error_code ec) {
      if (ec) delete this;
      else read();
    });
  }
  void read() {
    s.async_read_some(asio::buffer(buf.get(), bufsz), [this](std::error_code ec, size_t n) {
      if (ec) { delete this; return; }
      if (download) at = message.data(), left = message.size();
      else at = buf.get(), left = n;
      write();
    });
  }
  void write() {
    s.async_write_some(asio::buffer(at, left), [this](std::error_code ec, size_t n) {
      if (ec) { delete this; return; }
      at += n, left -= n;
      if (!left && download) at = message.data(), left = message.size();
      if (left) write();
      else read();
    });
  }
};
static void start(Socket&& s, asio::ssl::context& ctx) { (new Session(std::move(s), ctx))->start(); }
#else
struct Session : std::enable_shared_from_this<Session> {
  Stream s;
  std::vector<char> buf;
  Session(Socket&& k, asio::ssl::context& ctx) : s(std::move(k), ctx), buf(bufsz) {}
  void start() {
    s.async_handshake(asio::ssl::stream_base::server, [self = shared_from_this()](std::error_code ec) {
      if (!ec) self->read();
    });
  }
  void read() {
    s.async_read_some(asio::buffer(buf), [self = shared_from_this()](std::error_code ec, size_t n) {
      if (ec) return;
      if (download) self->send();
      else self->write(n);
    });
  }
  void write(size_t n) {
    asio::async_write(s, asio::buffer(buf.data(), n), [self = shared_from_this()](std::error_code ec, size_t) {
      if (!ec) self->read();
    });
  }
  void send() {
    asio::async_write(s, asio::buffer(message), [self = shared_from_this()](std::error_code ec, size_t) {
      if (!ec) self->send();
    });
  }
};
static void start(Socket&& s, asio::ssl::context& ctx) { std::make_shared<Session>(std::move(s), ctx)->start(); }
#endif

static void accept(Acceptor& a, asio::ssl::context& ctx) {
  a.async_accept([&](std::error_code ec, Socket s) {
    if (!ec) {
      s.set_option(tcp::no_delay(true), ec);
      start(std::move(s), ctx);
    }
    accept(a, ctx);
  });
}

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  std::signal(SIGPIPE, SIG_IGN);
  download = std::string(argv[4]) == "download";
  if (argc > 5) bufsz = size_t(std::atoi(argv[5]));
  asio::ssl::context ctx(asio::ssl::context::tls_server);  // asks for no certificate
  ctx.set_options(asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1);
  ctx.use_certificate_chain_file(argv[2]);
  ctx.use_private_key_file(argv[3], asio::ssl::context::pem);
#ifdef TUNED
  asio::io_context io(ASIO_CONCURRENCY_HINT_UNSAFE);
#else
  asio::io_context io(1);
#endif
  Acceptor a(io.get_executor(), tcp::endpoint(asio::ip::address_v4::loopback(), static_cast<unsigned short>(std::atoi(argv[1]))));
  a.listen(4096);
  accept(a, ctx);
  io.run();
}

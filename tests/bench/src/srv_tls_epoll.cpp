// Hand-written OpenSSL server on level-triggered epoll, one thread: non-blocking SSL_read and SSL_write on the descriptor.
//   srv_tls_epoll PORT CHAIN KEY echo|download [release|keep] [BUF]
// release: SSL_MODE_RELEASE_BUFFERS, an idle connection has no buffer; keep: OpenSSL keeps both. download: after the first
// message, 16 KiB messages without end.
#include "net.hpp"
#include "tls.hpp"
#include <fcntl.h>
#include <sys/epoll.h>
#include <string>
#include <vector>

namespace {
constexpr int kMessage = 16384, kTurn = 16;  // messages per event, so that no connection starves the others
struct Conn {
  int fd;
  SSL* ssl;
  unsigned events = EPOLLIN;
  bool ready = false, started = false;
  char* rest = nullptr;  // what SSL_write could not take
  int off = 0, len = 0;
};
SSL_CTX* ctx;
int ep;
bool download;
std::vector<char> buf, message(kMessage, 'x');

void watch(Conn* c, unsigned events) {
  if (c->events == events) return;
  epoll_event e{};
  e.events = c->events = events;
  e.data.ptr = c;
  epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
}
void drop(Conn* c) {
  SSL_free(c->ssl);
  close(c->fd);
  free(c->rest);
  delete c;
  ERR_clear_error();
}
// 0: wait for the socket, -1: over.
int blocked(Conn* c, int r, unsigned otherwise = EPOLLIN) {
  switch (SSL_get_error(c->ssl, r)) {
  case SSL_ERROR_WANT_READ: return watch(c, otherwise), 0;
  case SSL_ERROR_WANT_WRITE: return watch(c, EPOLLOUT), 0;
  default: return -1;
  }
}
// 1: all of it was taken, 0: the rest is kept and waits, -1: over.
int write_all(Conn* c, const char* p, int n) {
  while (n) {
    const int w = SSL_write(c->ssl, p, n);
    if (w <= 0) {
      if (!c->rest) c->rest = static_cast<char*>(malloc(buf.size()));
      if (p < c->rest || p >= c->rest + buf.size()) memcpy(c->rest, p, size_t(n)), c->off = 0;
      else c->off = int(p - c->rest);
      c->len = n;
      return blocked(c, w);
    }
    p += w, n -= w;
  }
  if (c->len) free(c->rest), c->rest = nullptr, c->len = 0;
  return 1;
}
int send_messages(Conn* c) {
  for (int k = 0; k < kTurn; ++k) {
    const int w = SSL_write(c->ssl, message.data(), kMessage);
    if (w <= 0) return blocked(c, w);
  }
  watch(c, EPOLLOUT);
  return 0;
}
int serve(Conn* c) {
  if (c->len) {
    const int r = write_all(c, c->rest + c->off, c->len);
    if (r <= 0) return r;
    watch(c, EPOLLIN);
  }
  if (c->started) return send_messages(c);
  do {
    const int n = SSL_read(c->ssl, buf.data(), int(buf.size()));
    if (n <= 0) return blocked(c, n);
    if (download) return c->started = true, send_messages(c);
    const int r = write_all(c, buf.data(), n);
    if (r <= 0) return r;
  } while (SSL_has_pending(c->ssl));
  return 0;
}
void turn(Conn* c) {
  int r = 0;
  if (!c->ready) {
    const int h = SSL_do_handshake(c->ssl);
    if (h != 1) r = blocked(c, h);
    else {
      c->ready = true;
      watch(c, EPOLLIN);
      if (SSL_has_pending(c->ssl)) r = serve(c);
    }
  } else r = serve(c);
  if (r < 0) drop(c);
}
void accept_all(int lfd) {
  for (;;) {
    const int fd = accept4(lfd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    Conn* c = new Conn{fd, SSL_new(ctx)};
    SSL_set_fd(c->ssl, fd);
    SSL_set_accept_state(c->ssl);
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.ptr = c;
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
  }
}
}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  raise_file_limit();
  ctx = server_context(argv[2], argv[3], argc < 6 || std::string(argv[5]) == "release");
  download = std::string(argv[4]) == "download";
  buf.resize(size_t(argc > 6 ? atoi(argv[6]) : 16384));
  const int lfd = listen_on(atoi(argv[1]), true);
  ep = epoll_create1(EPOLL_CLOEXEC);
  epoll_event e{};
  e.events = EPOLLIN;
  epoll_ctl(ep, EPOLL_CTL_ADD, lfd, &e);
  static epoll_event evs[256];
  for (;;) {
    const int n = epoll_wait(ep, evs, 256, -1);
    for (int i = 0; i < n; ++i) {
      if (evs[i].data.ptr) turn(static_cast<Conn*>(evs[i].data.ptr));
      else accept_all(lfd);
    }
  }
}

// One-threaded load generator for TLS servers: OpenSSL on epoll, TLS 1.3 with one cipher, so that all servers do the same work.
//
//   tls_load --port P [--mode echo|download|handshake|idle] [--connections N] [--size BYTES] [--resume] [--request TEXT]
//            [--seconds S] [--warmup S] [--count N] [--server-pid PID] [--verify] [--spin]
//
//   echo       each connection sends a message when the last one has come back
//   download   each connection sends one byte and then only reads; --size bytes count as one message
//   handshake  connect, handshake, one byte there and back, close_notify, close; with --resume from the newest ticket
//   idle       memory of the server for connections that have echoed one message: 100 are open before the first sample
//
// --request replaces the first message, for servers that want a line; then any answer counts as the echo.
// Prints one line of JSON. With --server-pid it also reports the CPU time of the server in the measured window.
#include "net.hpp"
#include "process.hpp"
#include "tls.hpp"
#include <fcntl.h>
#include <sys/epoll.h>
#include <string>
#include <vector>

namespace {
struct Args {
  int port = 9000, connections = 1, size = 64, server_pid = 0;
  double seconds = 1.0, warmup = 0.3;
  long count = 0;
  std::string mode = "echo", request;
  bool verify = false, spin = false, resume = false;
} a;

struct Conn {
  int fd = -1;
  SSL* ssl = nullptr;
  SSL_SESSION* session = nullptr;  // newest ticket of this slot (--resume)
  bool ready = false, writing = false, fresh = true, resuming = false;
  size_t got = 0;
  uint64_t stamp = 0;
};

SSL_CTX* ctx;
int ep;
std::vector<char> message, in(65536);
Histogram hist;
uint64_t requests = 0, bytes = 0, errors = 0, not_resumed = 0, t_now = 0;
bool measuring = false;
enum class Mode { echo, download, handshake } mode;

int on_session(SSL* ssl, SSL_SESSION* s) {
  Conn* c = static_cast<Conn*>(SSL_get_app_data(ssl));
  if (!c) return 0;
  SSL_SESSION_free(c->session);
  c->session = s;
  return 1;
}
SSL_CTX* client_context() {
  SSL_CTX* c = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION);
  SSL_CTX_set_ciphersuites(c, "TLS_AES_128_GCM_SHA256");
  SSL_CTX_set1_groups_list(c, "X25519");
  SSL_CTX_set_verify(c, SSL_VERIFY_NONE, nullptr);  // the chain; the server's signature is always checked
  SSL_CTX_set_read_ahead(c, 1);
  SSL_CTX_set_default_read_buffer_len(c, a.mode == "idle" ? 0 : 65536);
  SSL_CTX_set_mode(c, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (a.resume) {
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(c, on_session);
  }
  return c;
}
int dial() {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  no_delay(fd);
  sockaddr_in s = loopback(a.port);
  if (connect(fd, reinterpret_cast<sockaddr*>(&s), sizeof s) < 0) die("connect");
  return fd;
}
void watch(Conn& c, int op, unsigned events) {
  epoll_event e{};
  e.events = events;
  e.data.ptr = &c;
  epoll_ctl(ep, op, c.fd, &e);
}
// True: go on when the socket is ready again.
bool blocked(Conn& c, int r) {
  const int e = SSL_get_error(c.ssl, r);
  if (e == SSL_ERROR_WANT_READ) return true;
  if (e == SSL_ERROR_WANT_WRITE) return watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT), true;
  return false;
}
void hang_up(Conn& c) {
  SSL_shutdown(c.ssl);  // also keeps the session usable
  SSL_free(c.ssl);
  close(c.fd);
  ERR_clear_error();
  c.ssl = nullptr, c.fd = -1;
}
void begin(Conn& c) {
  c.fd = dial();
  fcntl(c.fd, F_SETFL, O_NONBLOCK);
  c.ssl = SSL_new(ctx);
  c.ready = c.writing = false, c.fresh = true, c.got = 0, c.stamp = t_now;
  SSL_set_app_data(c.ssl, &c);
  SSL_set_fd(c.ssl, c.fd);
  SSL_set_connect_state(c.ssl);
  c.resuming = a.resume && c.session;
  if (c.resuming) SSL_set_session(c.ssl, c.session);
  watch(c, EPOLL_CTL_ADD, EPOLLIN);
  const int r = SSL_do_handshake(c.ssl);  // sends the first flight
  if (r != 1 && !blocked(c, r)) ++errors;
}
bool write_message(Conn& c) {
  const bool special = c.fresh && !a.request.empty();
  const char* p = special ? a.request.data() : message.data();
  const size_t n = special ? a.request.size() : c.fresh && mode == Mode::download ? 1 : message.size();
  const int r = SSL_write(c.ssl, p, int(n));
  c.writing = r <= 0;
  if (r <= 0) return blocked(c, r);
  c.fresh = false;
  return true;
}
void check(const Conn& c, int n) {
  if (c.got + size_t(n) > message.size() || memcmp(in.data(), message.data() + c.got, size_t(n)) != 0) ++errors;
}
// False: the connection is over, or replaced by the next one.
bool arrived(Conn& c, int n) {
  if (a.verify && mode == Mode::echo) check(c, n);
  c.got += size_t(n);
  if (measuring) bytes += uint64_t(n);
  if (mode == Mode::handshake) {
    if (c.got < message.size() && a.request.empty()) return true;
    ++requests;
    if (measuring) hist.add(t_now - c.stamp);
    if (measuring && SSL_session_reused(c.ssl) != int(a.resume)) ++not_resumed;
    hang_up(c);
    begin(c);
    return false;
  }
  while (c.got >= size_t(a.size)) {
    c.got -= size_t(a.size);
    ++requests;
    if (mode != Mode::echo) continue;
    if (measuring) hist.add(t_now - c.stamp);
    c.stamp = t_now;
    if (!write_message(c)) return ++errors, false;
  }
  return true;
}
// False: failed.
bool step(Conn& c, unsigned events) {
  if (!c.ready) {
    const int r = SSL_do_handshake(c.ssl);
    if (r != 1) return blocked(c, r);
    c.ready = true;
    if (!write_message(c)) return false;
    if (!SSL_has_pending(c.ssl)) return true;
  }
  if (events & EPOLLOUT && c.writing) {
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
    if (!write_message(c)) return false;
  }
  if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return true;
  do {
    const int n = SSL_read(c.ssl, in.data(), int(in.size()));
    if (n <= 0) return blocked(c, n);
    if (!arrived(c, n)) return true;
  } while (SSL_has_pending(c.ssl));
  return true;
}

struct Window {
  uint64_t t0, cpu0, wait0;
  ServerSample s0;
  void begin() {
    requests = bytes = 0;
    hist.clear();
    s0 = sample(a.server_pid);
    cpu0 = own_cpu();
    wait0 = run_delay("self");
    t0 = now_ns();
    measuring = true;
  }
  void report() {
    const uint64_t t1 = now_ns(), cpu1 = own_cpu(), scpu = server_cpu(a.server_pid);
    const ServerSample s1 = sample(a.server_pid);
    const double s = double(t1 - t0) / 1e9, req = double(std::max<uint64_t>(requests, 1));
    printf("{\"mode\":\"%s\",\"connections\":%d,\"size\":%d,\"seconds\":%.3f,\"requests\":%llu,\"req_s\":%.1f,\"bytes_s\":%.0f,"
           "\"p50_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f,\"errors\":%llu,\"not_resumed\":%llu,\"client_util\":%.3f,\"client_wait\":%.3f",
           a.mode.c_str(), a.connections, a.size, s, (unsigned long long)requests, req / s, double(bytes) / s, hist.at(.5) / 1e3,
           hist.at(.99) / 1e3, hist.at(.999) / 1e3, (unsigned long long)errors, (unsigned long long)not_resumed,
           double(cpu1 - cpu0) / 1e9 / s, double(run_delay("self") - wait0) / 1e9 / s);
    if (a.server_pid) {
      const double cpu = double(scpu - s0.cpu_ns) / 1e9;
      printf(",\"server_cpu_us_per_req\":%.4f,\"server_util\":%.3f,\"server_sleeps_per_req\":%.4f,\"server_wait\":%.3f", cpu * 1e6 / req,
             cpu / s, double(s1.vol - s0.vol) / req, double(s1.wait_ns - s0.wait_ns) / 1e9 / s);
    }
    printf("}\n");
  }
};

bool resumes(const Conn& c) { return c.resuming; }
void run() {
  ep = epoll_create1(EPOLL_CLOEXEC);
  std::vector<Conn> conns(size_t(a.connections));
  t_now = now_ns();
  for (Conn& c : conns) begin(c);
  const uint64_t t_measure = now_ns() + uint64_t(a.warmup * 1e9), length = uint64_t(a.seconds * 1e9);
  Window w{};
  if (a.warmup == 0 && !a.resume) w.begin();
  static epoll_event evs[256];
  while (!errors) {
    const int n = epoll_wait(ep, evs, 256, a.spin ? 0 : 100);
    t_now = now_ns();
    for (int i = 0; i < n; ++i)
      if (!step(*static_cast<Conn*>(evs[i].data.ptr), evs[i].events)) ++errors;
    if (!measuring && t_now >= t_measure && (!a.resume || std::all_of(conns.begin(), conns.end(), resumes))) w.begin();
    if ((measuring && t_now >= w.t0 + length) || (a.count && measuring && requests >= uint64_t(a.count))) break;
  }
  if (errors) ERR_print_errors_fp(stderr);
  w.report();
}

bool echo_once(SSL* ssl) {
  if (SSL_write(ssl, message.data(), a.size) != a.size) return false;
  for (int got = 0; got < a.size;) {
    const int n = SSL_read(ssl, in.data(), a.size - got);
    if (n <= 0) return false;
    got += n;
  }
  return true;
}
void run_idle() {
  constexpr int kBefore = 100;
  ServerSample s0;
  std::vector<int> fds;
  for (int i = 0; i < kBefore + a.connections; ++i) {
    if (i == kBefore) usleep(useconds_t(a.warmup * 1e6)), s0 = sample(a.server_pid);
    fds.push_back(dial());
    SSL* ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fds.back());
    if (SSL_connect(ssl) != 1 || !echo_once(ssl)) ++errors;
    SSL_set_quiet_shutdown(ssl, 1);
    SSL_free(ssl);  // the connection stays open
  }
  usleep(useconds_t(a.warmup * 1e6));
  const ServerSample s1 = sample(a.server_pid);
  printf("{\"mode\":\"idle\",\"connections\":%d,\"errors\":%llu,\"rss_base_kb\":%ld,\"rss_kb\":%ld,\"rss_per_conn\":%.1f,\"anon_per_conn\":%.1f}\n",
         a.connections, (unsigned long long)errors, s0.rss_kb, s1.rss_kb, double(s1.rss_kb - s0.rss_kb) * 1024.0 / a.connections,
         double(s1.anon_kb - s0.anon_kb) * 1024.0 / a.connections);
  for (int fd : fds) close(fd);
}
}  // namespace

int main(int argc, char** argv) {
  raise_file_limit();
  for (int i = 1; i < argc; ++i) {
    std::string k = argv[i];
    auto v = [&] { return i + 1 < argc ? argv[++i] : (die(("value for " + k).c_str(), EINVAL), argv[0]); };
    if (k == "--port") a.port = atoi(v());
    else if (k == "--connections") a.connections = atoi(v());
    else if (k == "--size") a.size = atoi(v());
    else if (k == "--server-pid") a.server_pid = atoi(v());
    else if (k == "--seconds") a.seconds = atof(v());
    else if (k == "--warmup") a.warmup = atof(v());
    else if (k == "--count") a.count = atol(v());
    else if (k == "--mode") a.mode = v();
    else if (k == "--request") a.request = v();
    else if (k == "--resume") a.resume = true;
    else if (k == "--verify") a.verify = true;
    else if (k == "--spin") a.spin = true;
    else die(("unknown option " + k).c_str(), EINVAL);
  }
  if (a.mode == "handshake") a.size = 1;
  for (int k = 0; k < a.size; ++k) message.push_back(char('a' + k % 23));
  message[0] = '\n';  // openssl s_server -rev answers lines
  ctx = client_context();
  if (a.mode == "idle") run_idle();
  else {
    if (a.mode == "echo") mode = Mode::echo;
    else if (a.mode == "download") mode = Mode::download;
    else if (a.mode == "handshake") mode = Mode::handshake;
    else die("--mode", EINVAL);
    run();
  }
  return errors ? 2 : 0;
}

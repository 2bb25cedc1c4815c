// A fiber's calls under install() have the same results as those of a plain thread: return value,
// errno, bytes, and other output. Linux.
#include "trial.hpp"

#include <linux/sockios.h>
#include <netdb.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/syscall.h>

using namespace testing;

namespace {

const std::string& large() {
  static const std::string block(std::size_t{8} << 20, 'x');
  return block;
}
/// Reads until the end, or until `most` bytes have arrived; returns their number.
long drain(int fd, long most) {
  std::vector<char> room(std::size_t{1} << 16);
  long all = 0;
  while (all < most) {
    const long n = ::recv(fd, room.data(), room.size(), 0);
    if (n <= 0) break;
    all += n;
  }
  return all;
}
/// Fills the socket until a send would have to wait.
void fill(int fd) {
  while (::send(fd, large().data(), 4096, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
  }
  while (::send(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
  }
}
/// Sends the bytes, and a descriptor with them.
void put_descriptor(int fd, std::string_view bytes, int sent) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof sent)] = {};
  iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr m{};
  m.msg_iov = &piece, m.msg_iovlen = 1, m.msg_control = control, m.msg_controllen = sizeof control;
  cmsghdr* const c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof sent);
  std::memcpy(CMSG_DATA(c), &sent, sizeof sent);
  (void)!::sendmsg(fd, &m, MSG_NOSIGNAL);
}
void nonblocking(int fd) { (void)::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK); }

/// A UDP socket that has sent one message, to a closed port that refused it.
int refused(trial& t, bool queue) {
  const int fd = t.bound(SOCK_DGRAM), gone = ::socket(AF_INET, SOCK_DGRAM, 0);
  if (queue) t.set(fd, IPPROTO_IP, IP_RECVERR, 1);
  const sockaddr_in any = trial::loopback();
  (void)::bind(gone, reinterpret_cast<const sockaddr*>(&any), sizeof any);
  (void)t.connect_to(fd, t.name_of(gone));
  ::close(gone);
  t.put(fd, "x");
  pollfd file{fd, 0, 0};
  (void)::poll(&file, 1, -1);
  return fd;
}

/// A Unix-domain listener without a path, and its name.
struct local_listener {
  sockaddr_un name{};
  socklen_t size = sizeof name;
  int fd;
  local_listener(trial& t, int backlog, int type = SOCK_STREAM) : fd(t.socket(AF_UNIX, type)) {
    name.sun_family = AF_UNIX;
    (void)::bind(fd, any(), sizeof name.sun_family);
    (void)::getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size);
    if (type != SOCK_DGRAM) (void)::listen(fd, backlog);
  }
  const sockaddr* any() const { return reinterpret_cast<const sockaddr*>(&name); }
};

int connect_path(int fd, const char* path) {
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  std::strcpy(a.sun_path, path);
  return ::connect(fd, reinterpret_cast<const sockaddr*>(&a), sizeof a);
}

/// A listener with a full queue.
sockaddr_in full(trial& t) {
  const int l = t.listener(0);
  for (int i = 0; i != 4; ++i) {
    const int s = t.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
    (void)t.connect_to(s, t.name_of(l));
  }
  return t.name_of(l);
}

fd_set set_of(std::initializer_list<int> files) {
  fd_set s;
  FD_ZERO(&s);
  for (int fd : files) FD_SET(fd, &s);
  return s;
}

int epoll_of(trial& t, int fd, std::uint32_t events) {
  const int set = t.keep(::epoll_create1(0));
  epoll_event e{events, {}};
  e.data.u64 = 7;
  (void)::epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
  return set;
}
void epoll_wait(trial& t, int set, int most, int timeout) {
  epoll_event events[4] = {};
  const int n = t.call("epoll_wait", [&] { return ::epoll_wait(set, events, most, timeout); });
  for (int i = 0; i < n; ++i) {
    const std::uint64_t tag = events[i].data.u64; // the record is packed
    t.note("%#x of %d", static_cast<unsigned>(events[i].events), static_cast<int>(tag));
  }
}

void look_up(trial& t, const char* host, const char* service, addrinfo hints) {
  addrinfo* found = nullptr;
  const int result = ::getaddrinfo(host, service, &hints, &found); // errno is unspecified
  t.note("getaddrinfo = %d", result);
  for (const addrinfo* a = result == 0 ? found : nullptr; a; a = a->ai_next) {
    t.note("family %d type %d protocol %d size %u %s", a->ai_family, a->ai_socktype, a->ai_protocol,
           a->ai_addrlen, a->ai_canonname ? a->ai_canonname : "unnamed");
    t.note_bytes(a->ai_addr->sa_data, a->ai_family == AF_INET ? 6 : 0);
  }
  if (result == 0) ::freeaddrinfo(found);
}

const row table[] = {
    // ---- recv: streams
    {"recv: bytes that arrive while it waits",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.recv(a, 8);
     }},
    {"recv: the bytes that are there",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.put(b, "abc");
       t.recv(a, 2);
       t.recv(a, 8);
     }},
    {"recv on TCP: bytes that arrive while it waits",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.recv(a, 8);
     }},
    {"recv: the peer finishes while it waits",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.meanwhile([b] { ::shutdown(b, SHUT_WR); });
       t.recv(a, 8);
     }},
    {"recv on TCP: the peer finishes while it waits",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.meanwhile([b] { ::shutdown(b, SHUT_WR); });
       t.recv(a, 8);
       t.recv(a, 8);
     }},
    {"recv on TCP: the peer resets while it waits",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.meanwhile([b] { trial::reset(b); });
       t.recv(a, 8);
       t.recv(a, 8);
     }},
    {"recv: the peer closes with bytes unread",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.put(a, "unread");
       t.meanwhile([b] { trial::reset(b); });
       t.recv(a, 8);
       t.recv(a, 8);
     }},
    {"recv: another thread shuts the socket down while it waits",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.meanwhile([a] { ::shutdown(a, SHUT_RD); });
       t.recv(a, 8);
     }},
    {"recv on TCP: another thread shuts the socket down while it waits",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.meanwhile([a] { ::shutdown(a, SHUT_RD); });
       t.recv(a, 8);
     }},
    {"recv of 0 bytes waits until there are bytes",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.recv(a, 0);
       t.recv(a, 8);
     }},
    {"recv of 0 bytes on TCP waits until there are bytes",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.recv(a, 0);
       t.recv(a, 8);
     }},
    {"recv of 0 bytes when bytes are there",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.put(b, "abc");
       t.recv(a, 0);
       t.recv(a, 8);
     }},
    {"recv of 0 bytes at the end",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       ::shutdown(b, SHUT_WR);
       t.recv(a, 0);
     }},
    {"recv with MSG_PEEK leaves bytes that arrive while it waits",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.recv(a, 2, MSG_PEEK);
       t.recv(a, 8);
     }},
    {"recv with MSG_TRUNC on TCP discards",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.put(b, "abcdef");
       t.call("recv", [a] { return ::recv(a, nullptr, 4, MSG_TRUNC); });
       t.recv(a, 8);
     }},
    {"recv with MSG_TRUNC and MSG_WAITALL on TCP discards bytes to come",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.put(b, "abc");
       t.meanwhile([b] { trial::put(b, "def"); });
       t.call("recv", [a] { return ::recv(a, nullptr, 4, MSG_TRUNC | MSG_WAITALL); });
       t.recv(a, 8);
     }},
    {"recv with MSG_WAITALL waits for the rest",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.put(b, "abc");
       t.meanwhile([b] { trial::put(b, "def"); });
       t.recv(a, 6, MSG_WAITALL);
     }},
    {"recv with MSG_WAITALL on TCP waits for the rest",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.put(b, "abc");
       t.meanwhile([b] { trial::put(b, "def"); });
       t.recv(a, 5, MSG_WAITALL);
       t.recv(a, 8);
     }},
    {"recv with MSG_WAITALL: the peer finishes early",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.put(b, "abc");
       t.meanwhile([b] { ::shutdown(b, SHUT_WR); });
       t.recv(a, 6, MSG_WAITALL);
       t.recv(a, 6, MSG_WAITALL);
     }},
    {"recv with MSG_WAITALL on TCP: bytes and a reset arrive while it waits",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.put(b, "abc");
       t.meanwhile([b] { trial::put(b, "de"), trial::reset(b); });
       t.recv(a, 8, MSG_WAITALL);
       t.recv(a, 8);
       t.recv(a, 8);
     }},
    {"recv with MSG_WAITALL: the peer closes with bytes unread",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.put(a, "unread"), t.put(b, "abc");
       t.meanwhile([b] { trial::put(b, "de"), trial::reset(b); });
       t.recv(a, 8, MSG_WAITALL);
       t.recv(a, 8);
       t.recv(a, 8);
     }},
    {"recv with MSG_WAITALL ends at SO_RCVTIMEO with the bytes it has",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.limit(a, SO_RCVTIMEO);
       t.put(b, "abc");
       t.recv(a, 6, MSG_WAITALL);
       t.recv(a, 6, MSG_WAITALL);
     }},
    {"recv with MSG_WAITALL and MSG_DONTWAIT takes the bytes that are there",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.put(b, "abc");
       t.recv(a, 6, MSG_WAITALL | MSG_DONTWAIT);
       t.recv(a, 6, MSG_WAITALL | MSG_DONTWAIT);
     }},
    {"recv with MSG_WAITALL on a non-blocking socket takes the bytes that are there",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.put(b, "abc"), nonblocking(a);
       t.recv(a, 6, MSG_WAITALL);
     }},
    {"recv with MSG_WAITALL and MSG_PEEK on TCP waits until all bytes are there",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.put(b, "abc");
       t.meanwhile([b] { trial::put(b, "def"); });
       t.recv(a, 6, MSG_WAITALL | MSG_PEEK);
       t.recv(a, 8);
     }},
    {"recv with MSG_WAITALL and MSG_PEEK on TCP: no bytes are there at first",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.meanwhile([b] { trial::put(b, "abcdef"); });
       t.recv(a, 4, MSG_WAITALL | MSG_PEEK);
       t.recv(a, 8);
     }},
    {"recv with MSG_WAITALL and MSG_PEEK on TCP: the peer finishes early",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.put(b, "abc");
       t.meanwhile([b] { ::shutdown(b, SHUT_WR); });
       t.recv(a, 6, MSG_WAITALL | MSG_PEEK);
       t.recv(a, 8);
     }},
    {"recv with MSG_WAITALL and MSG_PEEK on TCP ends at SO_RCVTIMEO with the bytes that are there",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.limit(a, SO_RCVTIMEO);
       t.put(b, "abc");
       t.recv(a, 6, MSG_WAITALL | MSG_PEEK);
       t.recv(a, 8);
     }},
    {"recv with MSG_WAITALL and MSG_PEEK on a local stream returns the bytes that are there",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.limit(a, SO_RCVTIMEO);
       t.put(b, "abc");
       t.recv(a, 6, MSG_WAITALL | MSG_PEEK);
       t.recv(a, 8);
     }},
    {"recv on TCP: SO_RCVLOWAT makes it wait for more",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.set(a, SOL_SOCKET, SO_RCVLOWAT, 5);
       t.meanwhile([b] { trial::put(b, "abc"), trial::put(b, "def"); });
       t.recv(a, 8);
     }},
    {"recv on TCP: SO_RCVLOWAT, and some bytes are there already",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.set(a, SOL_SOCKET, SO_RCVLOWAT, 5);
       t.put(b, "abc");
       t.meanwhile([b] { trial::put(b, "defgh"); });
       t.recv(a, 16);
     }},
    {"recv: SO_RCVLOWAT, and some bytes are there already",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.set(a, SOL_SOCKET, SO_RCVLOWAT, 5);
       t.put(b, "abc");
       t.meanwhile([b] { trial::put(b, "def"); });
       t.recv(a, 16);
     }},
    {"recv: SO_RCVLOWAT, and the buffer is smaller",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.set(a, SOL_SOCKET, SO_RCVLOWAT, 5);
       t.put(b, "abc");
       t.recv(a, 2);
     }},
    {"recv: SO_RCVLOWAT, and the peer finishes early",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.set(a, SOL_SOCKET, SO_RCVLOWAT, 5);
       t.put(b, "abc");
       t.meanwhile([b] { ::shutdown(b, SHUT_WR); });
       t.recv(a, 16);
     }},
    {"recv: SO_RCVLOWAT and SO_RCVTIMEO",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.set(a, SOL_SOCKET, SO_RCVLOWAT, 5);
       t.limit(a, SO_RCVTIMEO);
       t.put(b, "abc");
       t.call_lasting(20ms, "recv", [a] {
         char data[8];
         return ::recv(a, data, sizeof data, 0);
       });
     }},
    {"recv: SO_RCVLOWAT on a non-blocking socket",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.set(a, SOL_SOCKET, SO_RCVLOWAT, 5);
       t.put(b, "abc"), nonblocking(a);
       t.recv(a, 16);
     }},
    {"read: SO_RCVLOWAT makes it wait for more",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.set(a, SOL_SOCKET, SO_RCVLOWAT, 5);
       t.put(b, "abc");
       t.meanwhile([b] { trial::put(b, "def"); });
       char data[16];
       t.note_bytes(data, t.call("read", [&] { return ::read(a, data, sizeof data); }));
     }},

    // ---- recv: urgent bytes
    {"recv with MSG_OOB on TCP never waits",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.recv(a, 1, MSG_OOB);
     }},
    {"recv with MSG_OOB never waits on a local stream",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.recv(a, 1, MSG_OOB);
     }},
    {"recv with MSG_OOB takes the urgent byte",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.put(b, "abc"), t.put(b, "!", MSG_OOB);
       t.poll({{a, POLLPRI, 0}}, -1);
       t.recv(a, 1, MSG_OOB);
       t.recv(a, 1, MSG_OOB);
       t.recv(a, 8);
     }},
    {"recv stops at the urgent byte, and continues behind it",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.put(b, "abc"), t.put(b, "!", MSG_OOB), t.put(b, "def");
       t.poll({{a, POLLPRI, 0}}, -1);
       t.recv(a, 8);
       t.recv(a, 8);
     }},
    {"recv with MSG_WAITALL on TCP stops at the urgent byte",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.put(b, "abc"), t.put(b, "!", MSG_OOB), t.put(b, "def");
       t.poll({{a, POLLPRI, 0}}, -1);
       t.recv(a, 6, MSG_WAITALL);
       t.recv(a, 3, MSG_WAITALL);
     }},
    {"recv with MSG_WAITALL stops at the urgent byte of a local stream",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.put(b, "abc"), t.put(b, "!", MSG_OOB), t.put(b, "def");
       t.recv(a, 6, MSG_WAITALL);
       t.recv(a, 3, MSG_WAITALL);
     }},
    {"recv with SO_OOBINLINE returns the urgent byte with the others",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.set(a, SOL_SOCKET, SO_OOBINLINE, 1);
       t.put(b, "abc"), t.put(b, "!", MSG_OOB);
       t.poll({{a, POLLPRI, 0}}, -1);
       t.recv(a, 8);
       t.recv(a, 8);
       t.recv(a, 1, MSG_OOB);
     }},
    {"recv waits behind an urgent byte",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.put(b, "!", MSG_OOB);
       t.poll({{a, POLLPRI, 0}}, -1);
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.recv(a, 8);
     }},

    // ---- recv: limits and modes
    {"recv ends at SO_RCVTIMEO",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.limit(a, SO_RCVTIMEO);
       t.call_lasting(20ms, "recv", [a] {
         char data[8];
         return ::recv(a, data, sizeof data, 0);
       });
     }},
    {"recv on TCP ends at SO_RCVTIMEO",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.limit(a, SO_RCVTIMEO);
       t.call_lasting(20ms, "recv", [a] {
         char data[8];
         return ::recv(a, data, sizeof data, 0);
       });
     }},
    {"recv with MSG_DONTWAIT",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.recv(a, 8, MSG_DONTWAIT);
     }},
    {"recv with O_NONBLOCK of fcntl",
     [](trial& t) {
       const auto [a, b] = t.local();
       nonblocking(a);
       t.recv(a, 8);
     }},
    {"recv with FIONBIO of ioctl, on and off",
     [](trial& t) {
       const auto [a, b] = t.local();
       int on = 1;
       (void)::ioctl(a, FIONBIO, &on);
       t.recv(a, 8);
       on = 0;
       (void)::ioctl(a, FIONBIO, &on);
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.recv(a, 8);
     }},
    {"recv on a socket made with SOCK_NONBLOCK",
     [](trial& t) {
       const auto [a, b] = t.local(SOCK_STREAM | SOCK_NONBLOCK);
       t.recv(a, 8);
     }},
    {"recv with O_NONBLOCK that was set on a duplicate",
     [](trial& t) {
       const auto [a, b] = t.local();
       const int twin = t.keep(::dup(a));
       nonblocking(twin);
       t.recv(a, 8);
     }},
    {"recv continues to wait when O_NONBLOCK is set meanwhile",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.meanwhile([a, b] { nonblocking(a), trial::put(b, "abc"); });
       t.recv(a, 8);
     }},
    {"recv on a duplicate takes the bytes of the original",
     [](trial& t) {
       const auto [a, b] = t.local();
       const int twin = t.keep(::dup(a));
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.recv(twin, 8);
     }},

    // ---- recv: what is refused
    {"recv on a bad descriptor", [](trial& t) { t.recv(-1, 8); }},
    {"recv on a descriptor that is not open", [](trial& t) { t.recv(98765, 8); }},
    {"recv on a pipe", [](trial& t) { t.recv(t.pipe().a, 8); }},
    {"recv on a file", [](trial& t) { t.recv(t.keep(::open("/proc/self/exe", O_RDONLY)), 8); }},
    {"recv on a listener", [](trial& t) { t.recv(t.listener(), 8); }},
    {"recv on a TCP socket that is not connected",
     [](trial& t) { t.recv(t.socket(AF_INET, SOCK_STREAM), 8); }},
    {"recv on a local stream that is not connected",
     [](trial& t) { t.recv(t.socket(AF_UNIX, SOCK_STREAM), 8); }},
    {"recv on a SEQPACKET socket that is not connected",
     [](trial& t) { t.recv(t.socket(AF_UNIX, SOCK_SEQPACKET), 8); }},
    {"recv into a bad pointer",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.put(b, "abc");
       t.call("recv", [a] { return ::recv(a, nowhere(), 8, 0); });
       t.recv(a, 8);
     }},
    {"recv into a bad pointer, after a wait",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.call("recv", [a] { return ::recv(a, nowhere(), 8, 0); });
       t.recv(a, 8);
     }},
    {"recv with MSG_WAITALL into a bad pointer",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.put(b, "abc");
       t.call("recv", [a] { return ::recv(a, nowhere(), 8, MSG_WAITALL); });
       t.limit(a, SO_RCVTIMEO);
       t.recv(a, 8);
     }},
    {"recv of more bytes than there is memory",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.put(b, "abc");
       char data[64];
       t.call("recv", [&] { return ::recv(a, data, SIZE_MAX, 0); });
     }},
    {"recvfrom with a bad pointer for the name",
     [](trial& t) {
       const auto [a, b] = t.udp();
       t.put(b, "abc");
       char data[8];
       socklen_t size = sizeof(sockaddr_in);
       t.call("recvfrom", [&] {
         return ::recvfrom(a, data, sizeof data, 0, nowhere<sockaddr>(), &size);
       });
       t.note("%u", size);
     }},

    // ---- datagrams
    {"recv: a datagram that arrives while it waits",
     [](trial& t) {
       const auto [a, b] = t.udp();
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.recv(a, 8);
     }},
    {"recv: an empty datagram",
     [](trial& t) {
       const auto [a, b] = t.udp();
       t.meanwhile([b] { trial::put(b, ""); });
       t.recv(a, 8);
       t.limit(a, SO_RCVTIMEO);
       t.recv(a, 8);
     }},
    {"recv of 0 bytes takes a datagram",
     [](trial& t) {
       const auto [a, b] = t.udp();
       t.put(b, "abc"), t.put(b, "def");
       t.recv(a, 0);
       t.recv(a, 8);
     }},
    {"recv truncates a datagram",
     [](trial& t) {
       const auto [a, b] = t.udp();
       t.put(b, "abcdef"), t.put(b, "ghi");
       t.recv(a, 2);
       t.recv(a, 8);
     }},
    {"recv with MSG_TRUNC returns the size of a datagram",
     [](trial& t) {
       const auto [a, b] = t.udp();
       t.put(b, "abcdef");
       t.recv(a, 2, MSG_TRUNC);
     }},
    {"recv with MSG_WAITALL takes one datagram",
     [](trial& t) {
       const auto [a, b] = t.udp();
       t.put(b, "abc"), t.put(b, "def");
       t.recv(a, 8, MSG_WAITALL);
     }},
    {"recv with MSG_PEEK and MSG_WAITALL leaves a datagram",
     [](trial& t) {
       const auto [a, b] = t.udp();
       t.put(b, "abc");
       t.recv(a, 8, MSG_WAITALL | MSG_PEEK);
       t.recv(a, 8);
     }},
    {"recv: SO_RCVLOWAT has no effect on a datagram",
     [](trial& t) {
       const auto [a, b] = t.udp();
       t.set(a, SOL_SOCKET, SO_RCVLOWAT, 5);
       t.put(b, "abc");
       t.recv(a, 8);
     }},
    {"recv on UDP after shutdown(SHUT_RD)",
     [](trial& t) {
       const auto [a, b] = t.udp();
       ::shutdown(a, SHUT_RD);
       t.limit(a, SO_RCVTIMEO, 10s);
       t.recv(a, 8);
     }},
    {"recv on UDP: another thread shuts the socket down while it waits",
     [](trial& t) {
       const auto [a, b] = t.udp();
       t.meanwhile([a] { ::shutdown(a, SHUT_RD); });
       t.recv(a, 8);
     }},
    {"recv on UDP: another thread shuts the socket down for both while it waits",
     [](trial& t) {
       const auto [a, b] = t.udp();
       t.meanwhile([a] { ::shutdown(a, SHUT_RDWR); });
       t.recv(a, 8);
       t.send(a, "abc");
     }},
    {"recvfrom on unconnected UDP: another thread shuts the socket down while it waits",
     [](trial& t) {
       const int a = t.bound(SOCK_DGRAM);
       t.meanwhile([a] { ::shutdown(a, SHUT_RD); });
       t.recvmsg(a, 8);
     }},
    {"recv on UDP after shutdown(SHUT_RD): the datagrams that are there come first",
     [](trial& t) {
       const auto [a, b] = t.udp();
       t.put(b, "abc");
       ::shutdown(a, SHUT_RD);
       t.recv(a, 8);
       t.recv(a, 8);
     }},
    {"recv on non-blocking UDP after shutdown(SHUT_RD)",
     [](trial& t) {
       const auto [a, b] = t.udp();
       ::shutdown(a, SHUT_RD), nonblocking(a);
       t.recv(a, 8);
     }},
    {"recv on UDP waits after shutdown(SHUT_WR)",
     [](trial& t) {
       const auto [a, b] = t.udp();
       ::shutdown(a, SHUT_WR);
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.recv(a, 8);
     }},
    {"recv on a local datagram socket: another thread shuts it down while it waits",
     [](trial& t) {
       const auto [a, b] = t.local(SOCK_DGRAM);
       t.meanwhile([a] { ::shutdown(a, SHUT_RD); });
       t.recv(a, 8);
     }},
    {"recv on a local datagram socket waits although its peer has closed",
     [](trial& t) {
       const auto [a, b] = t.local(SOCK_DGRAM);
       t.reset(b);
       t.limit(a, SO_RCVTIMEO);
       t.recv(a, 8);
     }},
    {"recv on UDP: the port is refused while it waits",
     [](trial& t) {
       const auto [a, b] = t.udp();
       t.meanwhile([a, b] { trial::reset(b), trial::put(a, "x"); });
       t.recv(a, 8);
     }},
    {"recv on UDP: the port was refused; the next call waits",
     [](trial& t) {
       const int a = refused(t, false);
       t.recv(a, 8);
       t.limit(a, SO_RCVTIMEO);
       t.recv(a, 8);
     }},
    {"send on UDP: the port was refused; the next one is sent",
     [](trial& t) {
       const int a = refused(t, false);
       t.send(a, "x");
     }},
    {"recv waits beside a message in the error queue",
     [](trial& t) {
       const int a = refused(t, true);
       t.recv(a, 8);
       t.meanwhile([a] {
         const int b = ::socket(AF_INET, SOCK_DGRAM, 0);
         sockaddr_in from{};
         socklen_t size = sizeof from;
         (void)::getpeername(a, reinterpret_cast<sockaddr*>(&from), &size);
         (void)::bind(b, reinterpret_cast<const sockaddr*>(&from), size);
         (void)trial::connect_to(b, trial::name_of(a));
         trial::put(b, "abc");
         ::close(b);
       });
       t.recv(a, 8);
     }},
    {"recv beside a message in the error queue ends at SO_RCVTIMEO",
     [](trial& t) {
       const int a = refused(t, true);
       t.recv(a, 8);
       t.limit(a, SO_RCVTIMEO);
       t.recv(a, 8);
     }},
    {"recvmsg with MSG_ERRQUEUE never waits",
     [](trial& t) {
       const auto [a, b] = t.udp();
       t.set(a, IPPROTO_IP, IP_RECVERR, 1);
       t.recvmsg(a, 8, MSG_ERRQUEUE, 256);
     }},
    {"recvmsg with MSG_ERRQUEUE never waits on TCP",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.recvmsg(a, 8, MSG_ERRQUEUE, 256);
     }},
    {"recvmsg with MSG_ERRQUEUE waits on a local socket, which has no error queue",
     [](trial& t) {
       const auto [a, b] = t.local(SOCK_DGRAM);
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.recvmsg(a, 8, MSG_ERRQUEUE, 64);
     }},
    {"recv with MSG_OOB waits on UDP, which has no urgent data",
     [](trial& t) {
       const auto [a, b] = t.udp();
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.recv(a, 8, MSG_OOB);
     }},
    {"recvmsg with MSG_ERRQUEUE returns the message that came back",
     [](trial& t) {
       const int a = refused(t, true);
       t.recvmsg(a, 8, MSG_ERRQUEUE, 256);
       t.recvmsg(a, 8, MSG_ERRQUEUE, 256);
     }},

    // ---- packets
    {"recv: a packet that arrives while it waits",
     [](trial& t) {
       const auto [a, b] = t.local(SOCK_SEQPACKET);
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.recv(a, 8);
     }},
    {"recv truncates a packet",
     [](trial& t) {
       const auto [a, b] = t.local(SOCK_SEQPACKET);
       t.put(b, "abcdef"), t.put(b, "ghi");
       t.recv(a, 2);
       t.recv(a, 8);
     }},
    {"recv with MSG_TRUNC returns the size of a packet",
     [](trial& t) {
       const auto [a, b] = t.local(SOCK_SEQPACKET);
       t.put(b, "abcdef");
       t.recv(a, 2, MSG_TRUNC);
     }},
    {"recv with MSG_WAITALL takes one packet",
     [](trial& t) {
       const auto [a, b] = t.local(SOCK_SEQPACKET);
       t.put(b, "abc"), t.put(b, "def");
       t.recv(a, 8, MSG_WAITALL);
     }},
    {"recv: the peer of packets closes while it waits",
     [](trial& t) {
       const auto [a, b] = t.local(SOCK_SEQPACKET);
       t.meanwhile([b] { trial::reset(b); });
       t.recv(a, 8);
     }},
    {"recv: another thread shuts a SEQPACKET socket down while it waits",
     [](trial& t) {
       const auto [a, b] = t.local(SOCK_SEQPACKET);
       t.meanwhile([a] { ::shutdown(a, SHUT_RD); });
       t.recv(a, 8);
     }},
    {"recv of 0 bytes takes a packet",
     [](trial& t) {
       const auto [a, b] = t.local(SOCK_SEQPACKET);
       t.put(b, "abc"), t.put(b, "def");
       t.recv(a, 0);
       t.recv(a, 8);
     }},

    // ---- recvmsg
    {"recvmsg with several buffers, after a wait",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.meanwhile([b] { trial::put(b, "abcd"); });
       t.recvmsg(a, 8);
     }},
    {"recvmsg reports the sender of a datagram, after a wait",
     [](trial& t) {
       const auto [a, b] = t.udp();
       t.meanwhile([b] { trial::put(b, "abcd"); });
       t.recvmsg(a, 8);
     }},
    {"recvmsg marks a datagram that is truncated",
     [](trial& t) {
       const auto [a, b] = t.udp();
       t.meanwhile([b] { trial::put(b, "abcdef"); });
       t.recvmsg(a, 4);
     }},
    {"recvmsg with MSG_TRUNC marks a packet that is truncated, and returns its size",
     [](trial& t) {
       const auto [a, b] = t.local(SOCK_SEQPACKET);
       t.meanwhile([b] { trial::put(b, "abcdef"); });
       t.recvmsg(a, 4, MSG_TRUNC);
     }},
    {"recvmsg marks the end of a packet",
     [](trial& t) {
       const auto [a, b] = t.local(SOCK_SEQPACKET);
       t.put(b, "abc", MSG_EOR);
       t.recvmsg(a, 8);
     }},
    {"recvmsg changes nothing if it fails",
     [](trial& t) {
       const auto [a, b] = t.udp();
       t.limit(a, SO_RCVTIMEO);
       t.recvmsg(a, 8, 0, 128);
     }},
    {"recvmsg: a descriptor arrives while it waits",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.meanwhile([b] { put_descriptor(b, "abc", b); });
       t.recvmsg(a, 8, 0, 64);
     }},
    {"recvmsg: a descriptor with MSG_CMSG_CLOEXEC",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.meanwhile([b] { put_descriptor(b, "abc", b); });
       t.recvmsg(a, 8, MSG_CMSG_CLOEXEC, 64);
     }},
    {"recvmsg: a descriptor without space for it",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.meanwhile([b] { put_descriptor(b, "abc", b); });
       t.recvmsg(a, 8);
     }},
    {"recvmsg: space for a part of the control data",
     [](trial& t) {
       const auto [a, b] = t.local(SOCK_DGRAM);
       put_descriptor(b, "abc", b);
       t.recvmsg(a, 8, 0, 12);
     }},
    {"recvmsg with MSG_WAITALL stops after the bytes of a descriptor",
     [](trial& t) {
       const auto [a, b] = t.local();
       put_descriptor(b, "abc", b);
       t.limit(a, SO_RCVTIMEO, 10s);
       t.recvmsg(a, 8, MSG_WAITALL, 64);
     }},
    {"recvmsg with MSG_WAITALL: a descriptor arrives with the rest",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.put(b, "abc");
       t.meanwhile([b] { put_descriptor(b, "de", b); });
       t.recvmsg(a, 8, MSG_WAITALL, 64);
     }},
    {"recv with MSG_WAITALL stops after the bytes of a descriptor",
     [](trial& t) {
       const auto [a, b] = t.local();
       put_descriptor(b, "abc", b);
       t.limit(a, SO_RCVTIMEO, 10s);
       t.recv(a, 8, MSG_WAITALL);
     }},
    {"recvmsg with SO_PASSCRED, after a wait",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.set(a, SOL_SOCKET, SO_PASSCRED, 1);
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.recvmsg(a, 8, 0, 64);
     }},
    {"recvmsg with SO_PASSCRED and MSG_WAITALL",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.set(a, SOL_SOCKET, SO_PASSCRED, 1);
       t.put(b, "abc");
       t.meanwhile([b] { trial::put(b, "def"); });
       t.recvmsg(a, 6, MSG_WAITALL, 64);
     }},
    {"recvmsg with SO_TIMESTAMP, after a wait",
     [](trial& t) {
       const auto [a, b] = t.udp();
       t.set(a, SOL_SOCKET, SO_TIMESTAMP, 1);
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.recvmsg(a, 8, 0, 128);
     }},
    {"recvmsg with IP_PKTINFO, after a wait",
     [](trial& t) {
       const auto [a, b] = t.udp();
       t.set(a, IPPROTO_IP, IP_PKTINFO, 1);
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.recvmsg(a, 8, 0, 128);
     }},
    {"recvmsg with MSG_WAITALL with several buffers, and the peer finishes early",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.put(b, "a");
       t.meanwhile([b] { trial::put(b, "bcd"), ::shutdown(b, SHUT_WR); });
       t.recvmsg(a, 8, MSG_WAITALL);
     }},
    {"recvmsg with MSG_WAITALL and MSG_PEEK with several buffers",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.put(b, "a");
       t.meanwhile([b] { trial::put(b, "bcd"); });
       t.recvmsg(a, 4, MSG_WAITALL | MSG_PEEK);
       t.recv(a, 8);
     }},
    {"recvmsg without a message",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.call("recvmsg", [a] { return ::recvmsg(a, nullptr, 0); });
       t.call("recvmsg", [a] { return ::recvmsg(a, nowhere<msghdr>(), 0); });
     }},
    {"recvmsg with a bad list of buffers",
     [](trial& t) {
       const auto [a, b] = t.local();
       msghdr m{};
       m.msg_iov = nowhere<iovec>(), m.msg_iovlen = 2;
       t.call("recvmsg", [&] { return ::recvmsg(a, &m, MSG_WAITALL); });
     }},
    {"recvmsg with too many buffers",
     [](trial& t) {
       const auto [a, b] = t.local();
       std::vector<iovec> pieces(1025);
       msghdr m{};
       m.msg_iov = pieces.data(), m.msg_iovlen = pieces.size();
       t.call("recvmsg", [&] { return ::recvmsg(a, &m, 0); });
     }},
    {"recvmsg without buffers takes a datagram",
     [](trial& t) {
       const auto [a, b] = t.udp();
       t.put(b, "abc");
       msghdr m{};
       t.call("recvmsg", [&] { return ::recvmsg(a, &m, 0); });
       t.note("%#x", static_cast<unsigned>(m.msg_flags));
     }},
    {"recvmsg on a bad descriptor", [](trial& t) { t.recvmsg(-1, 8); }},

    // ---- send
    {"send", [](trial& t) {
       const auto [a, b] = t.tcp();
       t.send(a, "abc");
       t.recv(b, 8);
     }},
    {"send of 0 bytes to a stream",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.send(a, "");
       t.send(t.local().a, "");
     }},
    {"send of 0 bytes to a full stream",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       fill(a);
       t.limit(a, SO_SNDTIMEO);
       t.send(a, "");
     }},
    {"send of an empty datagram",
     [](trial& t) {
       const auto [a, b] = t.udp();
       t.send(a, "");
       t.recv(b, 8);
     }},
    {"send waits for room, and sends all",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.meanwhile([b] { drain(b, static_cast<long>(large().size())); });
       t.send(a, large());
     }},
    {"send on TCP waits for room, and sends all",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.meanwhile([b] { drain(b, static_cast<long>(large().size())); });
       t.send(a, large());
     }},
    {"writev on TCP waits for room, and sends all",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       char* const data = const_cast<char*>(large().data());
       const iovec pieces[] = {{data, 7}, {data, 0}, {data + 7, large().size() - 7}};
       t.meanwhile([b] { drain(b, static_cast<long>(large().size())); });
       t.call("writev", [&] { return ::writev(a, pieces, 3); });
     }},
    {"send waits for room for a packet",
     [](trial& t) {
       const auto [a, b] = t.local(SOCK_SEQPACKET);
       fill(a);
       t.meanwhile([b] {
         char data[8];
         while (::recv(b, data, sizeof data, MSG_DONTWAIT) > 0) {
         }
       });
       t.send(a, "abc");
     }},
    {"send to a connected local datagram socket waits for room",
     [](trial& t) {
       const auto [a, b] = t.local(SOCK_DGRAM);
       fill(a);
       t.meanwhile([b] {
         char data[8];
         while (::recv(b, data, sizeof data, MSG_DONTWAIT) >= 0) {
         }
       });
       t.send(a, "abc");
     }},
    {"sendto a local datagram socket to which it is not connected waits for room",
     [](trial& t) {
       const local_listener to(t, 0, SOCK_DGRAM);
       const int a = t.socket(AF_UNIX, SOCK_DGRAM);
       while (::sendto(a, "x", 1, MSG_DONTWAIT, to.any(), to.size) > 0) {
       }
       t.meanwhile([fd = to.fd] {
         char data[8];
         while (::recv(fd, data, sizeof data, MSG_DONTWAIT) >= 0) {
         }
       });
       t.call("sendto", [&] { return ::sendto(a, "abc", 3, 0, to.any(), to.size); });
     }},
    {"send ends at SO_SNDTIMEO",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.limit(a, SO_SNDTIMEO);
       fill(a);
       t.call_lasting(20ms, "send", [a] { return ::send(a, large().data(), 4096, 0); });
     }},
    {"send on TCP ends at SO_SNDTIMEO",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.limit(a, SO_SNDTIMEO);
       fill(a);
       t.call_lasting(20ms, "send", [a] { return ::send(a, large().data(), 4096, 0); });
     }},
    {"send ends at SO_SNDTIMEO with the number of bytes sent",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.limit(a, SO_SNDTIMEO);
       t.send(a, large());
     }},
    {"send with MSG_DONTWAIT to a full socket",
     [](trial& t) {
       const auto [a, b] = t.local();
       fill(a);
       t.send(a, "abc", MSG_DONTWAIT);
     }},
    {"send on a full socket with O_NONBLOCK",
     [](trial& t) {
       const auto [a, b] = t.local();
       fill(a), nonblocking(a);
       t.send(a, "abc");
     }},
    {"send of much with O_NONBLOCK sends a part",
     [](trial& t) {
       const auto [a, b] = t.local();
       nonblocking(a);
       t.send(a, large());
     }},
    {"send: the peer closes while it waits for room",
     [](trial& t) {
       const auto [a, b] = t.local();
       fill(a);
       t.meanwhile([b] { trial::reset(b); });
       t.send(a, "abc");
       t.send(a, "abc");
     }},
    {"send: the peer closes after a part is sent",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.meanwhile([b] { trial::reset(b); });
       t.send(a, large());
       t.send(a, "abc");
       t.send(a, "abc");
     }},
    {"send on TCP: the peer resets while it waits for room",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       fill(a);
       t.meanwhile([b] { trial::reset(b); });
       t.send(a, "abc");
       t.send(a, "abc");
     }},
    {"send on TCP: the peer resets after a part is sent",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.meanwhile([b] { trial::reset(b); });
       t.call("a part was sent", [a] {
         const long n = ::send(a, large().data(), large().size(), 0);
         return n > 0 && n < static_cast<long>(large().size());
       });
       t.send(a, "abc");
       t.send(a, "abc");
     }},
    {"send: another thread shuts the socket down while it waits for room",
     [](trial& t) {
       const auto [a, b] = t.local();
       fill(a);
       t.meanwhile([a] { ::shutdown(a, SHUT_WR); });
       t.send(a, "abc");
     }},
    {"send on TCP: another thread shuts the socket down while it waits for room",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       fill(a);
       t.meanwhile([a] { ::shutdown(a, SHUT_WR); });
       t.send(a, "abc");
     }},
    {"send after shutdown(SHUT_WR)",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       ::shutdown(a, SHUT_WR);
       t.send(a, "abc");
     }},
    {"send after shutdown(SHUT_WR) raises SIGPIPE unless MSG_NOSIGNAL is set",
     [](trial& t) {
       const auto [a, b] = t.local();
       ::shutdown(a, SHUT_WR);
       sigset_t broken, pending;
       sigemptyset(&broken);
       sigaddset(&broken, SIGPIPE);
       ::pthread_sigmask(SIG_BLOCK, &broken, nullptr);
       for (int flags : {int{MSG_NOSIGNAL}, 0}) {
         t.send(a, "abc", flags);
         ::sigpending(&pending);
         t.note("SIGPIPE %d", sigismember(&pending, SIGPIPE));
       }
       const timespec none{};
       ::sigtimedwait(&broken, nullptr, &none);
       ::pthread_sigmask(SIG_UNBLOCK, &broken, nullptr);
     }},
    {"send to a peer that has closed",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.reset(b);
       t.send(a, "abc");
     }},
    {"send to a datagram peer that has closed",
     [](trial& t) {
       const auto [a, b] = t.local(SOCK_DGRAM);
       t.reset(b);
       t.send(a, "abc");
       t.send(a, "abc");
     }},
    {"send on a TCP socket that is not connected",
     [](trial& t) { t.send(t.socket(AF_INET, SOCK_STREAM), "abc"); }},
    {"send on a local stream that is not connected",
     [](trial& t) { t.send(t.socket(AF_UNIX, SOCK_STREAM), "abc"); }},
    {"send on UDP that is not connected",
     [](trial& t) { t.send(t.socket(AF_INET, SOCK_DGRAM), "abc"); }},
    {"send on a listener", [](trial& t) { t.send(t.listener(), "abc"); }},
    {"send on a bad descriptor", [](trial& t) { t.send(-1, "abc"); }},
    {"send on a pipe", [](trial& t) { t.send(t.pipe().b, "abc"); }},
    {"send from a bad pointer",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.call("send", [a] { return ::send(a, nowhere(), 8, MSG_NOSIGNAL); });
     }},
    {"send of a datagram that is too large",
     [](trial& t) {
       t.send(t.udp().a, large());
       t.send(t.local(SOCK_DGRAM).a, large());
     }},
    {"send with MSG_OOB on a socket without urgent data",
     [](trial& t) {
       t.send(t.udp().a, "abc", MSG_OOB);
       t.send(t.local(SOCK_SEQPACKET).a, "abc", MSG_OOB | MSG_NOSIGNAL);
     }},
    {"sendto a stream that is connected",
     [](trial& t) {
       const auto [a, b] = t.local();
       const sockaddr_in to = t.nothing_there();
       const auto* const any = reinterpret_cast<const sockaddr*>(&to);
       t.call("sendto", [&] { return ::sendto(a, "abc", 3, 0, any, sizeof to); });
     }},
    {"sendto with a short name, and with one of another family",
     [](trial& t) {
       const int a = t.bound(SOCK_DGRAM);
       sockaddr_in to = t.name_of(a);
       const auto* const any = reinterpret_cast<const sockaddr*>(&to);
       t.call("sendto", [&] { return ::sendto(a, "abc", 3, 0, any, 4); });
       to.sin_family = AF_INET6;
       t.call("sendto", [&] { return ::sendto(a, "abc", 3, 0, any, sizeof to); });
       t.call("sendto", [&] { return ::sendto(a, "abc", 3, 0, nowhere<sockaddr>(), sizeof to); });
     }},
    {"sendmsg without a message",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.call("sendmsg", [a] { return ::sendmsg(a, nullptr, 0); });
       t.call("sendmsg", [a] { return ::sendmsg(a, nowhere<msghdr>(), 0); });
     }},
    {"sendmsg with a bad list, with too many buffers, with none",
     [](trial& t) {
       const auto [a, b] = t.local();
       msghdr m{};
       m.msg_iov = nowhere<iovec>(), m.msg_iovlen = 2;
       t.call("sendmsg", [&] { return ::sendmsg(a, &m, 0); });
       std::vector<iovec> pieces(1025);
       m.msg_iov = pieces.data(), m.msg_iovlen = pieces.size();
       t.call("sendmsg", [&] { return ::sendmsg(a, &m, 0); });
       m.msg_iovlen = 0;
       t.call("sendmsg", [&] { return ::sendmsg(a, &m, 0); });
     }},
    {"sendmsg with invalid control data",
     [](trial& t) {
       const auto [a, b] = t.local();
       char byte = 'x', control[4] = {};
       iovec piece{&byte, 1};
       msghdr m{};
       m.msg_iov = &piece, m.msg_iovlen = 1, m.msg_control = control, m.msg_controllen = 4;
       t.call("sendmsg", [&] { return ::sendmsg(a, &m, 0); });
       t.limit(b, SO_RCVTIMEO);
       t.recv(b, 8);
     }},
    {"sendmsg: a descriptor goes once with a large message",
     [](trial& t) {
       const auto [a, b] = t.local();
       int taken = -1;
       t.meanwhile([&taken, b] {
         std::vector<char> data(large().size());
         alignas(cmsghdr) char control[64];
         iovec piece{data.data(), data.size()};
         msghdr m{};
         m.msg_iov = &piece, m.msg_iovlen = 1, m.msg_control = control, m.msg_controllen = 64;
         long all = ::recvmsg(b, &m, 0);
         if (const cmsghdr* c = CMSG_FIRSTHDR(&m)) std::memcpy(&taken, CMSG_DATA(c), sizeof taken);
         all += drain(b, static_cast<long>(large().size()) - all);
       });
       alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
       iovec piece{const_cast<char*>(large().data()), large().size()};
       msghdr m{};
       m.msg_iov = &piece, m.msg_iovlen = 1, m.msg_control = control, m.msg_controllen = sizeof control;
       cmsghdr* const c = CMSG_FIRSTHDR(&m);
       c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof(int));
       std::memcpy(CMSG_DATA(c), &b, sizeof b);
       t.call("sendmsg", [&] { return ::sendmsg(a, &m, 0); });
       t.keep(taken);
     }},
    {"sendto with MSG_FASTOPEN connects and sends",
     [](trial& t) {
       const int l = t.listener(), a = t.socket(AF_INET, SOCK_STREAM);
       const sockaddr_in to = t.name_of(l);
       const auto* const any = reinterpret_cast<const sockaddr*>(&to);
       t.call("sendto", [&] { return ::sendto(a, "abc", 3, MSG_FASTOPEN, any, sizeof to); });
       t.recv(t.accept(l), 8);
     }},
    {"sendto with MSG_FASTOPEN: much is sent",
     [](trial& t) {
       const int l = t.listener(), a = t.socket(AF_INET, SOCK_STREAM);
       const sockaddr_in to = t.name_of(l);
       const auto* const any = reinterpret_cast<const sockaddr*>(&to);
       t.meanwhile([l] {
         const int s = ::accept(l, nullptr, nullptr);
         drain(s, static_cast<long>(large().size()));
         ::close(s);
       });
       t.call("sendto", [&] {
         return ::sendto(a, large().data(), large().size(), MSG_FASTOPEN, any, sizeof to);
       });
     }},
    {"sendto with MSG_FASTOPEN: without a listener",
     [](trial& t) {
       const int a = t.socket(AF_INET, SOCK_STREAM);
       const sockaddr_in to = t.nothing_there();
       const auto* const any = reinterpret_cast<const sockaddr*>(&to);
       t.call("sendto", [&] {
         return ::sendto(a, "abc", 3, MSG_FASTOPEN | MSG_NOSIGNAL, any, sizeof to);
       });
     }},
    {"sendto with MSG_FASTOPEN ends at SO_SNDTIMEO",
     [](trial& t) {
       const sockaddr_in to = full(t);
       const int a = t.socket(AF_INET, SOCK_STREAM);
       t.limit(a, SO_SNDTIMEO);
       const auto* const any = reinterpret_cast<const sockaddr*>(&to);
       t.call("sendto", [&] { return ::sendto(a, "abc", 3, MSG_FASTOPEN, any, sizeof to); });
     }},
    {"sendto with MSG_FASTOPEN on a non-blocking socket",
     [](trial& t) {
       const sockaddr_in to = full(t);
       const int a = t.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
       const auto* const any = reinterpret_cast<const sockaddr*>(&to);
       t.call("sendto", [&] { return ::sendto(a, "abc", 3, MSG_FASTOPEN, any, sizeof to); });
     }},
    {"sendto with MSG_FASTOPEN on a connected socket, and without a name",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       const sockaddr_in to = t.name_of(b);
       const auto* const any = reinterpret_cast<const sockaddr*>(&to);
       t.call("sendto", [&] { return ::sendto(a, "abc", 3, MSG_FASTOPEN, any, sizeof to); });
       t.send(t.socket(AF_INET, SOCK_STREAM), "abc", MSG_FASTOPEN | MSG_NOSIGNAL);
     }},

    // ---- connect
    {"connect", [](trial& t) {
       const int l = t.listener();
       t.connect(t.socket(AF_INET, SOCK_STREAM), t.name_of(l));
     }},
    {"connect: without a listener, then with one",
     [](trial& t) {
       const int a = t.socket(AF_INET, SOCK_STREAM);
       t.connect(a, t.nothing_there());
       t.connect(a, t.name_of(t.listener()));
     }},
    {"connect on a connected socket",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.connect(a, t.name_of(b));
     }},
    {"connect with O_NONBLOCK is in progress, then already, then done",
     [](trial& t) {
       const sockaddr_in to = full(t);
       const int a = t.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
       t.connect(a, to);
       t.connect(a, to);
     }},
    {"connect with O_NONBLOCK that is refused",
     [](trial& t) {
       const int a = t.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
       const sockaddr_in to = t.nothing_there();
       t.connect(a, to);
       t.poll({{a, POLLOUT, 0}}, -1);
       t.connect(a, to);
     }},
    {"connect waits for one that is in progress, until SO_SNDTIMEO",
     [](trial& t) {
       const sockaddr_in to = full(t);
       const int a = t.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
       (void)t.connect_to(a, to);
       t.limit(a, SO_SNDTIMEO);
       (void)::fcntl(a, F_SETFL, 0);
       t.connect(a, to);
     }},
    {"connect ends at SO_SNDTIMEO",
     [](trial& t) {
       const sockaddr_in to = full(t);
       const int a = t.socket(AF_INET, SOCK_STREAM);
       t.limit(a, SO_SNDTIMEO);
       t.call_lasting(20ms, "connect", [&] { return t.connect_to(a, to); });
       t.note("flags %d", ::fcntl(a, F_GETFL));
     }},
    {"connect: another thread shuts the socket down while it waits",
     [](trial& t) {
       const sockaddr_in to = full(t);
       const int a = t.socket(AF_INET, SOCK_STREAM);
       t.meanwhile([a] { ::shutdown(a, SHUT_RDWR); });
       t.connect(a, to);
     }},
    {"connect on UDP, and without a family",
     [](trial& t) {
       const int a = t.socket(AF_INET, SOCK_DGRAM);
       sockaddr_in to = t.name_of(t.bound(SOCK_DGRAM));
       t.connect(a, to);
       to.sin_family = AF_UNSPEC;
       t.connect(a, to);
       t.send(a, "abc");
     }},
    {"connect without a family ends a TCP connection",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       sockaddr_in to{};
       t.connect(a, to);
       t.recv(b, 8);
     }},
    {"connect on a listener",
     [](trial& t) {
       const int l = t.listener();
       t.connect(l, t.name_of(l));
     }},
    {"connect: calls that are refused at once",
     [](trial& t) {
       sockaddr_in to = t.name_of(t.listener());
       t.connect(-1, to);
       t.connect(t.pipe().a, to);
       const int a = t.socket(AF_INET, SOCK_STREAM);
       const auto* const any = reinterpret_cast<const sockaddr*>(&to);
       t.call("short", [&] { return ::connect(a, any, 4); });
       t.call("negative", [&] { return ::connect(a, any, static_cast<socklen_t>(-1)); });
       t.call("bad pointer", [&] { return ::connect(a, nowhere<sockaddr>(), sizeof to); });
       to.sin_family = AF_INET6;
       t.connect(a, to);
     }},
    {"connect to a path without a file",
     [](trial& t) {
       const int a = t.socket(AF_UNIX, SOCK_STREAM);
       t.call("connect", [&] { return connect_path(a, "/proc/self/nothing"); });
       t.call("connect", [&] { return connect_path(a, "/proc/self/exe"); });
     }},
    {"connect to a local socket of another type",
     [](trial& t) {
       const local_listener to(t, 1);
       const int a = t.socket(AF_UNIX, SOCK_DGRAM);
       t.call("connect", [&] { return ::connect(a, to.any(), to.size); });
     }},
    {"connect to a local listener, twice",
     [](trial& t) {
       const local_listener to(t, 1);
       const int a = t.socket(AF_UNIX, SOCK_STREAM);
       t.call("connect", [&] { return ::connect(a, to.any(), to.size); });
       t.call("connect", [&] { return ::connect(a, to.any(), to.size); });
     }},
    {"connect to a local listener with a full queue waits",
     [](trial& t) {
       const local_listener to(t, 0);
       const int a = t.socket(AF_UNIX, SOCK_STREAM), b = t.socket(AF_UNIX, SOCK_STREAM);
       (void)::connect(a, to.any(), to.size);
       t.meanwhile([fd = to.fd] { ::close(::accept(fd, nullptr, nullptr)); });
       t.call("connect", [&] { return ::connect(b, to.any(), to.size); });
     }},
    {"connect to a local listener with a full queue, with limits",
     [](trial& t) {
       const local_listener to(t, 0);
       const int a = t.socket(AF_UNIX, SOCK_STREAM), b = t.socket(AF_UNIX, SOCK_STREAM);
       (void)::connect(a, to.any(), to.size);
       t.limit(b, SO_SNDTIMEO);
       t.call_lasting(20ms, "connect", [&] { return ::connect(b, to.any(), to.size); });
       nonblocking(b);
       t.call("connect", [&] { return ::connect(b, to.any(), to.size); });
     }},
    {"connect to a local listener that closes while it waits",
     [](trial& t) {
       const local_listener to(t, 0);
       const int a = t.socket(AF_UNIX, SOCK_STREAM), b = t.socket(AF_UNIX, SOCK_STREAM);
       (void)::connect(a, to.any(), to.size);
       t.meanwhile([fd = to.fd] { trial::reset(fd); });
       t.call("connect", [&] { return ::connect(b, to.any(), to.size); });
     }},

    // ---- accept
    {"accept: a connection that arrives while it waits",
     [](trial& t) {
       const int l = t.listener(), a = t.socket(AF_INET, SOCK_STREAM);
       t.meanwhile([a, to = t.name_of(l)] { (void)trial::connect_to(a, to); });
       const int s = t.accept(l);
       t.note("flags %d %d", ::fcntl(s, F_GETFL), ::fcntl(s, F_GETFD));
     }},
    {"accept4 with flags",
     [](trial& t) {
       const int l = t.listener(), a = t.socket(AF_INET, SOCK_STREAM);
       t.meanwhile([a, to = t.name_of(l)] { (void)trial::connect_to(a, to); });
       const int s = t.accept(l, SOCK_NONBLOCK | SOCK_CLOEXEC);
       t.note("flags %d %d", ::fcntl(s, F_GETFL), ::fcntl(s, F_GETFD));
       t.recv(s, 8);
     }},
    {"accept4 with unknown flags is refused at once",
     [](trial& t) {
       const int l = t.listener();
       t.limit(l, SO_RCVTIMEO);
       t.accept(l, 1 << 20);
     }},
    {"accept on a local listener",
     [](trial& t) {
       const local_listener to(t, 1);
       const int a = t.socket(AF_UNIX, SOCK_STREAM);
       t.meanwhile([a, &to] { (void)::connect(a, to.any(), to.size); });
       t.accept(to.fd);
     }},
    {"accept ends at SO_RCVTIMEO",
     [](trial& t) {
       const int l = t.listener();
       t.limit(l, SO_RCVTIMEO);
       t.call_lasting(20ms, "accept", [&] { return ::accept(l, nullptr, nullptr); });
     }},
    {"accept on a non-blocking listener",
     [](trial& t) {
       const int l = t.listener();
       nonblocking(l);
       t.accept(l);
     }},
    {"accept: another thread shuts the listener down while it waits",
     [](trial& t) {
       const int l = t.listener();
       t.meanwhile([l] { ::shutdown(l, SHUT_RD); });
       t.accept(l);
       t.accept(l);
     }},
    {"accept: another thread shuts a local listener down while it waits",
     [](trial& t) {
       const local_listener to(t, 1);
       t.meanwhile([fd = to.fd] { ::shutdown(fd, SHUT_RDWR); });
       t.accept(to.fd);
     }},
    {"accept: calls that are refused at once",
     [](trial& t) {
       t.accept(-1);
       t.accept(t.pipe().a);
       t.accept(t.socket(AF_INET, SOCK_STREAM));
       t.accept(t.tcp().a);
       t.accept(t.bound(SOCK_DGRAM));
       t.accept(t.local(SOCK_SEQPACKET).a);
     }},
    {"accept with bad pointers",
     [](trial& t) {
       const int l = t.listener();
       sockaddr_in from{};
       auto* const any = reinterpret_cast<sockaddr*>(&from);
       socklen_t size = static_cast<socklen_t>(-1);
       for (int i = 0; i != 3; ++i) (void)t.connect_to(t.socket(AF_INET, SOCK_STREAM), t.name_of(l));
       t.call("accept", [&] { return ::accept(l, any, nullptr); });
       t.call("accept", [&] { return ::accept(l, any, nowhere<socklen_t>()); });
       t.call("accept", [&] { return ::accept(l, any, &size); });
     }},
    {"accept returns the part of a name that fits",
     [](trial& t) {
       const int l = t.listener();
       (void)t.connect_to(t.socket(AF_INET, SOCK_STREAM), t.name_of(l));
       sockaddr_in from{};
       socklen_t size = 2;
       const int s = ::accept(l, reinterpret_cast<sockaddr*>(&from), &size);
       t.keep(s);
       t.note("name of %u, family %d, port %d", size, from.sin_family, from.sin_port);
     }},

    // ---- poll
    {"poll: bytes that arrive while it waits",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.poll({{a, POLLIN, 0}}, -1);
     }},
    {"poll: what is ready at once",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.poll({{a, POLLIN | POLLOUT, 0}, {b, POLLIN, 0}, {-1, POLLIN, 0}}, -1);
     }},
    {"poll without waiting and until its timeout",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.poll({{a, POLLIN, 0}}, 0);
       t.call_lasting(20ms, "poll", [a] {
         pollfd p{a, POLLIN, 0};
         return ::poll(&p, 1, 20);
       });
     }},
    {"poll with any negative timeout waits forever",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.poll({{a, POLLIN, 0}}, -77);
     }},
    {"poll without files is a sleep",
     [](trial& t) {
       t.call_lasting(5ms, "poll", [] { return ::poll(nullptr, 0, 5); });
       t.call_lasting(5ms, "poll", [] { return ::poll(nowhere<pollfd>(), 0, 5); });
     }},
    {"poll of negative descriptors waits",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.poll({{-1, POLLIN, 7}, {-5, POLLOUT, 7}, {a, POLLIN, 7}}, -1);
     }},
    {"poll of a descriptor that is not open",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.poll({{98765, POLLIN, 0}, {a, POLLIN, 0}}, -1);
     }},
    {"poll from a bad pointer, and of too many files",
     [](trial& t) {
       t.call("poll", [] { return ::poll(nowhere<pollfd>(), 2, -1); });
       t.call("poll", [] { return ::poll(nowhere<pollfd>(), nfds_t{1} << 30, -1); });
     }},
    {"poll without events reports the end of both directions",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.meanwhile([b] { trial::reset(b); });
       t.poll({{a, 0, 0}}, -1);
     }},
    {"poll reports a reset",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.meanwhile([b] { trial::reset(b); });
       t.poll({{a, POLLIN | POLLRDHUP, 0}}, -1);
       t.recv(a, 8);
       t.poll({{a, POLLIN | POLLRDHUP, 0}}, -1);
     }},
    {"poll with POLLRDHUP reports the peer's end",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.meanwhile([b] { ::shutdown(b, SHUT_WR); });
       t.poll({{a, POLLRDHUP, 0}}, -1);
     }},
    {"poll with POLLPRI waits for the urgent byte",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.meanwhile([b] { trial::put(b, "abc"), trial::put(b, "!", MSG_OOB); });
       t.poll({{a, POLLPRI, 0}}, -1);
     }},
    {"poll reports a message in the error queue",
     [](trial& t) {
       const int a = refused(t, true);
       t.recv(a, 8);
       t.poll({{a, POLLIN, 0}}, -1);
     }},
    {"poll with SO_RCVLOWAT on TCP waits for more",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.set(a, SOL_SOCKET, SO_RCVLOWAT, 5);
       t.put(b, "abc");
       t.meanwhile([b] { trial::put(b, "def"); });
       t.poll({{a, POLLIN, 0}}, -1);
     }},
    {"poll of a socket that is not connected",
     [](trial& t) {
       t.poll({{t.socket(AF_INET, SOCK_STREAM), POLLIN | POLLOUT, 0}}, -1);
       t.poll({{t.socket(AF_UNIX, SOCK_STREAM), POLLIN | POLLOUT, 0}}, -1);
     }},
    {"poll of a listener",
     [](trial& t) {
       const int l = t.listener(), a = t.socket(AF_INET, SOCK_STREAM);
       t.meanwhile([a, to = t.name_of(l)] { (void)trial::connect_to(a, to); });
       t.poll({{l, POLLIN, 0}}, -1);
     }},
    {"poll of one file that is listed twice",
     [](trial& t) {
       const auto [a, b] = t.local();
       fill(a);
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.poll({{a, POLLOUT, 0}, {a, POLLIN, 0}}, -1);
     }},
    {"poll of a file and its duplicate",
     [](trial& t) {
       const auto [a, b] = t.local();
       const int twin = t.keep(::dup(a));
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.poll({{twin, POLLIN, 0}, {a, POLLIN, 0}}, -1);
     }},
    {"poll of a regular file, of a pipe without a reader, of an eventfd",
     [](trial& t) {
       t.poll({{t.keep(::open("/proc/self/exe", O_RDONLY)), POLLIN | POLLOUT, 0}}, -1);
       const auto [a, b] = t.pipe();
       t.reset(a);
       t.poll({{b, POLLOUT, 0}}, -1);
       t.poll({{t.keep(::eventfd(1, 0)), POLLIN, 0}}, -1);
     }},
    {"poll: the last writer of a pipe closes while it waits",
     [](trial& t) {
       const auto [a, b] = t.pipe();
       t.meanwhile([b] { trial::reset(b); });
       t.poll({{a, POLLIN, 0}}, -1);
     }},
    {"ppoll: its timeout, an invalid timeout, and a mask",
     [](trial& t) {
       const auto [a, b] = t.local();
       pollfd p{a, POLLIN, 0};
       timespec d{0, 5'000'000}, wrong{0, 1'000'000'000}, negative{-1, 0};
       sigset_t mask;
       sigfillset(&mask);
       t.call_lasting(5ms, "ppoll", [&] { return ::ppoll(&p, 1, &d, nullptr); });
       t.note("%ld %ld", d.tv_sec, d.tv_nsec);
       t.call("ppoll", [&] { return ::ppoll(&p, 1, &wrong, nullptr); });
       t.call("ppoll", [&] { return ::ppoll(&p, 1, &negative, nullptr); });
       t.call_lasting(5ms, "ppoll", [&] { return ::ppoll(&p, 1, &d, &mask); });
     }},
    {"ppoll with a mask: bytes that arrive while it waits",
     [](trial& t) {
       const auto [a, b] = t.local();
       pollfd p{a, POLLIN, 0};
       sigset_t mask;
       sigfillset(&mask);
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.call("ppoll", [&] { return ::ppoll(&p, 1, nullptr, &mask); });
       t.note("%#x", static_cast<unsigned>(p.revents));
     }},

    // ---- select
    {"select: bytes that arrive while it waits",
     [](trial& t) {
       const auto [a, b] = t.local();
       fd_set in = set_of({a, b}), out = set_of({});
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.call("select", [&] { return ::select(FD_SETSIZE, &in, &out, nullptr, nullptr); });
       t.note("%d %d", FD_ISSET(a, &in), FD_ISSET(b, &in));
     }},
    {"select: what is ready at once, in two sets",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.put(b, "abc");
       fd_set in = set_of({a, b}), out = set_of({a, b}), urgent = set_of({a});
       t.call("select", [&] { return ::select(FD_SETSIZE, &in, &out, &urgent, nullptr); });
       t.note("%d %d %d %d %d", FD_ISSET(a, &in), FD_ISSET(b, &in), FD_ISSET(a, &out),
              FD_ISSET(b, &out), FD_ISSET(a, &urgent));
     }},
    {"select until its timeout clears the sets, and returns the remaining time",
     [](trial& t) {
       const auto [a, b] = t.local();
       fd_set in = set_of({a});
       timeval d{0, 5000};
       t.call_lasting(5ms, "select", [&] { return ::select(a + 1, &in, nullptr, nullptr, &d); });
       t.note("%d, %ld %ld left", FD_ISSET(a, &in), d.tv_sec, d.tv_usec);
       in = set_of({a});
       t.call("select", [&] { return ::select(a + 1, &in, nullptr, nullptr, &d); });
       t.note("%d", FD_ISSET(a, &in));
     }},
    {"select: more than a second of microseconds",
     [](trial& t) {
       const auto [a, b] = t.local();
       fd_set in = set_of({a});
       timeval d{0, 30'000'000};
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.call("select", [&] { return ::select(a + 1, &in, nullptr, nullptr, &d); });
       t.note("%d, %d left", FD_ISSET(a, &in), d.tv_sec > 10);
     }},
    {"select: an invalid timeout",
     [](trial& t) {
       timeval negative{-1, 0}, wrong{0, -1};
       t.call("select", [&] { return ::select(0, nullptr, nullptr, nullptr, &negative); });
       t.call("select", [&] { return ::select(0, nullptr, nullptr, nullptr, &wrong); });
     }},
    {"select: an invalid count, and a descriptor that is not open",
     [](trial& t) {
       const int gone = ::dup(t.local().a);
       ::close(gone);
       fd_set in = set_of({gone});
       t.call("select", [&] { return ::select(-1, &in, nullptr, nullptr, nullptr); });
       t.call("select", [&] { return ::select(FD_SETSIZE, &in, nullptr, nullptr, nullptr); });
       t.note("%d", FD_ISSET(gone, &in));
     }},
    {"select without files is a sleep",
     [](trial& t) {
       timeval d{0, 5000};
       t.call_lasting(5ms, "select", [&] { return ::select(0, nullptr, nullptr, nullptr, &d); });
     }},
    {"select ignores files beyond its count",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.put(b, "abc");
       fd_set in = set_of({a});
       timeval d{0, 5000};
       t.call("select", [&] { return ::select(a, &in, nullptr, nullptr, &d); });
       t.note("%d", FD_ISSET(a, &in));
     }},
    {"select for urgent bytes waits although the peer has closed",
     [](trial& t) {
       const auto [a, b] = t.local();
       const auto [c, d] = t.local();
       t.reset(b);
       fd_set in = set_of({c}), urgent = set_of({a});
       t.meanwhile([d] { trial::put(d, "abc"); });
       t.call("select", [&] { return ::select(FD_SETSIZE, &in, nullptr, &urgent, nullptr); });
       t.note("%d %d", FD_ISSET(c, &in), FD_ISSET(a, &urgent));
     }},
    {"select for urgent bytes: one arrives while it waits",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       fd_set urgent = set_of({a});
       t.meanwhile([b] { trial::put(b, "!", MSG_OOB); });
       t.call("select", [&] { return ::select(a + 1, nullptr, nullptr, &urgent, nullptr); });
       t.note("%d", FD_ISSET(a, &urgent));
     }},
    {"select reports a reset in two sets",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       fill(a);
       fd_set in = set_of({a}), out = set_of({a});
       t.meanwhile([b] { trial::reset(b); });
       t.call("select", [&] { return ::select(a + 1, &in, &out, nullptr, nullptr); });
       t.note("%d %d", FD_ISSET(a, &in), FD_ISSET(a, &out));
     }},
    {"pselect: its timeout, an invalid timeout, and a mask",
     [](trial& t) {
       const auto [a, b] = t.local();
       fd_set in = set_of({a});
       timespec d{0, 5'000'000}, wrong{0, 1'000'000'000};
       sigset_t mask;
       sigfillset(&mask);
       t.call_lasting(5ms, "pselect",
                      [&] { return ::pselect(a + 1, &in, nullptr, nullptr, &d, &mask); });
       t.note("%d, %ld", FD_ISSET(a, &in), d.tv_nsec);
       t.call("pselect", [&] { return ::pselect(0, nullptr, nullptr, nullptr, &wrong, nullptr); });
     }},

    // ---- epoll
    {"epoll_wait: bytes that arrive while it waits",
     [](trial& t) {
       const auto [a, b] = t.local();
       const int set = epoll_of(t, a, EPOLLIN);
       t.meanwhile([b] { trial::put(b, "abc"); });
       epoll_wait(t, set, 4, -1);
       epoll_wait(t, set, 4, -1); // still there
     }},
    {"epoll_wait: reports an edge once",
     [](trial& t) {
       const auto [a, b] = t.local();
       const int set = epoll_of(t, a, EPOLLIN | static_cast<std::uint32_t>(EPOLLET));
       t.put(b, "abc");
       epoll_wait(t, set, 4, -1);
       epoll_wait(t, set, 4, 5);
       t.meanwhile([b] { trial::put(b, "def"); });
       epoll_wait(t, set, 4, -1);
     }},
    {"epoll_wait: EPOLLONESHOT",
     [](trial& t) {
       const auto [a, b] = t.local();
       const int set = epoll_of(t, a, EPOLLIN | EPOLLONESHOT);
       t.put(b, "abc");
       epoll_wait(t, set, 4, -1);
       epoll_wait(t, set, 4, 5);
     }},
    {"epoll_wait: a file that joins while it waits",
     [](trial& t) {
       const auto [a, b] = t.local();
       const int set = epoll_of(t, a, EPOLLIN);
       t.meanwhile([set, b] {
         epoll_event e{EPOLLOUT, {}};
         e.data.u64 = 9;
         (void)::epoll_ctl(set, EPOLL_CTL_ADD, b, &e);
       });
       epoll_wait(t, set, 4, -1);
     }},
    {"epoll_wait of a set within a set",
     [](trial& t) {
       const auto [a, b] = t.local();
       const int set = epoll_of(t, epoll_of(t, a, EPOLLIN), EPOLLIN);
       t.meanwhile([b] { trial::put(b, "abc"); });
       epoll_wait(t, set, 4, -1);
     }},
    {"epoll_wait: timeouts", [](trial& t) {
       const int set = epoll_of(t, t.local().a, EPOLLIN);
       epoll_wait(t, set, 4, 0);
       t.call_lasting(5ms, "epoll_wait", [set] {
         epoll_event e;
         return ::epoll_wait(set, &e, 1, 5);
       });
     }},
    {"epoll_wait with any negative timeout waits forever",
     [](trial& t) {
       const auto [a, b] = t.local();
       const int set = epoll_of(t, a, EPOLLIN);
       t.meanwhile([b] { trial::put(b, "abc"); });
       epoll_wait(t, set, 4, -77);
     }},
    {"epoll_wait: calls that are refused at once",
     [](trial& t) {
       const int set = epoll_of(t, t.local().a, EPOLLOUT);
       epoll_wait(t, set, 0, -1);
       epoll_wait(t, set, -1, -1);
       epoll_wait(t, -1, 4, -1);
       epoll_wait(t, t.pipe().a, 4, -1);
       t.call("epoll_wait", [set] { return ::epoll_wait(set, nowhere<epoll_event>(), 4, -1); });
     }},
    {"epoll_pwait with a mask: bytes that arrive while it waits",
     [](trial& t) {
       const auto [a, b] = t.local();
       const int set = epoll_of(t, a, EPOLLIN);
       sigset_t mask;
       sigfillset(&mask);
       epoll_event e{};
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.call("epoll_pwait", [&] { return ::epoll_pwait(set, &e, 1, -1, &mask); });
     }},
    {"epoll_pwait2: its timeout, and bytes that arrive while it waits",
     [](trial& t) {
       const auto [a, b] = t.local();
       const int set = epoll_of(t, a, EPOLLIN);
       epoll_event e{};
       const timespec d{0, 5'000'000}, wrong{0, 1'000'000'000};
       t.call_lasting(5ms, "epoll_pwait2",
                      [&] { return ::epoll_pwait2(set, &e, 1, &d, nullptr); });
       t.call("epoll_pwait2", [&] { return ::epoll_pwait2(set, &e, 1, &wrong, nullptr); });
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.call("epoll_pwait2", [&] { return ::epoll_pwait2(set, &e, 1, nullptr, nullptr); });
     }},

    // ---- sleep
    {"nanosleep, usleep, sleep",
     [](trial& t) {
       const timespec d{0, 5'000'000};
       timespec left{7, 7};
       t.call_lasting(5ms, "nanosleep", [&] { return ::nanosleep(&d, &left); });
       t.note("%ld %ld", left.tv_sec, left.tv_nsec);
       t.call_lasting(5ms, "usleep", [] { return ::usleep(5000); });
       t.call("usleep", [] { return ::usleep(0); });
       t.call("sleep", [] { return ::sleep(0); });
     }},
    {"nanosleep: calls that are refused at once",
     [](trial& t) {
       const timespec wrong{0, 1'000'000'000}, negative{-1, 0}, below{0, -1};
       for (const timespec* d : {&wrong, &negative, &below})
         t.call("nanosleep", [d] { return ::nanosleep(d, nullptr); });
       const timespec* volatile none = nullptr;
       t.call("nanosleep", [&] { return ::nanosleep(none, nullptr); });
     }},
    {"clock_nanosleep: for a duration, and until a time",
     [](trial& t) {
       const timespec d{0, 5'000'000};
       for (clockid_t id : {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_TAI}) {
         t.call_lasting(5ms, "for", [&] { return ::clock_nanosleep(id, 0, &d, nullptr); });
         timespec at{};
         ::clock_gettime(id, &at);
         at.tv_nsec += 5'000'000;
         if (at.tv_nsec >= 1'000'000'000) at.tv_nsec -= 1'000'000'000, ++at.tv_sec;
         t.call("until", [&] { return ::clock_nanosleep(id, TIMER_ABSTIME, &at, nullptr); });
         timespec now{};
         ::clock_gettime(id, &now);
         t.note("%d", std::pair(now.tv_sec, now.tv_nsec) >= std::pair(at.tv_sec, at.tv_nsec));
       }
     }},
    {"clock_nanosleep until a time in the past",
     [](trial& t) {
       const timespec past{1, 0};
       t.call("until", [&] {
         return ::clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &past, nullptr);
       });
     }},
    {"clock_nanosleep: calls that are refused at once",
     [](trial& t) {
       const timespec d{0, 0}, wrong{0, 1'000'000'000}, negative{-1, 0};
       t.call("clock", [&] { return ::clock_nanosleep(77, 0, &d, nullptr); });
       t.call("own thread", [&] { return ::clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &d, nullptr); });
       t.call("raw", [&] { return ::clock_nanosleep(CLOCK_MONOTONIC_RAW, 0, &d, nullptr); });
       t.call("wrong", [&] { return ::clock_nanosleep(CLOCK_REALTIME, 0, &wrong, nullptr); });
       t.call("negative", [&] {
         return ::clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &negative, nullptr);
       });
       const timespec* volatile none = nullptr;
       t.call("none", [&] { return ::clock_nanosleep(CLOCK_MONOTONIC, 0, none, nullptr); });
     }},

    // ---- names
    {"getaddrinfo: a name and a port",
     [](trial& t) {
       addrinfo hints{};
       hints.ai_family = AF_INET;
       look_up(t, "localhost", "80", hints);
       hints.ai_socktype = SOCK_STREAM;
       look_up(t, "localhost", nullptr, hints);
     }},
    {"getaddrinfo: an address",
     [](trial& t) {
       look_up(t, "127.0.0.1", "80", {});
       look_up(t, "::1", nullptr, {});
       addrinfo hints{};
       hints.ai_flags = AI_CANONNAME;
       look_up(t, "127.0.0.1", nullptr, hints);
       hints.ai_flags = AI_NUMERICHOST;
       look_up(t, "localhost", nullptr, hints);
     }},
    {"getaddrinfo: for a server",
     [](trial& t) {
       addrinfo hints{};
       hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV, hints.ai_family = AF_INET;
       look_up(t, nullptr, "80", hints);
       look_up(t, nullptr, "http", hints);
     }},
    {"getaddrinfo: a name with its canonical form",
     [](trial& t) {
       addrinfo hints{};
       hints.ai_flags = AI_CANONNAME, hints.ai_family = AF_INET;
       look_up(t, "localhost", nullptr, hints);
     }},
    {"getaddrinfo: calls that are refused at once",
     [](trial& t) {
       addrinfo hints{};
       look_up(t, nullptr, nullptr, hints);
       look_up(t, "localhost", "no such service", hints);
       look_up(t, "127.0.0.1", "no such service", hints);
       hints.ai_family = AF_INET6;
       look_up(t, "127.0.0.1", nullptr, hints);
       hints.ai_family = 9999;
       look_up(t, "localhost", nullptr, hints);
       hints = {};
       hints.ai_socktype = 9999;
       look_up(t, "localhost", nullptr, hints);
       hints = {};
       hints.ai_flags = 1 << 30;
       look_up(t, "localhost", nullptr, hints);
       hints.ai_flags = AI_CANONNAME;
       look_up(t, nullptr, "80", hints);
     }},

    // ---- read and write
    {"read and write of a socket",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.call("write", [b] { return ::write(b, "abc", 3); });
       char data[8];
       t.note_bytes(data, t.call("read", [&] { return ::read(a, data, 8); }));
       t.meanwhile([b] { trial::put(b, "def"); });
       t.note_bytes(data, t.call("read", [&] { return ::read(a, data, 8); }));
     }},
    {"read and write of 0 bytes do not wait",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       char byte;
       iovec none[2] = {{&byte, 0}, {&byte, 0}};
       t.call("read", [&] { return ::read(a, &byte, 0); });
       t.call("write", [&] { return ::write(a, &byte, 0); });
       t.call("readv", [&] { return ::readv(a, none, 2); });
       t.call("writev", [&] { return ::writev(a, none, 2); });
       t.call("readv", [&] { return ::readv(a, none, 0); });
     }},
    {"readv of 0 bytes leaves a datagram",
     [](trial& t) {
       const auto [a, b] = t.udp();
       t.put(b, "abc");
       char byte;
       iovec none[1] = {{&byte, 0}};
       t.call("readv", [&] { return ::readv(a, none, 1); });
       t.recv(a, 8);
     }},
    {"readv with several buffers, after a wait",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       char data[8] = {};
       iovec pieces[] = {{data, 1}, {data + 1, 0}, {data + 1, 7}};
       t.meanwhile([b] { trial::put(b, "abc"); });
       t.note_bytes(data, t.call("readv", [&] { return ::readv(a, pieces, 3); }));
     }},
    {"readv and writev of a socket: calls that are refused at once",
     [](trial& t) {
       const auto [a, b] = t.local();
       std::vector<iovec> many(1025);
       for (volatile int count : {1025, -1}) {
         t.call("readv", [&] { return ::readv(a, many.data(), count); });
         t.call("writev", [&] { return ::writev(a, many.data(), count); });
       }
       t.call("readv", [&] { return ::readv(-1, many.data(), 1); });
       t.call("writev", [&] { return ::writev(-1, many.data(), 1); });
     }},
    {"read and write: bad descriptors and pointers",
     [](trial& t) {
       const auto [a, b] = t.local();
       char byte = 'x';
       t.put(b, "abc");
       t.call("read", [&] { return ::read(-1, &byte, 1); });
       t.call("write", [&] { return ::write(-1, &byte, 1); });
       t.call("read", [&] { return ::read(a, nowhere(), 1); });
       t.call("write", [&] { return ::write(a, nowhere(), 1); });
     }},
    {"read and write of a file",
     [](trial& t) {
       const int fd = t.keep(::open("/tmp", O_TMPFILE | O_RDWR, 0600));
       char data[8];
       t.call("write", [&] { return ::write(fd, "abc", 3); });
       (void)::lseek(fd, 0, SEEK_SET);
       t.note_bytes(data, t.call("read", [&] { return ::read(fd, data, 8); }));
       t.call("read", [&] { return ::read(fd, data, 8); });
       t.call("read", [&] { return ::read(fd, nowhere(), 8); });
       t.call("read", [&] { return ::read(t.keep(::open("/tmp", O_RDONLY)), data, 8); });
     }},
    {"read of a file that is open for writing, and write of one that is open for reading",
     [](trial& t) {
       char byte = 'x';
       t.call("read", [&] { return ::read(t.pipe().b, &byte, 1); });
       t.call("write", [&] { return ::write(t.pipe().a, &byte, 1); });
     }},
    {"read and write of a pipe",
     [](trial& t) {
       const auto [a, b] = t.pipe();
       char data[8];
       t.call("write", [b] { return ::write(b, "abc", 3); });
       t.note_bytes(data, t.call("read", [&] { return ::read(a, data, 2); }));
       t.note_bytes(data, t.call("read", [&] { return ::read(a, data, 8); }));
       t.reset(b);
       t.call("read", [&] { return ::read(a, data, 8); });
     }},
    {"read and write of an eventfd",
     [](trial& t) {
       const int fd = t.keep(::eventfd(0, 0));
       const std::uint64_t three = 3;
       std::uint64_t got = 0;
       t.call("write", [&] { return ::write(fd, &three, sizeof three); });
       t.call("read", [&] { return ::read(fd, &got, sizeof got); });
       t.note("%d", static_cast<int>(got));
       t.call("read", [&] { return ::read(fd, &got, 4); });
       nonblocking(fd);
       t.call("read", [&] { return ::read(fd, &got, sizeof got); });
     }},

    // ---- another thread closes the handle of a waiting call
    {"recv: another thread closes the socket while it waits, then bytes arrive",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.forget(a);
       t.meanwhile([a, b] { ::close(a), trial::put(b, "abc"); });
       t.recv(a, 8);
     }},
    {"recv on TCP: another thread closes the socket while it waits, then the peer finishes",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.forget(a);
       t.meanwhile([a, b] { ::close(a), ::shutdown(b, SHUT_WR); });
       t.recv(a, 8);
     }},
    {"recv on TCP: another thread shuts the socket down and closes it while it waits",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.forget(a);
       t.meanwhile([a] { ::shutdown(a, SHUT_RDWR), ::close(a); });
       t.recv(a, 8);
       t.recv(b, 8);
     }},
    {"recv: another thread shuts the socket down and closes it while it waits",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.forget(a);
       t.meanwhile([a] { ::shutdown(a, SHUT_RDWR), ::close(a); });
       t.recv(a, 8);
       t.recv(b, 8);
     }},
    {"recv on UDP: another thread shuts the socket down and closes it while it waits",
     [](trial& t) {
       const auto [a, b] = t.udp();
       t.forget(a);
       t.meanwhile([a] { ::shutdown(a, SHUT_RDWR), ::close(a); });
       t.recv(a, 8);
     }},
    {"recv: another thread gives the descriptor number to another socket while it waits",
     [](trial& t) {
       const auto [a, b] = t.local();
       const auto [c, d] = t.local();
       t.put(d, "other");
       t.meanwhile([a, b, c] {
         ::close(a);
         // Not by dup: the race for the number is intended, and a sanitizer must not report it.
         if (::syscall(SYS_dup, c) == a) trial::put(b, "abc");
       });
       t.recv(a, 8, MSG_PEEK);
       t.recv(a, 8, MSG_PEEK);
     }},
    {"recv with MSG_WAITALL: another thread closes the socket while it waits",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.forget(a);
       t.put(b, "a");
       t.meanwhile([a, b] {
         ::close(a), trial::put(b, "b");
         for (int left = 1; left != 0; std::this_thread::yield()) (void)::ioctl(b, SIOCOUTQ, &left);
         trial::put(b, "cd");
       });
       t.recv(a, 4, MSG_WAITALL);
     }},
    {"recv ends at SO_RCVTIMEO although another thread has closed the socket",
     [](trial& t) {
       const auto [a, b] = t.local();
       t.forget(a);
       t.limit(a, SO_RCVTIMEO, 200ms);
       t.meanwhile([a] { ::close(a); });
       t.recv(a, 8);
       t.recv(b, 8);
     }},
    {"send: another thread closes the socket while it waits for room",
     [](trial& t) {
       const auto [a, b] = t.tcp();
       t.forget(a);
       t.meanwhile([a, b] { ::close(a), drain(b, static_cast<long>(large().size())); });
       t.send(a, large());
       t.recv(b, 8);
     }},
    {"accept: another thread closes the listener while it waits, then a connection arrives",
     [](trial& t) {
       const int l = t.listener(), a = t.socket(AF_INET, SOCK_STREAM);
       t.forget(l);
       t.meanwhile([a, l, to = t.name_of(l)] { ::close(l), (void)trial::connect_to(a, to); });
       t.accept(l);
     }},
    {"connect: another thread closes the socket while it waits",
     [](trial& t) {
       const int l = t.listener(0);
       for (int i = 0; i != 4; ++i)
         (void)t.connect_to(t.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK), t.name_of(l));
       const int a = t.socket(AF_INET, SOCK_STREAM);
       t.limit(a, SO_SNDTIMEO, 200ms);
       t.forget(a);
       t.meanwhile([a] { ::close(a); });
       t.connect(a, t.name_of(l));
     }},

    // ---- close
    {"close, and close again",
     [](trial& t) {
       const int fd = ::dup(t.local().a);
       t.call("close", [&] { return ::close(fd); });
       t.call("close", [&] { return ::close(fd); });
       t.call("close", [&] { return ::close(-1); });
     }},
};
static_assert(std::size(table) >= 150);

} // namespace

TEST_CASE("install: calls of a fiber have the same results as those of a plain thread",
          "[install][differential]") {
  for (const row& r : table) {
    DYNAMIC_SECTION(r.name) {
      const std::string expected = in_a_thread(r);
      CHECK(in_a_fiber(r) == expected);
    }
  }
}

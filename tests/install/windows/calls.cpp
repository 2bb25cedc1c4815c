// install() on Windows: fibers call a DLL that was compiled without rouse and uses blocking
// Winsock.
#include "support/testing.hpp"

#include <rouse/install.hpp>

#include "blocking_client.h"

#include <algorithm>
#include <cstdlib>
#include <iostream>

using namespace testing;

namespace {

using clock_type = std::chrono::steady_clock;

// A scheduler that is installed, and two TCP sockets connected with each other, in blocking mode.
struct installed {
  rouse::fibers sched;
  SOCKET a = INVALID_SOCKET, b = INVALID_SOCKET;

  installed() {
    rouse::native_handle_type ends[2];
    REQUIRE(!rouse::os::open_pair(SOCK_STREAM, ends));
    a = ends[0], b = ends[1];
    rouse::install(sched);
  }
  ~installed() {
    rouse::uninstall();
    ::closesocket(a), ::closesocket(b);
  }
  // Runs two flows, the first until it waits, then the second. Uses no REQUIRE inside fibers.
  template <class F, class G>
  void run(F first, G second) {
    sched.spawn(std::move(first));
    sched.spawn(std::move(second));
    sched.run();
  }
};

struct result {
  int value = -2;
  int error = 0;
};
result received(SOCKET s, int flags = 0, int size = 1) {
  result r;
  std::string bytes(static_cast<std::size_t>(size), '\0');
  r.value = client_recv(s, bytes.data(), size, flags, &r.error);
  return r;
}

struct bound_socket {
  SOCKET s;
  unsigned short port = 0;

  explicit bound_socket(int type) : s(::socket(AF_INET, type, 0)) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int size = sizeof a;
    REQUIRE(::bind(s, reinterpret_cast<sockaddr*>(&a), size) == 0);
    REQUIRE(::getsockname(s, reinterpret_cast<sockaddr*>(&a), &size) == 0);
    if (type == SOCK_STREAM) REQUIRE(::listen(s, SOMAXCONN) == 0);
    port = ntohs(a.sin_port);
  }
  ~bound_socket() { ::closesocket(s); }
};

template <class F>
double seconds(F f) {
  const auto begun = clock_type::now();
  f();
  return std::chrono::duration<double>(clock_type::now() - begun).count();
}

} // namespace

TEST_CASE("install: 100 requests of a blocking DLL on one thread take about as long as one",
          "[install][windows][P08]") {
  constexpr int count = 100;
  const char* const port = std::getenv("SLOW_SERVER"); // of run.py: it waits 100 ms
  REQUIRE(port);
  rouse::fibers sched;
  rouse::install(sched);
  int right = 0;
  const auto requests = [&](int n) {
    for (int i = 0; i != n; ++i) {
      sched.spawn([&, i] {
        char reply[64];
        const std::string line = "request " + std::to_string(i) + "\n";
        const int got = client_request("127.0.0.1", port, line.c_str(), reply, 64);
        if (got > 0 && line == std::string(reply, static_cast<std::size_t>(got))) ++right;
      });
    }
    return seconds([&] { sched.run(); });
  };
  // The best of some rounds: Wine's calls are slow, and the machine may be busy.
  double times = 1000;
  int rounds = 0;
  for (const auto begun = clock_type::now(); times > 3 && clock_type::now() - begun < patience;
       ++rounds) {
    const double one = requests(1), all = requests(count);
    std::cout << "one request " << one << " s, " << count << " requests " << all
              << " s: " << all / one << " times\n";
    times = (std::min)(times, all / one);
  }
  CHECK(right == rounds * (count + 1));
  if (times > 3) std::cout << "above the goal of 3 times one\n";
  CHECK(times < count / 4); // blocking calls would give 100; the margin is as in ../measure.hpp
  rouse::uninstall();
}

TEST_CASE("install: a blocking call parks its fiber, and other fibers run", "[install][windows]") {
  installed here; // its sockets existed before, which makes no difference
  std::string order;
  result got;
  int sent = 0, error = 0;
  here.run(
      [&] {
        order += 'r';
        got = received(here.a, 0, 8);
        order += 'R';
      },
      [&] {
        order += 's';
        sent = client_send(here.b, "abc", 3, &error);
      });
  CHECK(order == "rsR");
  CHECK(got.value == 3);
  CHECK(sent == 3);
}

TEST_CASE("install: the import tables are redirected, and uninstall restores them",
          "[install][windows]") {
  const auto real =
      reinterpret_cast<const void*>(::GetProcAddress(::GetModuleHandleW(L"ws2_32.dll"), "recv"));
  CHECK(client_address_of_recv() == real);
  {
    rouse::fibers sched;
    rouse::install(sched);
    CHECK(client_address_of_recv() != real);
    rouse::uninstall();
    CHECK(client_address_of_recv() == real);
    rouse::install(sched);
    std::thread([&] {
      rouse::fibers other; // a thread of its own, which ends without uninstall
      rouse::install(other);
    }).join();
    CHECK(client_address_of_recv() != real);
    rouse::uninstall();
  }
  CHECK(client_address_of_recv() == real);
}

TEST_CASE("install: a second install is refused until uninstall", "[install][windows]") {
  installed here;
  rouse::fibers other;
  std::error_code ec;
  try {
    rouse::install(other);
  } catch (const std::system_error& e) {
    ec = e.code();
  }
  CHECK(ec == std::errc::operation_not_permitted);
  rouse::uninstall();
  rouse::uninstall(); // harmless
  rouse::install(other);
}

TEST_CASE("install: modules loaded later and imports by ordinal are redirected",
          "[install][windows]") {
  installed here;
  const bool from_dll = GENERATE(false, true); // which module loads it
  const char* const name = "blocking_client_by_number.dll";
  const HMODULE later = from_dll ? static_cast<HMODULE>(client_load(name)) : ::LoadLibraryA(name);
  REQUIRE(later);
  const auto its_recv = reinterpret_cast<decltype(&client_recv)>(
      reinterpret_cast<void (*)()>(::GetProcAddress(later, "client_recv")));
  REQUIRE(its_recv);
  char got_byte = 0;
  int got = 0, error = 0, sent = 0;
  here.run([&] { got = its_recv(here.a, &got_byte, 1, 0, &error); },
           [&] { sent = client_send(here.b, "x", 1, &sent); });
  CHECK(got == 1);
  CHECK(got_byte == 'x');
  rouse::uninstall();
  CHECK(::FreeLibrary(later));
}

TEST_CASE("uninstall: calls block their thread again, and parked fibers are still woken",
          "[install][windows]") {
  installed here;
  client_set_limits(here.b, 20);
  result parked, blocked;
  bool others_ran = false, too_early = false;
  here.sched.spawn([&] { parked = received(here.a); });
  here.sched.spawn([&] {
    rouse::uninstall();
    here.sched.spawn([&] { others_ran = true; });
    blocked = received(here.b);
    too_early = others_ran;
    int error;
    client_send(here.b, "x", 1, &error);
  });
  here.sched.run();
  CHECK(!too_early);
  CHECK(blocked.error == WSAETIMEDOUT);
  CHECK(parked.value == 1);
}

TEST_CASE("uninstall: a half-done send continues", "[install][windows]") {
  installed here;
  const std::string block(std::size_t{32} << 20, 'x');
  int sent = 0, error = 0;
  std::thread reader;
  std::size_t got = 0;
  here.run(
      [&] { sent = client_send(here.a, block.data(), static_cast<int>(block.size()), &error); },
      [&] {
        rouse::uninstall();
        reader = std::thread([&] {
          std::vector<char> bytes(1 << 20);
          while (got != block.size()) {
            const int n = ::recv(here.b, bytes.data(), 1 << 20, 0);
            if (n <= 0) return;
            got += static_cast<std::size_t>(n);
          }
        });
      });
  reader.join();
  CHECK(sent == static_cast<int>(block.size()));
  CHECK(got == block.size());
}

TEST_CASE("blocking_scope: calls of its fiber block the thread, those of others park",
          "[install][windows]") {
  installed here;
  client_set_limits(here.a, 20);
  result inside, after;
  bool others_ran = false, too_early = false, in_time = false;
  here.sched.spawn([&] {
    {
      const rouse::blocking_scope block;
      here.sched.spawn([&] { others_ran = true; });
      inside = received(here.a);
      too_early = others_ran;
    }
    after = received(here.a);
    in_time = others_ran;
  });
  here.sched.run();
  CHECK(!too_early);
  CHECK(in_time);
  CHECK(inside.error == WSAETIMEDOUT);
  CHECK(after.error == WSAETIMEDOUT);
}

TEST_CASE("install: calls of other threads and outside of fibers are unaffected",
          "[install][windows]") {
  installed here;
  client_set_limits(here.a, 10);
  CHECK(received(here.a).error == WSAETIMEDOUT);
  result elsewhere;
  std::thread([&] { elsewhere = received(here.a); }).join();
  CHECK(elsewhere.error == WSAETIMEDOUT);
  CHECK(here.sched.engine().active() == 0);
}

TEST_CASE("install: calls obey SO_RCVTIMEO and SO_SNDTIMEO, and fail with their error",
          "[install][windows]") {
  installed here;
  client_set_limits(here.a, 50);
  const std::string block(std::size_t{32} << 20, 'x');
  result got, part, nothing;
  double waited = 0;
  here.run(
      [&] {
        waited = seconds([&] { got = received(here.a); });
        const int size = static_cast<int>(block.size());
        part.value = client_send(here.a, block.data(), size, &part.error);
        nothing.value = client_send(here.a, block.data(), size, &nothing.error);
      },
      [] {});
  CHECK(got.value == -1);
  CHECK(got.error == WSAETIMEDOUT);
  CHECK(waited >= 0.05);
  CHECK(part.value > 0);
  CHECK(part.value < static_cast<int>(block.size()));
  CHECK(nothing.value == -1);
  CHECK(nothing.error == WSAETIMEDOUT);
}

TEST_CASE("install: calls obey FIONBIO, both set and reset", "[install][windows]") {
  installed here;
  const bound_socket listener(SOCK_STREAM);
  result at_once, later;
  int accepted = 0;
  here.run(
      [&] {
        client_set_nonblocking(here.a, 1);
        at_once = received(here.a);
        unsigned short port;
        client_set_nonblocking(listener.s, 1);
        client_accept(listener.s, &port, &accepted);
        client_set_nonblocking(here.a, 0);
        later = received(here.a);
      },
      [&] {
        int error;
        client_send(here.b, "x", 1, &error);
      });
  CHECK(at_once.error == WSAEWOULDBLOCK);
  CHECK(accepted == WSAEWOULDBLOCK);
  CHECK(later.value == 1);
}

TEST_CASE("install: a socket returns to its blocking mode", "[install][windows]") {
  installed here;
  client_set_limits(here.a, 20);
  here.run(
      [&] {
        (void)received(here.a);
        int error;
        client_send(here.b, "x", 1, &error);
        (void)received(here.a);
      },
      [] {});
  SECTION("for a call from outside of fibers") {
    CHECK(received(here.a).error == WSAETIMEDOUT); // the socket is in blocking mode
  }
  SECTION("after uninstall") {
    rouse::uninstall();
    CHECK(received(here.a).error == WSAETIMEDOUT);
  }
}

TEST_CASE("install: a blocking send sends all, and MSG_WAITALL receives all",
          "[install][windows]") {
  installed here;
  const std::string block = large_block();
  const int size = static_cast<int>(block.size());
  std::string got(block.size(), '\0');
  int sent = 0, received = 0, error = 0, other = 0;
  SECTION("send and recv") {
    here.run([&] { sent = client_send(here.a, block.data(), size, &error); },
             [&] { received = client_recv(here.b, got.data(), size, MSG_WAITALL, &other); });
  }
  SECTION("WSASend and WSARecv, in pieces") {
    here.run([&] { sent = client_send_pieces(here.a, block.data(), size, &error); },
             [&] {
               while (received != size) {
                 const int n =
                     client_recv_pieces(here.b, got.data() + received, size - received, &other);
                 if (n <= 0) return;
                 received += n;
               }
             });
  }
  CHECK(sent == size);
  CHECK(received == size);
  CHECK(got == block);
}

TEST_CASE("install: connect and accept work, and fail with Winsock's errors",
          "[install][windows]") {
  installed here;
  unsigned short port = 0, closed_port = 0;
  {
    closed_port = bound_socket(SOCK_STREAM).port;
  }
  SOCKET accepted = INVALID_SOCKET, connected = INVALID_SOCKET;
  int accept_error = 0, error = 0, refusal = 0;
  result unconnected, said;
  const bound_socket listener(SOCK_STREAM);
  here.run(
      [&] {
        accepted = client_accept(listener.s, &port, &accept_error);
        client_send(accepted, "x", 1, &accept_error);
      },
      [&] {
        connected = client_connect(listener.port, &error);
        said = received(connected);
        client_connect(closed_port, &refusal);
        const SOCKET s = ::socket(AF_INET, SOCK_STREAM, 0);
        unconnected = received(s);
        client_close(s);
      });
  CHECK(accepted != INVALID_SOCKET);
  CHECK(port != 0);
  CHECK(connected != INVALID_SOCKET);
  CHECK(said.value == 1);
  CHECK(refusal == WSAECONNREFUSED);
  CHECK(unconnected.error == WSAENOTCONN);
  client_close(accepted), client_close(connected);
}

TEST_CASE("install: datagrams keep their boundaries and senders", "[install][windows]") {
  installed here;
  const bound_socket a(SOCK_DGRAM), b(SOCK_DGRAM);
  char bytes[8] = {};
  unsigned short from = 0;
  int got = -2, nothing = -2, error = 0, sent = 0;
  result cut;
  here.run(
      [&] {
        got = client_recvfrom(a.s, bytes, 8, &from, &error);
        nothing = client_recvfrom(a.s, bytes, 8, &from, &error);
        cut = received(a.s);
      },
      [&] {
        sent = client_sendto(b.s, "abc", 3, a.port, &error);
        client_sendto(b.s, "", 0, a.port, &error);
        client_sendto(b.s, "abc", 3, a.port, &error);
      });
  CHECK(sent == 3);
  CHECK(got == 3);
  CHECK(from == b.port);
  CHECK(nothing == 0);
  CHECK(cut.error == WSAEMSGSIZE);
}

TEST_CASE("install: select and WSAPoll wait for several sockets, and return at their limits",
          "[install][windows]") {
  installed here;
  const bound_socket other(SOCK_DGRAM);
  const auto many = GENERATE(&client_select, &client_poll);
  int none = -2, which_none = 0, one = -2, which = 0, error = 0;
  double waited = 0;
  here.run(
      [&] {
        waited = seconds([&] { none = many(here.a, other.s, 30, &which_none, &error); });
        one = many(here.a, other.s, -1, &which, &error);
      },
      [&] {
        while (none == -2) client_sleep(1);
        client_sendto(other.s, "x", 1, other.port, &error);
      });
  CHECK(none == 0);
  CHECK(which_none == 0);
  CHECK(waited >= 0.03);
  CHECK(one == 1);
  CHECK(which == 2);
}

TEST_CASE("install: select takes more sockets than the fixed array of a request",
          "[install][windows]") {
  installed here;
  std::vector<SOCKET> sockets;
  fd_set in;
  FD_ZERO(&in);
  for (int i = 0; i != 40; ++i) {
    sockets.push_back(::socket(AF_INET, SOCK_STREAM, 0));
    FD_SET(sockets.back(), &in);
  }
  FD_SET(here.a, &in);
  int found = -2, error = 0;
  here.run([&] { found = ::select(0, &in, nullptr, nullptr, nullptr); },
           [&] { client_send(here.b, "x", 1, &error); });
  for (SOCKET s : sockets) ::closesocket(s);
  CHECK(found == 1);
  CHECK(FD_ISSET(here.a, &in));
}

TEST_CASE("install: sleep lets other fibers run", "[install][windows]") {
  installed here;
  const double took = seconds([&] {
    for (int i = 0; i != 50; ++i) here.sched.spawn([] { client_sleep(100); });
    here.sched.run();
  });
  CHECK(took >= 0.1);
  CHECK(took < 2.5);
}

namespace {

// The last error after calls that succeed; before each it was 4711.
std::vector<int> errors_of_success() {
  std::vector<int> errors;
  const auto after = [&](auto call) {
    ::WSASetLastError(4711);
    const bool succeeded = call();
    const int error = ::WSAGetLastError();
    errors.push_back(succeeded ? error : -error);
  };
  const bound_socket listener(SOCK_STREAM);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  a.sin_port = htons(listener.port);
  const auto* const name = reinterpret_cast<const sockaddr*>(&a);
  const SOCKET s = ::socket(AF_INET, SOCK_STREAM, 0), t = ::socket(AF_INET, SOCK_STREAM, 0);
  SOCKET peer = INVALID_SOCKET, waited_for = INVALID_SOCKET;
  char bytes[8];
  after([] { return ::Sleep(5), true; });
  after([&] { return ::connect(s, name, sizeof a) == 0; });
  after([&] { return (peer = ::accept(listener.s, nullptr, nullptr)) != INVALID_SOCKET; });
  std::thread later([&] { ::Sleep(50), (void)::connect(t, name, sizeof a); });
  after([&] { return (waited_for = ::accept(listener.s, nullptr, nullptr)) != INVALID_SOCKET; });
  later.join();
  const DWORD soon = 50;
  ::setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, reinterpret_cast<const char*>(&soon), sizeof soon);
  after([&] { return ::send(peer, "abc", 3, 0) == 3; });
  after([&] { return ::recv(s, bytes, 8, MSG_WAITALL) == 3; }); // ends at the limit
  fd_set in{1, {s}};
  timeval d{0, 20'000};
  after([&] { return ::select(0, &in, nullptr, nullptr, &d) == 0; });
  WSAPOLLFD file{s, POLLRDNORM, 0};
  after([&] { return ::WSAPoll(&file, 1, 20) == 0; });
  for (const SOCKET made : {s, t, peer, waited_for}) ::closesocket(made);
  return errors;
}

} // namespace

TEST_CASE("install: a call that succeeds leaves the last error as Winsock does",
          "[install][windows]") {
  installed here;
  std::vector<int> plain, of_fiber;
  std::thread([&] { plain = errors_of_success(); }).join();
  here.run([&] { of_fiber = errors_of_success(); }, [] {});
  CHECK(of_fiber == plain);
}

TEST_CASE("install: a close by another fiber wakes the fibers that wait", "[install][windows]") {
  installed here;
  const bound_socket other(SOCK_DGRAM);
  const SOCKET s = ::socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  REQUIRE(::bind(s, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0);
  result got;
  here.run([&] { got = received(s); }, [&] { CHECK(client_close(s) == 0); });
  CHECK(got.value == -1);
  CHECK(got.error == WSAENOTSOCK);
}

TEST_CASE("install: a call of a cancelled flow fails with WSAECANCELLED", "[install][windows]") {
  installed here;
  result got;
  auto flow = here.sched.spawn([&] { got = received(here.a); });
  here.sched.spawn([&] { flow.cancel(); });
  here.sched.run();
  CHECK(got.value == -1);
  CHECK(got.error == WSAECANCELLED);
}

TEST_CASE("install: destroying the scheduler makes calls fail, and throws nothing through them",
          "[install][windows]") {
  rouse::native_handle_type ends[2];
  REQUIRE(!rouse::os::open_pair(SOCK_STREAM, ends));
  result first, second;
  {
    rouse::fibers sched;
    rouse::install(sched);
    sched.spawn([&] {
      first = received(ends[0]);
      second = received(ends[0]);
    });
    sched.poll();
    sched.poll();
  }
  CHECK(first.error == WSAECANCELLED);
  CHECK(second.error == WSAECANCELLED);
  client_set_limits(ends[0], 5);
  CHECK(received(ends[0]).error == WSAETIMEDOUT);
  rouse::fibers other;
  rouse::install(other);
  rouse::uninstall();
  for (SOCKET s : ends) CHECK(::closesocket(s) == 0);
}

TEST_CASE("install: the loop goes on during getaddrinfo", "[install][windows]") {
  installed here;
  int local = -1, numeric = -1, unknown = -1, wide = -1;
  unsigned short port = 0, ignored = 0;
  here.run(
      [&] {
        local = client_lookup("localhost", 0, &port);
        numeric = client_lookup("127.0.0.1", 0, &ignored);
        unknown = client_lookup("localhost", AI_NUMERICHOST, &ignored);
        wide = client_lookup_wide(L"localhost");
      },
      [] {});
  CHECK(local == 0);
  CHECK(port == 80);
  CHECK(numeric == 0);
  CHECK(unknown != 0);
  CHECK(wide == 0);
}

TEST_CASE("install: a fiber lets others run even if its calls never wait", "[install][windows]") {
  installed here;
  bool over = false;
  long calls = 0;
  here.run(
      [&] {
        int error;
        while (!over && calls < 10'000) { // a byte is always there
          client_send(here.b, "x", 1, &error);
          (void)received(here.a);
          ++calls;
        }
      },
      [&] { over = true; });
  CHECK(calls < 10'000);
}

TEST_CASE("install: rouse's own sockets work as before", "[install][windows]") {
  installed here;
  auto listener = listening(here.sched);
  std::string got, peeked;
  std::error_code nothing_there;
  std::size_t datagram = 0;
  here.run(
      [&] {
        auto peer = listener.accept();
        here.sched.sleep_for(10ms);
        peer.send_all("abc");
      },
      [&] {
        rouse::socket client{here.sched};
        client.connect(listener.local_endpoint());
        char buffer[3];
        client.try_recv(buffer, nothing_there);
        client.peek(buffer);
        peeked.assign(buffer, 3);
        client.recv_exactly(buffer);
        got.assign(buffer, 3);
        rouse::socket u{here.sched, AF_INET, SOCK_DGRAM};
        u.bind({"127.0.0.1", 0});
        u.connect(u.local_endpoint());
        u.send("x");
        datagram = u.recv(buffer);
      });
  CHECK(nothing_there == std::errc::operation_would_block);
  CHECK(peeked == "abc");
  CHECK(got == "abc");
  CHECK(datagram == 1);
}

// Events that a kernel may report besides bytes and room: no waiting call spins on them or misses a
// later event, and other connections are unaffected. The same on io_uring and on epoll.
#include <support/testing.hpp>

#if ROUSE_LINUX
#include <ctime>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <unistd.h>
#endif

using namespace testing;

TEMPLATE_LIST_TEST_CASE("odd events: nothing is received after shutdown_recv", "[odd][E04]",
                        every_single) {
  connected_pair<TestType> pair;
  rouse::socket datagrams{pair.sched, AF_INET, SOCK_DGRAM};
  datagrams.bind({"127.0.0.1", 0});
  const auto self = datagrams.local_endpoint();
  CHECK(!await<rouse::done>(pair.sched, CALL(datagrams.connect(self, how...))).ec);
  std::array<char, 8> buf;
  for (auto* s : {&pair.server, &datagrams}) {
    s->shutdown(rouse::shutdown_recv);
    const auto got = await(pair.sched, CALL(s->recv(buf, 10s, how...)));
    CHECK(got.value == 0);
    CHECK((ROUSE_WINDOWS ? got.ec == std::errc::broken_pipe : !got.ec));
  }
}

#if ROUSE_LINUX
namespace {

double cpu_seconds() {
  timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

/// Runs the loop for a while in which nothing happens: it turns rarely, and uses hardly any CPU
/// time.
template <class S>
void check_idle(S& sched) {
  rouse::socket silent{sched, AF_INET, SOCK_DGRAM};
  silent.bind({"127.0.0.1", 0});
  std::array<char, 1> unused;
  auto waiting = start(sched, CALL(silent.recv(unused, how...))); // a call that waits
  sched.poll();
  sched.poll();
  const auto begin = std::chrono::steady_clock::now();
  const double used = cpu_seconds();
  int turns = 0;
  while (std::chrono::steady_clock::now() - begin < 200ms) {
    sched.run_once(50ms);
    ++turns;
  }
  CHECK(turns < 30);
  CHECK(cpu_seconds() - used < 0.1);
  // Not by closing the socket, which a thread that starts only now would find closed.
  CHECK(send_to(sched, silent, "x", silent.local_endpoint()).value == 1);
  CHECK(waiting.wait().value == 1);
}

/// A pair of which the engine watches `server` as it does when a recv waits after one that filled
/// its buffer.
template <class S>
struct watched_pair : connected_pair<S> {
  watched_pair() {
    std::array<char, 1> one;
    auto receiving = start(this->sched, CALL(this->server.recv(one, how...)));
    until_pending(this->sched, 1);
    send(this->sched, this->client, "a");
    CHECK(receiving.wait().value == 1);
  }
};

/// A recv on `s` waits without spinning, and then receives what `peer` sends.
template <class S>
void check_recv(S& sched, rouse::socket<S>& s, rouse::socket<S>& peer) {
  std::array<char, 16> buf;
  auto receiving = start(sched, CALL(s.recv(buf, how...)));
  check_idle(sched);
  CHECK(!receiving.finished());
  CHECK(await(sched, CALL(peer.send("later", how...))).value == 5);
  CHECK(!receiving.wait().ec);
  CHECK(receiving.wait().value == 5);
}

/// Likewise with a call that is retried.
template <class S>
void check_peek(S& sched, rouse::socket<S>& s, rouse::socket<S>& peer) {
  std::array<char, 16> buf;
  auto peeking = start(sched, CALL(s.peek(buf, how...)));
  check_idle(sched);
  CHECK(!peeking.finished());
  CHECK(await(sched, CALL(peer.send("later", how...))).value == 5);
  CHECK(!peeking.wait().ec);
  CHECK(peeking.wait().value == 5);
  CHECK(await(sched, CALL(s.recv(buf, how...))).value == 5);
}

/// From now on, the kernel puts a message into the error queue of `s` for each send.
template <class S>
void ask_for_timestamps(rouse::socket<S>& s) {
  s.set_option(SOL_SOCKET, SO_TIMESTAMPING,
               int{SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE});
}

template <class S>
void fill_error_queue(S& sched, rouse::socket<S>& s, rouse::socket<S>& peer) {
  ask_for_timestamps(s);
  std::array<char, 16> buf;
  CHECK(await(sched, CALL(s.send("stamped", how...))).value == 7);
  CHECK(await(sched, CALL(peer.recv(buf, how...))).value == 7);
  pollfd p{s.native_handle(), 0, 0};
  CHECK(::poll(&p, 1, 10000) == 1);
  CHECK((p.revents & POLLERR) != 0);
}

template <class S>
struct udp_pair {
  S sched;
  rouse::socket<S> a{sched, AF_INET, SOCK_DGRAM}, b{sched, AF_INET, SOCK_DGRAM};

  udp_pair() {
    a.bind({"127.0.0.1", 0});
    b.bind({"127.0.0.1", 0});
    connect(a, b.local_endpoint());
    connect(b, a.local_endpoint());
  }
  void connect(rouse::socket<S>& s, const rouse::endpoint& to) {
    CHECK(!await<rouse::done>(sched, CALL(s.connect(to, how...))).ec);
  }
};

} // namespace

TEMPLATE_LIST_TEST_CASE("odd events: a message in a stream's error queue ends no wait", "[odd]",
                        every_scheduler) {
  watched_pair<TestType> pair;
  // The message arrives while a recv waits.
  std::array<char, 16> buf;
  auto receiving = start(pair.sched, CALL(pair.server.recv(buf, how...)));
  until_pending(pair.sched, 1);
  fill_error_queue(pair.sched, pair.server, pair.client);
  check_idle(pair.sched);
  CHECK(!receiving.finished());
  CHECK(await(pair.sched, CALL(pair.client.send("later", how...))).value == 5);
  CHECK(receiving.wait().value == 5);
  // The message is there before.
  check_recv(pair.sched, pair.server, pair.client);
  check_peek(pair.sched, pair.server, pair.client);
}

TEMPLATE_LIST_TEST_CASE("odd events: a message in a datagram socket's error queue ends no wait",
                        "[odd]", every_scheduler) {
  udp_pair<TestType> pair;
  auto& sched = pair.sched;
  fill_error_queue(sched, pair.a, pair.b);
  check_recv(sched, pair.a, pair.b);
  check_peek(sched, pair.a, pair.b);
  std::array<char, 16> buf;
  std::array slots{rouse::incoming{buf}};
  auto batch = start(sched, CALL(pair.a.recv_batch(slots, how...)));
  check_idle(sched);
  CHECK(!batch.finished());
  CHECK(await(sched, CALL(pair.b.send("later", how...))).value == 5);
  CHECK(batch.wait().value == 1);
  auto lent = start<rouse::loan>(sched, CALL(pair.a.receive(how...)));
  check_idle(sched);
  CHECK(!lent.finished());
  CHECK(await(sched, CALL(pair.b.send("later", how...))).value == 5);
  CHECK(lent.wait().value.text() == "later");
}

TEMPLATE_LIST_TEST_CASE("odd events: a limit and a cancel end a wait beside an error queue",
                        "[odd]", every_scheduler) {
  udp_pair<TestType> pair;
  auto& sched = pair.sched;
  fill_error_queue(sched, pair.a, pair.b);
  std::array<char, 16> buf;
  CHECK(await(sched, CALL(pair.a.recv(buf, 5ms, how...))).ec == std::errc::timed_out);
  CHECK(await(sched, CALL(pair.a.peek(buf, 5ms, how...))).ec == std::errc::timed_out);
  auto receiving = start(sched, CALL(pair.a.recv(buf, how...)));
  auto peeking = start(sched, CALL(pair.a.peek(buf, how...)));
  until_pending(sched, 2);
  pair.a.cancel();
  CHECK(receiving.wait().ec == std::errc::operation_canceled);
  CHECK(peeking.wait().ec == std::errc::operation_canceled);
  auto abandoned = start(sched, CALL(pair.a.peek(buf, how...)));
  until_pending(sched, 1);
  pair.a.close();
  CHECK(abandoned.wait().ec == std::errc::operation_canceled);
}

TEMPLATE_LIST_TEST_CASE("odd events: a waiting send continues beside a message in the error queue",
                        "[odd]", every_single) {
  connected_pair<TestType> pair;
  auto& sched = pair.sched;
  fill_error_queue(sched, pair.server, pair.client);
  const std::string block = large_block();
  std::FILE* const file = std::tmpfile();
  REQUIRE(file);
  CHECK(std::fwrite(block.data(), 1, block.size(), file) == block.size());
  CHECK(std::fflush(file) == 0);
  const int fd = ::fileno(file);
  auto sending =
      start<std::uint64_t>(sched, CALL(pair.server.send_file(fd, 0, block.size(), how...)));
  run_until(sched, [&] { return sched.engine().active() == 1; });
  check_idle(sched);
  CHECK(!sending.finished());
  std::vector<char> sink(block.size());
  CHECK(await(sched, CALL(pair.client.recv_exactly(sink, how...))).value == block.size());
  CHECK(sending.wait().value == block.size());
  std::fclose(file);
}

TEMPLATE_LIST_TEST_CASE("odd events: a wait for an urgent byte works beside an error queue",
                        "[odd]", every_single) {
  connected_pair<TestType> pair;
  auto& sched = pair.sched;
  fill_error_queue(sched, pair.server, pair.client);
  std::array<char, 4> buf;
  auto urgent = start(sched, CALL(pair.server.recv_out_of_band(buf, how...)));
  check_idle(sched);
  CHECK(!urgent.finished());
  CHECK(await(sched, CALL(pair.client.send_out_of_band("X", how...))).value == 1);
  CHECK(urgent.wait().value == 1);
  CHECK(buf[0] == 'X');
}

TEMPLATE_LIST_TEST_CASE("odd events: with IP_RECVERR, a refused datagram is reported once", "[odd]",
                        every_single) {
  udp_pair<TestType> pair;
  auto& sched = pair.sched;
  pair.a.set_option(IPPROTO_IP, IP_RECVERR, 1);
  const auto gone = pair.b.local_endpoint();
  pair.b.close();
  std::array<char, 16> buf;
  auto receiving = start(sched, CALL(pair.a.recv(buf, how...)));
  until_pending(sched, 1);
  CHECK(await(sched, CALL(pair.a.send("anyone", how...))).value == 6);
  CHECK(receiving.wait().ec == std::errc::connection_refused);
  rouse::socket again{sched, AF_INET, SOCK_DGRAM};
  again.bind(gone);
  pair.connect(again, pair.a.local_endpoint());
  check_recv(sched, pair.a, again);
}

TEMPLATE_LIST_TEST_CASE("odd events: shutdown of a datagram socket ends its receiving calls",
                        "[odd]", every_scheduler) {
  const auto how_shut = GENERATE(rouse::shutdown_recv, rouse::shutdown_both);
  const bool before = GENERATE(false, true);
  std::array<char, 16> buf;
  std::array slots{rouse::incoming{buf}};
  std::array list{rouse::mutable_buffer(buf)};
  const auto check = [&](auto call) {
    udp_pair<TestType> pair;
    if (before) pair.a.shutdown(how_shut);
    auto waiting = call(pair);
    if (!before) {
      until_pending(pair.sched, 1);
      pair.a.shutdown(how_shut);
    }
    CHECK(!waiting.wait().ec);
    auto again = call(pair);
    CHECK(!again.wait().ec);
    return waiting.wait().value;
  };
  CHECK(check([&](auto& p) { return start(p.sched, CALL(p.a.recv(buf, 10s, how...))); }) == 0);
  CHECK(check([&](auto& p) { return start(p.sched, CALL(p.a.recv(list, 10s, how...))); }) == 0);
  CHECK(check([&](auto& p) { return start(p.sched, CALL(p.a.peek(buf, 10s, how...))); }) == 0);
  CHECK(check([&](auto& p) { return start(p.sched, CALL(p.a.recv_batch(slots, 10s, how...))); }) ==
        0);
  const auto from = check([&](auto& p) {
    return start<rouse::datagram>(p.sched, CALL(p.a.recv_from(buf, 10s, how...)));
  });
  CHECK(from.bytes == 0);
  CHECK(from.from == rouse::endpoint{});
  udp_pair<TestType> lending;
  lending.a.shutdown(how_shut);
  CHECK(!await<rouse::loan>(lending.sched, CALL(lending.a.receive(10s, how...))).value);
}

TEMPLATE_LIST_TEST_CASE("odd events: a datagram that arrived before a shutdown is received",
                        "[odd]", every_single) {
  udp_pair<TestType> pair;
  CHECK(await(pair.sched, CALL(pair.b.send("one", how...))).value == 3);
  pair.a.shutdown(rouse::shutdown_recv);
  std::array<char, 16> buf;
  CHECK(await(pair.sched, CALL(pair.a.recv(buf, 10s, how...))).value == 3);
  CHECK(await(pair.sched, CALL(pair.a.recv(buf, 10s, how...))).value == 0);
}

TEMPLATE_LIST_TEST_CASE("odd events: shutdown of a stream ends its receiving calls", "[odd]",
                        every_scheduler) {
  const auto how_shut = GENERATE(rouse::shutdown_recv, rouse::shutdown_both);
  watched_pair<TestType> pair;
  std::array<char, 16> buf;
  auto receiving = start(pair.sched, CALL(pair.server.recv(buf, how...)));
  until_pending(pair.sched, 1);
  pair.server.shutdown(how_shut);
  CHECK(!receiving.wait().ec);
  CHECK(receiving.wait().value == 0);
  check_idle(pair.sched);
}

TEMPLATE_LIST_TEST_CASE("odd events: shutdown of a listener ends its accept", "[odd]",
                        every_scheduler) {
  TestType sched;
  auto listener = listening(sched);
  auto accepting = start<rouse::socket<TestType>>(sched, CALL(listener.accept(how...)));
  until_pending(sched, 1);
  listener.shutdown(rouse::shutdown_both);
  CHECK(accepting.wait().ec == std::errc::invalid_argument);
  check_idle(sched);
}

TEMPLATE_LIST_TEST_CASE("odd events: a stream can be adopted again under its old descriptor",
                        "[odd]", every_scheduler) {
  const bool filled = GENERATE(false, true);
  watched_pair<TestType> pair;
  auto& sched = pair.sched;
  std::array<char, 16> buf;
  if (filled) (void)await(sched, CALL(pair.server.recv(buf, 2ms, how...)));
  const int number = pair.server.native_handle(), kept = ::dup(number);
  pair.server.close();
  auto again = rouse::socket<TestType>::adopt(sched, ::dup2(kept, number));
  ::close(kept);
  REQUIRE(again.native_handle() == number);
  check_recv(sched, again, pair.client);
}

TEMPLATE_LIST_TEST_CASE(
    "odd events: closing one of two descriptors of a stream leaves the other usable", "[odd]",
    every_scheduler) {
  watched_pair<TestType> pair;
  auto& sched = pair.sched;
  std::array<char, 16> buf;
  CHECK(await(sched, CALL(pair.server.recv(buf, 2ms, how...))).ec == std::errc::timed_out);
  auto other = rouse::socket<TestType>::adopt(sched, ::dup(pair.server.native_handle()));
  CHECK(await(sched, CALL(other.recv(buf, 2ms, how...))).ec == std::errc::timed_out);
  pair.server.close();
  // The next socket gets its record, and perhaps its descriptor number.
  udp_pair<TestType> unrelated;
  rouse::socket next{sched, AF_INET, SOCK_DGRAM};
  next.bind({"127.0.0.1", 0});
  auto receiving = start(sched, CALL(next.recv(buf, how...)));
  until_pending(sched, 1);
  check_recv(sched, other, pair.client);
  pair.client.close();
  CHECK(await(sched, CALL(other.recv(buf, 10s, how...))).value == 0);
  check_idle(sched);
  CHECK(!receiving.finished());
  next.close();
  CHECK(receiving.wait().ec == std::errc::operation_canceled);
}

TEMPLATE_LIST_TEST_CASE(
    "odd events: a closed descriptor that another process holds reports no events", "[odd]",
    every_single) {
  watched_pair<TestType> pair;
  auto& sched = pair.sched;
  std::array<char, 16> buf;
  CHECK(await(sched, CALL(pair.server.recv(buf, 2ms, how...))).ec == std::errc::timed_out);
  const int kept = ::dup(pair.server.native_handle());
  pair.server.close();
  for (int i = 0; i != 100; ++i) CHECK(::send(pair.client.native_handle(), "x", 1, 0) == 1);
  pair.client.close();
  // The number and the record are used again, and must not see those events.
  rouse::socket next{sched, AF_INET, SOCK_DGRAM};
  next.bind({"127.0.0.1", 0});
  auto receiving = start(sched, CALL(next.recv(buf, how...)));
  check_idle(sched);
  CHECK(!receiving.finished());
  ::close(kept);
  next.close();
  CHECK(receiving.wait().ec == std::errc::operation_canceled);
}

TEMPLATE_LIST_TEST_CASE("odd events: bytes that arrive together with the end are received", "[odd]",
                        every_scheduler) {
  watched_pair<TestType> pair;
  std::array<char, 16> buf;
  auto receiving = start(pair.sched, CALL(pair.server.recv(buf, how...)));
  until_pending(pair.sched, 1);
  CHECK(::send(pair.client.native_handle(), "end", 3, 0) == 3);
  pair.client.close();
  CHECK(receiving.wait().value == 3);
  CHECK(await(pair.sched, CALL(pair.server.recv(buf, 10s, how...))).value == 0);
  CHECK(await(pair.sched, CALL(pair.server.recv(buf, 10s, how...))).value == 0);
  check_idle(pair.sched);
}

TEMPLATE_LIST_TEST_CASE("odd events: a handle that the program made non-blocking works", "[odd]",
                        every_single) {
  const bool non_blocking = GENERATE(false, true);
  const auto set_mode = [&](int h) {
    const int flags = ::fcntl(h, F_GETFL);
    CHECK(::fcntl(h, F_SETFL, non_blocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) == 0);
  };
  watched_pair<TestType> pair;
  auto& sched = pair.sched;
  set_mode(pair.server.native_handle());
  set_mode(pair.listener.native_handle());
  check_recv(sched, pair.server, pair.client);
  check_peek(sched, pair.server, pair.client);
  if (!non_blocking) return; // an accept on epoll would block
  auto accepting = start<rouse::socket<TestType>>(sched, CALL(pair.listener.accept(how...)));
  check_idle(sched);
  CHECK(!accepting.finished());
  rouse::socket other{sched};
  const auto to = pair.listener.local_endpoint();
  CHECK(!await<rouse::done>(sched, CALL(other.connect(to, how...))).ec);
  CHECK(!accepting.wait().ec);
}

TEMPLATE_LIST_TEST_CASE("odd events: an idle wait uses no CPU after them, and other sockets work",
                        "[odd]", every_single) {
  watched_pair<TestType> pair;
  auto& sched = pair.sched;
  std::array<char, 16> buf;

  // Left open, each in a state of its own.
  rouse::socket stamped{sched, AF_INET, SOCK_DGRAM}, peer{sched, AF_INET, SOCK_DGRAM};
  stamped.bind({"127.0.0.1", 0});
  peer.bind({"127.0.0.1", 0});
  const auto stamped_at = stamped.local_endpoint(), peer_at = peer.local_endpoint();
  CHECK(!await<rouse::done>(sched, CALL(stamped.connect(peer_at, how...))).ec);
  CHECK(!await<rouse::done>(sched, CALL(peer.connect(stamped_at, how...))).ec);
  fill_error_queue(sched, stamped, peer);
  auto waits_beside = start(sched, CALL(stamped.peek(buf, how...)));

  auto [local, gone] = rouse::socket_pair(sched);
  CHECK(await(sched, CALL(local.recv(buf, 2ms, how...))).ec == std::errc::timed_out);
  gone.close();

  auto to = pair.listener.local_endpoint();
  rouse::socket reset{sched}, half{sched}, urgent{sched};
  for (auto* s : {&reset, &half, &urgent})
    CHECK(!await<rouse::done>(sched, CALL(s->connect(to, how...))).ec);
  rouse::socket<TestType> accepted[3];
  for (auto& s : accepted) {
    auto got = await<rouse::socket<TestType>>(sched, CALL(pair.listener.accept(how...)));
    CHECK(!got.ec);
    s = std::move(got.value);
    CHECK(await(sched, CALL(s.recv(buf, 2ms, how...))).ec == std::errc::timed_out);
  }
  CHECK(await(sched, CALL(half.send("left unread", how...))).value == 11);
  half.shutdown(rouse::shutdown_send);
  CHECK(await(sched, CALL(urgent.send_out_of_band("X", how...))).value == 1);
  reset.set_option(rouse::linger{true, 0s});
  reset.close();
  auto unread = start(sched, CALL(accepted[2].recv(buf, how...)));

  rouse::socket refused{sched, AF_INET, SOCK_DGRAM};
  refused.set_option(IPPROTO_IP, IP_RECVERR, 1);
  rouse::socket nowhere{sched, AF_INET, SOCK_DGRAM};
  nowhere.bind({"127.0.0.1", 0});
  to = nowhere.local_endpoint();
  nowhere.close();
  CHECK(!await<rouse::done>(sched, CALL(refused.connect(to, how...))).ec);
  CHECK(await(sched, CALL(refused.send("anyone", how...))).value == 6);
  CHECK(await(sched, CALL(refused.recv(buf, 10s, how...))).ec == std::errc::connection_refused);
  auto waits_for_none = start(sched, CALL(refused.recv(buf, how...)));

  check_recv(sched, pair.server, pair.client);
  check_idle(sched);
  CHECK(!waits_beside.finished());
  CHECK(!waits_for_none.finished());
  refused.close();
  CHECK(waits_for_none.wait().ec == std::errc::operation_canceled);
  stamped.close();
  CHECK(waits_beside.wait().ec == std::errc::operation_canceled);
  accepted[2].close();
  CHECK(unread.wait().ec == std::errc::operation_canceled);
}
#endif

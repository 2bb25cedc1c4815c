// Time-outs and cancellation: section 7 of scenarios.md.
#include <support/testing.hpp>

#include <atomic>
#include <csignal>
#include <random>

#if !ROUSE_WINDOWS
#include <sys/ioctl.h>
#endif

using namespace testing;

namespace {

/// The bytes that have arrived at `s` and that no call has taken.
template <class Socket>
unsigned long bytes_left(const Socket& s) {
#if ROUSE_WINDOWS
  u_long left = 0;
  REQUIRE(::ioctlsocket(s.native_handle(), static_cast<long>(FIONREAD), &left) == 0);
#else
  int left = 0;
  REQUIRE(::ioctl(s.native_handle(), FIONREAD, &left) == 0);
#endif
  return static_cast<unsigned long>(left);
}

} // namespace

TEMPLATE_LIST_TEST_CASE("a limit ends recv, accept and send with timed_out, never early",
                        "[limit][X01]", every_scheduler) {
  connected_pair<TestType> pair;
  std::array<char, 8> buf;
  const auto before = std::chrono::steady_clock::now();
  CHECK(await(pair.sched, CALL(pair.client.recv(buf, 20ms, how...))).ec == std::errc::timed_out);
  CHECK(std::chrono::steady_clock::now() - before >= 20ms);
  CHECK(await<rouse::socket<TestType>>(pair.sched, CALL(pair.listener.accept(20ms, how...))).ec ==
        std::errc::timed_out);
  send(pair.sched, pair.server, "late");
  CHECK(receive(pair.sched, pair.client, 4) == "late");
  const std::string block = large_block();
  const auto sent = await(pair.sched, CALL(pair.client.send_all(block, 50ms, how...)));
  CHECK(sent.ec == std::errc::timed_out);
  CHECK(sent.value < block.size());
}

TEMPLATE_LIST_TEST_CASE("timeout: is the limit of calls without one", "[limit][X01]",
                        every_scheduler) {
  connected_pair<TestType> pair;
  CHECK(pair.client.timeout() == rouse::clock::duration::max());
  pair.client.timeout(10ms);
  std::array<char, 8> buf;
  CHECK(await(pair.sched, CALL(pair.client.recv(buf, how...))).ec == std::errc::timed_out);
  std::stop_source never;
  CHECK(await(pair.sched, CALL(pair.client.recv(buf, never.get_token(), how...))).ec ==
        std::errc::timed_out);
  auto patient =
      start(pair.sched, CALL(pair.client.recv(buf, 30s, how...))); // its own limit applies
  until_pending(pair.sched, 1);
  send(pair.sched, pair.server, "x");
  CHECK(patient.wait().value == 1);
}

TEMPLATE_LIST_TEST_CASE("timeout: zero takes what is there, max waits for it", "[limit][P09]",
                        every_scheduler) {
  connected_pair<TestType> pair;
  std::array<char, 8> buf;
  pair.client.timeout(0s);
  CHECK(await(pair.sched, CALL(pair.client.recv(buf, how...))).ec == std::errc::timed_out);
  send(pair.sched, pair.server, "x");
  CHECK(!await<rouse::done>(pair.sched, CALL(pair.client.wait(rouse::readable, 10s, how...))).ec);
  CHECK(await(pair.sched, CALL(pair.client.recv(buf, how...))).value == 1);
  pair.client.timeout(rouse::clock::duration::max());
  auto waiting = start(pair.sched, CALL(pair.client.recv(buf, how...)));
  until_pending(pair.sched, 1);
  send(pair.sched, pair.server, "yz");
  CHECK(waiting.wait().value == 2);
}

TEMPLATE_LIST_TEST_CASE(
    "an operation that beats its limit succeeds, and the limit no longer matters", "[limit][X02]",
    every_scheduler) {
  connected_pair<TestType> pair;
  std::array<char, 8> buf;
  auto first = start(pair.sched, CALL(pair.client.recv(buf, 250ms, how...)));
  until_pending(pair.sched, 1);
  send(pair.sched, pair.server, "x");
  CHECK(first.wait().value == 1);
  CHECK(!first.wait().ec);
  auto second = start(pair.sched, CALL(pair.client.recv(buf, how...)));
  until_pending(pair.sched, 1);
  pair.sched.run_for(300ms); // the limit of the first call passes
  CHECK(!second.finished());
  send(pair.sched, pair.server, "y");
  CHECK(second.wait().value == 1);
}

TEMPLATE_LIST_TEST_CASE(
    "a call with a limit that has passed takes what is there or fails with timed_out",
    "[limit][X03]", every_scheduler) {
  const punctual_kernel punctual;
  connected_pair<TestType> pair;
  std::array<char, 8> buf;
  for (const auto passed : {0ms, -5ms}) {
    CHECK(await(pair.sched, CALL(pair.client.recv(buf, passed, how...))).ec ==
          std::errc::timed_out);
  }
  const rouse::deadline past{rouse::clock::now() - 1h};
  CHECK(await(pair.sched, CALL(pair.client.recv(buf, past, how...))).ec == std::errc::timed_out);
  send(pair.sched, pair.server, "abc");
  const auto there = await(pair.sched, CALL(pair.client.recv(buf, past, how...)));
  CHECK(!there.ec);
  CHECK(there.value == 3);
}

TEMPLATE_LIST_TEST_CASE("a stop_token ends only the call that it was given to", "[limit][X04]",
                        every_scheduler) {
  connected_pair<TestType> pair;
  const std::string block = large_block();
  std::array<char, 8> buf;
  std::stop_source stop;
  auto receiving = start(pair.sched, CALL(pair.client.recv(buf, stop.get_token(), how...)));
  auto sending = start(pair.sched, CALL(pair.client.send_all(block, how...)));
  until_pending(pair.sched, 2);
  stop.request_stop();
  CHECK(receiving.wait().ec == std::errc::operation_canceled);
  CHECK(!sending.finished());
  CHECK(receive(pair.sched, pair.server, block.size()).size() == block.size());
  CHECK(!sending.wait().ec);
}

TEMPLATE_LIST_TEST_CASE("a stop may be requested on any thread and ends the call once",
                        "[limit][X05]", every_scheduler) {
  connected_pair<TestType> pair;
  std::array<char, 8> buf;
  for (int round = 0; round != 20; ++round) {
    std::stop_source stop;
    auto pending = start(pair.sched, CALL(pair.client.recv(buf, {30s, stop.get_token()}, how...)));
    std::thread other([&] { stop.request_stop(); });
    CHECK(pending.wait().ec == std::errc::operation_canceled);
    other.join();
    CHECK(pending.times() == 1);
  }
}

TEMPLATE_LIST_TEST_CASE("a stop_token that was stopped before ends every kind of call without I/O",
                        "[limit][X06][A11]", every_scheduler) {
  connected_pair<TestType> pair;
  send(pair.sched, pair.server, "untouched");
  std::stop_source stop;
  stop.request_stop();
  const auto token = stop.get_token();
  std::array<char, 8> buf;
  rouse::socket fresh{pair.sched};
  REQUIRE(
      !await<rouse::done>(pair.sched, CALL(fresh.connect(pair.listener.local_endpoint(), how...)))
           .ec);
  CHECK(await<rouse::socket<TestType>>(pair.sched, CALL(pair.listener.accept(token, how...))).ec ==
        std::errc::operation_canceled); // although a client has connected
  fresh = rouse::socket{pair.sched};
  CHECK(await(pair.sched, CALL(pair.client.recv(buf, token, how...))).ec ==
        std::errc::operation_canceled);
  CHECK(await(pair.sched, CALL(pair.client.recv_exactly(buf, token, how...))).ec ==
        std::errc::operation_canceled);
  CHECK(await(pair.sched, CALL(pair.client.send("no", token, how...))).ec ==
        std::errc::operation_canceled);
  CHECK(await(pair.sched, CALL(pair.client.send_all("no", token, how...))).ec ==
        std::errc::operation_canceled);
  CHECK(await<rouse::done>(pair.sched,
                           CALL(fresh.connect(pair.listener.local_endpoint(), token, how...)))
            .ec == std::errc::operation_canceled);
  CHECK(receive(pair.sched, pair.client, 9) == "untouched");
}

TEMPLATE_LIST_TEST_CASE("bytes that arrived before the cancel win, and none is lost",
                        "[limit][X07][O4]", every_single) {
  connected_pair<TestType> pair;
  std::array<char, 8> buf;
  auto pending = start(pair.sched, CALL(pair.client.recv(buf, how...)));
  until_pending(pair.sched, 1);
  REQUIRE(::send(pair.server.native_handle(), "bytes", 5, 0) == 5);
  pair.client.cancel(); // in the same turn as the bytes arrive
  const auto& r = pending.wait();
  if (r.ec) {
    CHECK(r.ec == std::errc::operation_canceled);
    CHECK(r.value == 0);
    CHECK(receive(pair.sched, pair.client, 5) == "bytes");
  } else {
    CHECK(r.value == 5);
  }
}

TEMPLATE_LIST_TEST_CASE("no byte is lost when cancels race with arriving bytes",
                        "[limit][X07][X11]", every_single) {
  connected_pair<TestType> pair;
  std::minstd_rand random{17};
  std::size_t sent = 0, got = 0;
  for (int round = 0; round != (ROUSE_WINDOWS ? 100 : 1000); ++round) {
    std::array<char, 4> buf;
    auto pending = start(pair.sched, CALL(pair.client.recv(buf, how...)));
    run_until(pair.sched, [&] { return pending.finished() || pair.sched.engine().active() == 1; });
    if (random() % 2)
      sent += static_cast<std::size_t>(::send(pair.server.native_handle(), "ab", 2, 0));
    if (random() % 2) pair.sched.poll();
    pair.client.cancel();
    const auto& r = pending.wait();
    if (r.ec) REQUIRE(r.ec == std::errc::operation_canceled);
    REQUIRE((!r.ec || r.value == 0));
    got += r.value;
    REQUIRE(pending.times() == 1);
  }
  pair.server.shutdown(rouse::shutdown_send);
  got += receive(pair.sched, pair.client, sent + 1).size();
  CHECK(got == sent);
}

// Makes a call, and calls `then` when it completes.
template <class S, class Call, class Then>
void when_done(S& sched, Call call, Then then) {
  if constexpr (awaits<S>) {
    sched.spawn([call, then]() -> rouse::task<> {
      std::error_code ec;
      co_await call(ec);
      then();
    });
  } else if constexpr (calls_back<S>) {
    call([then](std::error_code, std::size_t) { then(); });
  } else {
    sched.spawn([call, then] {
      std::error_code ec;
      call(ec);
      then();
    });
  }
}

TEMPLATE_LIST_TEST_CASE("a cancel or a close between two requests of one call ends the call",
                        "[limit][X10][O6]", every_single) {
  connected_pair<TestType> pair;
  const bool close = GENERATE(false, true);
  std::array<char, 8> first, all;
  when_done(pair.sched, CALL(pair.server.recv(first, how...)), [&] {
    if (close)
      pair.client = {};
    else
      pair.client.cancel();
  });
  auto composed = start(pair.sched, CALL(pair.client.recv_exactly(all, how...)));
  until_pending(pair.sched, 2);
  // Both results arrive in one turn, and the first waiter ends the other call.
  const punctual_kernel punctual;
  REQUIRE(::send(pair.client.native_handle(), "now", 3, 0) == 3);
  REQUIRE(::send(pair.server.native_handle(), "abc", 3, 0) == 3);
  pair.sched.run_for(patience);
  REQUIRE(composed.finished());
  CHECK(composed.wait().ec == std::errc::operation_canceled);
  CHECK(composed.wait().value == 3);
}

#if ROUSE_LINUX
// Interrupts the calling thread's system calls again and again.
class interruptions {
public:
  ~interruptions() {
    over_ = true;
    thread_.join();
    ::sigaction(SIGUSR1, &before_, nullptr);
  }

private:
  static struct sigaction ignored() {
    struct sigaction nothing{}, before{};
    nothing.sa_handler = [](int) {}; // without SA_RESTART
    ::sigaction(SIGUSR1, &nothing, &before);
    return before;
  }

  struct sigaction before_ = ignored();
  std::atomic<bool> over_{false};
  std::thread thread_{[this, caller = ::pthread_self()] {
    while (!over_) {
      ::pthread_kill(caller, SIGUSR1);
      std::this_thread::yield();
    }
  }};
};

TEMPLATE_LIST_TEST_CASE("signals interrupt no call and delay no limit", "[limit][P04]",
                        every_single) {
  connected_pair<TestType> pair;
  const interruptions many;
  std::array<char, 8> buf;
  for (int round = 0; round != 3; ++round) {
    CHECK(await(pair.sched, CALL(pair.client.recv(buf, 20ms, how...))).ec == std::errc::timed_out);
    REQUIRE(send(pair.sched, pair.server, "quiet").value == 5);
    CHECK(receive(pair.sched, pair.client, 5) == "quiet");
  }
}

TEMPLATE_LIST_TEST_CASE("a cancelled send_all returns the number of bytes that the peer receives",
                        "[limit][X08][B13]", every_scheduler) {
  connected_pair<TestType> pair;
  const std::string block = large_block();
  std::stop_source stop;
  auto sending = start(pair.sched, CALL(pair.client.send_all(block, stop.get_token(), how...)));
  until_pending(pair.sched, 1);
  stop.request_stop();
  CHECK(sending.wait().ec == std::errc::operation_canceled);
  const std::size_t taken = sending.wait().value;
  CHECK(taken > 0);
  pair.client.close();
  CHECK(receive(pair.sched, pair.server, block.size()).size() == taken);
}
#endif

TEMPLATE_LIST_TEST_CASE("the next call after a cancel is unaffected", "[limit][X09][O4]",
                        every_scheduler) {
  connected_pair<TestType> pair;
  std::array<char, 8> buf;
  for (int round = 0; round != 100; ++round) {
    auto cancelled = start(pair.sched, CALL(pair.client.recv(buf, how...)));
    until_pending(pair.sched, 1);
    pair.client.cancel();
    auto next = start(pair.sched, CALL(pair.client.recv(buf, 30s, how...)));
    REQUIRE(cancelled.wait().ec == std::errc::operation_canceled);
    REQUIRE(send(pair.sched, pair.server, "n").value == 1);
    REQUIRE(next.wait().value == 1);
    REQUIRE(!next.wait().ec);
  }
}

TEMPLATE_LIST_TEST_CASE("a stop_token ends a composed call as a whole", "[limit][X10]",
                        every_scheduler) {
  const punctual_kernel punctual;
  connected_pair<TestType> pair;
  std::array<char, 100> buf;
  std::stop_source stop;
  send(pair.sched, pair.server, "part");
  run_until(pair.sched, [&] { return bytes_left(pair.client) == 4; });
  auto receiving = start(pair.sched, CALL(pair.client.recv_exactly(buf, stop.get_token(), how...)));
  // Under threads, another thread takes them, and stopping it earlier would be right too.
  run_until(pair.sched, [&] { return bytes_left(pair.client) == 0; });
  until_pending(pair.sched, 1);
  stop.request_stop();
  CHECK(receiving.wait().ec == std::errc::operation_canceled);
  CHECK(receiving.wait().value == 4); // the count beside the error
}

TEMPLATE_LIST_TEST_CASE("a race of a limit with a cancel has one outcome", "[limit][X12]",
                        every_scheduler) {
  connected_pair<TestType> pair;
  std::array<char, 8> buf;
  for (int round = 0; round != 50; ++round) {
    std::stop_source stop;
    auto pending = start(pair.sched, CALL(pair.client.recv(buf, {1ms, stop.get_token()}, how...)));
    std::thread other([&] {
      std::this_thread::yield();
      stop.request_stop();
    });
    const auto ec = pending.wait().ec;
    CHECK((ec == std::errc::timed_out || ec == std::errc::operation_canceled));
    other.join();
    CHECK(pending.times() == 1);
  }
}

TEMPLATE_LIST_TEST_CASE("a limit is a duration, a point in time, a stop_token, or both",
                        "[limit][X01][X04]", every_scheduler) {
  connected_pair<TestType> pair;
  std::array<char, 8> buf;
  std::stop_source stopped, never;
  stopped.request_stop();
  const std::stop_token token = stopped.get_token(), other = never.get_token();
  const auto ends_with = [&](std::errc why, auto call) {
    CHECK(await(pair.sched, call).ec == why);
  };
  const auto timed_out = std::errc::timed_out, canceled = std::errc::operation_canceled;
  const rouse::deadline due(1ms);
  rouse::limit both{1ms, other};
  const rouse::limit constant{due};
  ends_with(timed_out, CALL(pair.client.recv(buf, 1ms, how...)));
  ends_with(timed_out, CALL(pair.client.recv(buf, due, how...)));
  ends_with(timed_out, CALL(pair.client.recv(buf, due.when(), how...)));
  ends_with(timed_out, CALL(pair.client.recv(buf, both, how...)));
  ends_with(timed_out, CALL(pair.client.recv(buf, constant, how...)));
  ends_with(timed_out, CALL(pair.client.recv(buf, rouse::limit{1ms}, how...)));
  ends_with(timed_out, CALL(pair.client.recv(buf, {1ms, other}, how...)));
  ends_with(canceled, CALL(pair.client.recv(buf, token, how...)));
  ends_with(canceled, CALL(pair.client.recv(buf, stopped.get_token(), how...)));
  ends_with(canceled, CALL(pair.client.recv(buf, {30s, token}, how...)));
  ends_with(canceled, CALL(pair.client.recv(buf, rouse::limit{token}, how...)));
  ends_with(canceled, CALL(pair.client.recv(buf, {rouse::deadline(), token}, how...)));

  // Braces without a limit, and a deadline that never comes, are no limit.
  send(pair.sched, pair.server, "abc");
  CHECK(await(pair.sched, CALL(pair.client.recv({buf.data(), 1}, {}, how...))).value == 1);
  CHECK(
      await(pair.sched, CALL(pair.client.recv({buf.data(), 1}, rouse::deadline(), how...))).value ==
      1);
  pair.client.timeout(1ms);
  CHECK(await(pair.sched, CALL(pair.client.recv({buf.data(), 1}, other, how...))).value == 1);
  ends_with(timed_out, CALL(pair.client.recv(buf, rouse::deadline(), how...)));
  ends_with(timed_out, CALL(pair.client.recv(buf, {}, how...)));
}

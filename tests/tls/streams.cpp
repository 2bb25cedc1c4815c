// What is written for every stream serves a TLS socket: a protocol, and waiting for readiness.
#include <tls/support/scripted_peer.hpp>
#include <tls/support/tls_testing.hpp>

#include <array>
#include <atomic>
#include <optional>
#include <string>
#include <thread>

using namespace testing;
using rouse::cases;
using rouse::ready;
using rouse::receiving;

namespace {

// Answers each line with its length. After an empty line, it ends its direction.
template <rouse::byte_stream Stream>
rouse::task<> measure(Stream& s) {
  rouse::reader in{s};
  for (;;) {
    const std::string_view line = co_await in.read_line(patience);
    if (line.size() <= 1) break;
    const std::string answer = std::to_string(line.size() - 1) + "\n";
    co_await s.send_all(answer);
  }
  s.shutdown(rouse::shutdown_send);
}

template <class Pair>
void check_measure(Pair& pair) {
  auto served = pair.sched.spawn(measure(pair.server));
  send(pair.sched, pair.client, "four\nelevenchars\n");
  CHECK(receive(pair.sched, pair.client, 5) == "4\n11\n");
  send(pair.sched, pair.client, "\n");
  CHECK(receive(pair.sched, pair.client, 1).empty()); // the end
  CHECK(!await<rouse::done>(pair.sched, CALL(served.join(how...))).ec);
}

} // namespace

TEMPLATE_LIST_TEST_CASE("tls: its socket is a byte_stream", "[tls][byte_stream][K19]",
                        every_scheduler) {
  STATIC_REQUIRE(rouse::byte_stream<tls::socket<TestType>>);
  STATIC_REQUIRE(rouse::detail::describes_calls<tls::socket<TestType>>);
}

TEMPLATE_LIST_TEST_CASE("tls: one protocol serves plain and TLS sockets", "[tls][byte_stream][K19]",
                        every_flowing) {
  connected_pair<TestType> plain;
  check_measure(plain);
  tls_pair<TestType> encrypted;
  check_measure(encrypted);
}

TEMPLATE_LIST_TEST_CASE("tls: a read that is given up loses no byte", "[tls][reader][K19][K05]",
                        every_scheduler) {
  tls_pair<TestType> pair;
  rouse::reader in{pair.server};
  std::stop_source source;
  auto stopped =
      start<std::string_view>(pair.sched, CALL(in.read_line({1h, source.get_token()}, how...)));
  send(pair.sched, pair.client, "half ");
  if constexpr (!is_threads<TestType>) // there, another thread adds to the buffer meanwhile
    run_until(pair.sched, [&] { return in.buffered() == "half "; });
  source.request_stop();
  CHECK(stopped.wait().ec == std::errc::operation_canceled);
  send(pair.sched, pair.client, "a line\n");
  const auto line = await<std::string_view>(pair.sched, CALL(in.read_line(patience, how...)));
  CHECK(line.value == "half a line\n");
}

TEMPLATE_LIST_TEST_CASE("tls: a reader reports a truncated stream, and keeps its bytes",
                        "[tls][reader][K19][K04]", every_scheduler) {
  tls_pair<TestType> pair;
  rouse::reader in{pair.server};
  send(pair.sched, pair.client, "no end");
  pair.client.transport().close();
  const auto line = await<std::string_view>(pair.sched, CALL(in.read_line(patience, how...)));
  CHECK(line.ec == tls::error::truncated);
  CHECK(in.buffered() == "no end");
}

TEMPLATE_LIST_TEST_CASE("tls: select reports a ready socket and leaves its bytes",
                        "[tls][select][K19]", every_scheduler) {
  tls_pair<TestType> pair;
  auto& sched = pair.sched;
  rouse::channel<int, TestType> numbers{sched, 1};
  std::optional<int> got;
  const auto any = [&](auto&&... how) -> decltype(auto) {
    return rouse::select(sched, cases(receiving(numbers, got), ready(pair.client, rouse::readable)),
                         patience, how...);
  };
  auto waits = start(sched, any);
  run_until(sched, [&] { return numbers.balance() == -1; });
  CHECK(send(sched, pair.server, "hello").value == 5);
  CHECK(waits.wait().value == 1);
  CHECK(await(sched, any).value == 1); // at once
  CHECK(numbers.try_send(3));
  CHECK(await(sched, any).value == 0); // precedes it in the list
  CHECK(got == 3);
  CHECK(receive(sched, pair.client, 5) == "hello");
  CHECK(await(sched, CALL(rouse::select(sched, cases(ready(pair.client, rouse::writable)), patience,
                                        how...)))
            .value == 0);

  // It no longer waits for the socket once another case is chosen.
  auto again = start(sched, any);
  run_until(sched, [&] { return numbers.balance() == -1; });
  auto sent = start<rouse::done>(sched, CALL(numbers.send(4, how...)));
  CHECK(again.wait().value == 0);
  CHECK(!sent.wait().ec);
  run_until(sched, [&] { return sched.engine().active() == 0; });
  CHECK(send(sched, pair.server, "still").value == 5);
  CHECK(receive(sched, pair.client, 5) == "still");
}

TEMPLATE_LIST_TEST_CASE("tls: select wakes for the end of a stream and for a closed socket",
                        "[tls][select][K19]", every_scheduler) {
  tls_pair<TestType> pair;
  auto& sched = pair.sched;
  const auto readable = [&](auto&&... how) -> decltype(auto) {
    return rouse::select(sched, cases(ready(pair.client, rouse::readable)), patience, how...);
  };
  auto waits = start(sched, readable);
  pair.server.close();
  CHECK(waits.wait().value == 0);
  CHECK(!waits.wait().ec);
  pair.client.close();
  CHECK(await(sched, readable).ec == std::errc::bad_file_descriptor);
  rouse::flow_event<TestType> never{sched};
  tls::socket<TestType> none;
  const auto of_none = await(
      sched, CALL(rouse::select(sched, cases(rouse::acquired(never), ready(none, rouse::readable)),
                                patience, how...)));
  CHECK(of_none.ec == std::errc::bad_file_descriptor);
  CHECK(of_none.value == 1);
}

TEST_CASE("tls: select ends a wait that other threads keep busy", "[tls][select][K19]") {
  // Of one record, byte after byte arrives: each makes the wait try, and wait again.
  scripted_connection<rouse::threads> c(role::server);
  c.connect();
  c.peer.write(std::string(400, 'x'));
  rouse::channel<int, rouse::threads> numbers{c.sched, 1};
  std::optional<int> got;
  std::atomic<bool> readable{false};
  std::atomic<int> selects{0};
  bool stuck = false;
  auto counting = c.sched.spawn([&] {
    for (int i = 0; !readable; ++i) numbers.send(i);
    numbers.close();
  });
  std::thread delivering([&] {
    while (!c.peer.outgoing.empty()) {
      const int before = selects;
      const auto until = std::chrono::steady_clock::now() + patience;
      c.peer.deliver(1);
      while (selects == before && !readable && !stuck) {
        c.sched.poll();
        stuck = std::chrono::steady_clock::now() > until;
      }
    }
  });
  for (int next = 0; !readable; ++next) {
    const std::size_t chosen = rouse::select(
        c.sched, cases(receiving(numbers, got), ready(c.socket, rouse::readable)), patience);
    readable = chosen == 1;
    ++selects;
    if (!readable && got != next) FAIL("a number is lost");
  }
  while (numbers.receive()) {
  }
  counting.join();
  delivering.join();
  CHECK_FALSE(stuck);
  CHECK(receive(c.sched, c.socket, 400) == std::string(400, 'x'));
  run_until(c.sched, [&] { return c.sched.engine().active() == 0; });
}

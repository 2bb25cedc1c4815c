// Waiting for the first of several cases.
#include <support/testing.hpp>

#include <stdexcept>

using namespace testing;
using rouse::cases;
using rouse::acquired;
using rouse::ready;
using rouse::receiving;
using rouse::sending;

namespace {

// The result of a select: the index, or the error.
template <class S, class Call>
outcome<std::size_t> chosen(S& sched, Call call) {
  return await<std::size_t>(sched, std::move(call));
}

} // namespace

TEMPLATE_LIST_TEST_CASE("select: performs only the first case that is ready", "[select]",
                        every_scheduler) {
  TestType sched;
  rouse::channel<int, TestType> a{sched, 1}, b{sched, 1};
  rouse::flow_event<TestType> event{sched};
  std::optional<int> from_a, from_b;
  const auto any = [&](auto&&... how) -> decltype(auto) {
    return rouse::select(sched, cases(receiving(a, from_a), receiving(b, from_b), acquired(event)),
                         patience, how...);
  };
  CHECK(b.try_send(2));
  CHECK(chosen(sched, any).value == 1);
  CHECK(from_b == 2);
  CHECK(a.try_send(1));
  CHECK(b.try_send(3));
  CHECK(chosen(sched, any).value == 0);
  CHECK(from_a == 1);
  CHECK(b.size() == 1); // it stays in the channel
  CHECK(b.try_receive() == 3);
  event.set();
  CHECK(chosen(sched, any).value == 2);
  CHECK(a.balance() == 0);
}

TEMPLATE_LIST_TEST_CASE("select: waits for the first case, and leaves the other queues", "[select]",
                        every_scheduler) {
  TestType sched;
  rouse::channel<int, TestType> in{sched}, out{sched};
  rouse::flow_semaphore<TestType> permits{sched, 0};
  std::optional<int> got;
  const auto any = [&](auto&&... how) -> decltype(auto) {
    return rouse::select(sched, cases(receiving(in, got), sending(out, 7), acquired(permits)),
                         how...);
  };
  const auto waiting = [&] { return in.balance() == -1 && out.balance() == 1; };

  auto first = start(sched, any);
  run_until(sched, waiting);
  auto sent = start<rouse::done>(sched, CALL(in.send(5, how...)));
  CHECK(first.wait().value == 0);
  CHECK(!sent.wait().ec);
  CHECK(got == 5);
  CHECK((in.balance() == 0 && out.balance() == 0));

  auto second = start(sched, any);
  run_until(sched, waiting);
  auto received = start<std::optional<int>>(sched, CALL(out.receive(how...)));
  CHECK(second.wait().value == 1);
  CHECK(received.wait().value == 7);

  auto third = start(sched, any);
  run_until(sched, waiting);
  permits.release();
  CHECK(third.wait().value == 2);
  CHECK(permits.available() == 0);
  CHECK((in.balance() == 0 && out.balance() == 0));
}

TEMPLATE_LIST_TEST_CASE("select: a limit and a cancel take nothing", "[select]", every_scheduler) {
  TestType sched;
  rouse::channel<int, TestType> in{sched}, out{sched};
  std::optional<int> got;
  const auto late = chosen(
      sched, CALL(rouse::select(sched, cases(receiving(in, got), sending(out, 7)), 1ms, how...)));
  CHECK(late.ec == std::errc::timed_out);
  CHECK(late.value == 2);
  std::stop_source source;
  auto stopped = start(sched, CALL(rouse::select(sched, cases(receiving(in, got), sending(out, 7)),
                                                 source.get_token(), how...)));
  run_until(sched, [&] { return in.balance() == -1; });
  source.request_stop();
  CHECK(stopped.wait().ec == std::errc::operation_canceled);
  CHECK((in.balance() == 0 && out.balance() == 0));
  CHECK(!in.try_send(1)); // there is no receiver
  CHECK(!got);
}

TEMPLATE_LIST_TEST_CASE("select: reports a closed channel and an error from a channel", "[select]",
                        every_scheduler) {
  TestType sched;
  rouse::channel<int, TestType> a{sched, 1}, b{sched};
  std::optional<int> got = 1;
  const auto both = [&](auto&&... how) -> decltype(auto) {
    return rouse::select(sched, cases(receiving(a, got), sending(b, 1)), how...);
  };
  auto waits = start(sched, both);
  run_until(sched, [&] { return a.balance() == -1; });
  auto failing = start<rouse::done>(
      sched, CALL(a.send_error(std::make_error_code(std::errc::io_error), how...)));
  CHECK(waits.wait().ec == std::errc::io_error);
  CHECK(waits.wait().value == 0);
  CHECK(!failing.wait().ec);
  a.close();
  CHECK(chosen(sched, both).value == 0);
  CHECK(!got);
  b.close();
  const auto other = chosen(sched, CALL(rouse::select(sched, cases(sending(b, 1)), how...)));
  CHECK(other.ec == std::errc::broken_pipe);
  CHECK(other.value == 0);
}

TEMPLATE_LIST_TEST_CASE("select: reports a ready socket and leaves its bytes", "[select][T12]",
                        every_scheduler) {
  connected_pair<TestType> pair;
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
  CHECK(chosen(sched, any).value == 1); // at once
  CHECK(numbers.try_send(3));
  CHECK(chosen(sched, any).value == 0); // precedes it in the list
  CHECK(got == 3);
  CHECK(receive(sched, pair.client, 5) == "hello");

  // It no longer waits for the socket once another case is chosen.
  auto again = start(sched, any);
  run_until(sched, [&] { return numbers.balance() == -1; });
  auto sent = start<rouse::done>(sched, CALL(numbers.send(4, how...)));
  CHECK(again.wait().value == 0);
  CHECK(!sent.wait().ec);
  run_until(sched, [&] { return sched.engine().active() == 0; });
  CHECK(send(sched, pair.server, "after").value == 5);
  CHECK(receive(sched, pair.client, 5) == "after");
}

TEMPLATE_LIST_TEST_CASE("select: reports a socket that is closed before or during the wait",
                        "[select]", every_scheduler) {
  connected_pair<TestType> pair;
  rouse::flow_event<TestType> event{pair.sched};
  const auto either = [&](auto&&... how) -> decltype(auto) {
    return rouse::select(pair.sched, cases(acquired(event), ready(pair.client, rouse::readable)),
                         how...);
  };
  auto waits = start(pair.sched, either);
  until_pending(pair.sched, 2);
  pair.client.close();
  CHECK(waits.wait().ec == std::errc::operation_canceled);
  CHECK(waits.wait().value == 1);
  CHECK(chosen(pair.sched, either).ec == std::errc::bad_file_descriptor);
  const rouse::socket<TestType> none;
  CHECK(chosen(pair.sched,
               CALL(rouse::select(pair.sched, cases(ready(none, rouse::readable)), how...)))
            .ec == std::errc::bad_file_descriptor);
}

TEMPLATE_LIST_TEST_CASE(
    "select: the flow may be killed, or destroyed with its scheduler, while it waits", "[select]",
    every_flowing) {
  connected_pair<TestType> pair;
  auto& sched = pair.sched;
  rouse::channel<int, TestType> numbers{sched};
  const auto waits = [&]() -> rouse::task<> {
    std::optional<int> got;
    co_await rouse::select(sched,
                           cases(receiving(numbers, got), ready(pair.client, rouse::readable)));
  };
  auto killed = sched.spawn(waits);
  auto left = sched.spawn(waits);
  run_until(sched, [&] { return numbers.balance() == -2; });
  killed.kill();
  run_until(sched, [&] { return killed.ended(); });
  CHECK(numbers.balance() == -1);
}

TEST_CASE("select: no value between threads is lost or doubled", "[select][stress]") {
  rouse::threads sched;
  constexpr int each = 300;
  rouse::channel<int, rouse::threads> a{sched}, b{sched};
  rouse::flow_event<rouse::threads> over{sched};
  std::atomic<long> sum{0};
  for (int r = 0; r != 3; ++r)
    sched.spawn([&] {
      while (true) {
        std::optional<int> one, two;
        const auto which =
            rouse::select(sched, cases(receiving(a, one), receiving(b, two), acquired(over)));
        if (which == 2) return;
        sum += which == 0 ? *one : *two;
      }
    });
  {
    rouse::flow_group senders{sched};
    for (auto* ch : {&a, &b})
      for (int s = 0; s != 2; ++s)
        senders.spawn([&, ch] {
          for (int i = 1; i <= each; ++i) ch->send(i);
        });
    senders.join();
  }
  over.set();
  sched.run();
  CHECK(sum == 4L * each * (each + 1) / 2);
}

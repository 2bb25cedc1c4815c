// Channels: values passed from one flow to another, under every waker.
#include <support/testing.hpp>

#include <stdexcept>

using namespace testing;

namespace {

using number = std::optional<int>;

template <class S>
started<S, number> receiving(S& sched, rouse::channel<int, S>& ch) {
  return start<number>(sched, CALL(ch.receive(how...)));
}
template <class S>
started<S, rouse::done> sending(S& sched, rouse::channel<int, S>& ch, int value) {
  return start<rouse::done>(
      sched, [&ch, value](auto&&... how) -> decltype(auto) { return ch.send(value, how...); });
}

} // namespace

TEMPLATE_LIST_TEST_CASE("channel: a receiver waits for a sender, and a sender for a receiver",
                        "[channel][B28]", every_scheduler) {
  TestType sched;
  rouse::channel<int, TestType> ch{sched};
  CHECK(ch.balance() == 0);
  auto first = receiving(sched, ch);
  until_pending(sched, 1);
  CHECK(ch.balance() == -1);
  CHECK(!sending(sched, ch, 1).wait().ec);
  CHECK(first.wait().value == 1);
  auto second = sending(sched, ch, 2);
  until_pending(sched, 1);
  CHECK(!second.finished());
  CHECK(ch.balance() == 1);
  CHECK(receiving(sched, ch).wait().value == 2);
  CHECK(!second.wait().ec);
  CHECK(ch.balance() == 0);
}

TEMPLATE_LIST_TEST_CASE("channel: flows are served in the order of their calls", "[channel][B28]",
                        every_scheduler) {
  TestType sched;
  rouse::channel<int, TestType> ch{sched};
  std::vector<started<TestType, rouse::done>> senders;
  for (int n = 0; n != 4; ++n) {
    senders.push_back(sending(sched, ch, n));
    until_pending(sched, senders.size());
  }
  CHECK(ch.balance() == 4);
  for (int n = 0; n != 4; ++n) CHECK(receiving(sched, ch).wait().value == n);
  for (auto& s : senders) CHECK(!s.wait().ec);
  std::vector<started<TestType, number>> receivers;
  for (int n = 0; n != 4; ++n) {
    receivers.push_back(receiving(sched, ch));
    until_pending(sched, receivers.size());
  }
  CHECK(ch.balance() == -4);
  for (int n = 0; n != 4; ++n) CHECK(!sending(sched, ch, n).wait().ec);
  for (int n = 0; n != 4; ++n) CHECK(receivers[static_cast<unsigned>(n)].wait().value == n);
}

TEMPLATE_LIST_TEST_CASE("channel: with a capacity, a sender waits only while the channel is full",
                        "[channel][B30]", every_scheduler) {
  TestType sched;
  rouse::channel<int, TestType> ch{sched, 2};
  CHECK(!sending(sched, ch, 0).wait().ec);
  CHECK(!sending(sched, ch, 1).wait().ec);
  auto third = sending(sched, ch, 2);
  until_pending(sched, 1);
  CHECK(ch.size() == 2);
  CHECK(ch.balance() == 1);
  CHECK(receiving(sched, ch).wait().value == 0);
  CHECK(!third.wait().ec); // there is room for its value now
  CHECK(ch.size() == 2);
  CHECK(receiving(sched, ch).wait().value == 1);
  CHECK(receiving(sched, ch).wait().value == 2);
}

TEMPLATE_LIST_TEST_CASE("channel: try_send and try_receive do nothing if they would have to wait",
                        "[channel]", every_scheduler) {
  TestType sched;
  rouse::channel<std::unique_ptr<int>, TestType> ch{sched, 1};
  auto value = std::make_unique<int>(1), kept = std::make_unique<int>(2);
  CHECK(!ch.try_receive());
  CHECK(ch.try_send(value));
  CHECK(!value);
  CHECK(!ch.try_send(kept));
  REQUIRE(kept);
  auto got = ch.try_receive();
  REQUIRE(got);
  CHECK(**got == 1);
  auto waiting = start<std::optional<std::unique_ptr<int>>>(sched, CALL(ch.receive(how...)));
  until_pending(sched, 1);
  CHECK(ch.try_send(kept)); // a receiver waits
  CHECK(**waiting.wait().value == 2);
  ch.close();
  CHECK(!ch.try_send(std::make_unique<int>(3)));
}

TEMPLATE_LIST_TEST_CASE("channel: after close, buffered values are received and sends fail",
                        "[channel][B21]", every_scheduler) {
  TestType sched;
  rouse::channel<int, TestType> ch{sched, 1};
  CHECK(!sending(sched, ch, 1).wait().ec);
  auto stuck = sending(sched, ch, 2);
  until_pending(sched, 1);
  ch.close();
  CHECK(ch.closed());
  CHECK(stuck.wait().ec == std::errc::broken_pipe);
  CHECK(sending(sched, ch, 3).wait().ec == std::errc::broken_pipe);
  CHECK(receiving(sched, ch).wait().value == 1);
  for (int n = 0; n != 2; ++n) {
    auto end = receiving(sched, ch).wait();
    CHECK(!end.ec);
    CHECK(!end.value);
  }
  rouse::channel<int, TestType> other{sched};
  auto waiting = receiving(sched, other);
  until_pending(sched, 1);
  other.close();
  CHECK(!waiting.wait().ec);
  CHECK(!waiting.wait().value);
}

TEMPLATE_LIST_TEST_CASE("channel: the receiver gets an error that was sent", "[channel][B29]",
                        every_scheduler) {
  TestType sched;
  rouse::channel<int, TestType> ch{sched, 4};
  auto waiting = receiving(sched, ch);
  until_pending(sched, 1);
  const auto refused = std::make_error_code(std::errc::connection_refused);
  CHECK(!await<rouse::done>(sched, CALL(ch.send_error(refused, how...))).ec);
  CHECK(waiting.wait().ec == std::errc::connection_refused);
  CHECK(!sending(sched, ch, 1).wait().ec); // errors keep their order behind values
  CHECK(!await<rouse::done>(sched, CALL(ch.send_error(refused, 5s, how...))).ec);
  CHECK(receiving(sched, ch).wait().value == 1);
  CHECK(receiving(sched, ch).wait().ec == std::errc::connection_refused);
  CHECK(!await<rouse::done>(sched, CALL(ch.send_error(refused, how...))).ec);
  CHECK_THROWS_AS(ch.try_receive(), std::system_error);
}

TEMPLATE_LIST_TEST_CASE("channel: an empty error is refused", "[channel]", every_scheduler) {
  TestType sched;
  rouse::channel<int, TestType> ch{sched, 4};
  const auto none = std::errc::invalid_argument;
  CHECK(await<rouse::done>(sched, CALL(ch.send_error(std::error_code(), how...))).ec == none);
  CHECK(await<rouse::done>(sched, CALL(ch.send_error(std::exception_ptr(), how...))).ec == none);
  CHECK(!ch.try_receive());
  CHECK(!sending(sched, ch, 1).wait().ec);
  CHECK(receiving(sched, ch).wait().value == 1);
}

TEMPLATE_LIST_TEST_CASE("channel: the receiver throws an exception that was sent", "[channel][B29]",
                        every_flowing) {
  TestType sched;
  rouse::channel<int, TestType> ch{sched};
  std::string caught;
  if constexpr (awaits<TestType>) {
    sched.spawn([&]() -> rouse::task<> {
      try {
        (void)co_await ch.receive();
      } catch (const std::runtime_error& e) {
        caught = e.what();
      }
    });
  } else {
    sched.spawn([&] {
      try {
        (void)ch.receive();
      } catch (const std::runtime_error& e) {
        caught = e.what();
      }
    });
  }
  const auto error = std::make_exception_ptr(std::runtime_error("sent"));
  CHECK(!await<rouse::done>(sched, CALL(ch.send_error(error, how...))).ec);
  sched.run();
  CHECK(caught == "sent");
}

TEMPLATE_LIST_TEST_CASE("channel: a limit ends the wait, and the value goes to the next one",
                        "[channel][B26][B30]", every_scheduler) {
  TestType sched;
  rouse::channel<int, TestType> ch{sched};
  CHECK(await<number>(sched, CALL(ch.receive(1ms, how...))).ec == std::errc::timed_out);
  CHECK(await<rouse::done>(sched, CALL(ch.send(1, 1ms, how...))).ec == std::errc::timed_out);
  CHECK(ch.balance() == 0); // neither is queued any more
  std::stop_source stop;
  auto ended = start<number>(sched, CALL(ch.receive(stop.get_token(), how...)));
  auto next = receiving(sched, ch);
  until_pending(sched, 2);
  stop.request_stop();
  CHECK(ended.wait().ec == std::errc::operation_canceled);
  CHECK(!sending(sched, ch, 2).wait().ec);
  CHECK(next.wait().value == 2);
  // A limit of zero still takes a value that is there.
  auto waiting = sending(sched, ch, 3);
  until_pending(sched, 1);
  CHECK(await<number>(sched, CALL(ch.receive(0s, how...))).value == 3);
  CHECK(!waiting.wait().ec);
}

TEMPLATE_LIST_TEST_CASE("channel: when a value and a cancel race, the value wins",
                        "[channel][O4][X12]", every_scheduler) {
  TestType sched;
  rouse::channel<int, TestType> ch{sched};
  std::stop_source stop;
  auto waiting = start<number>(sched, CALL(ch.receive(stop.get_token(), how...)));
  until_pending(sched, 1);
  CHECK(ch.try_send(1));
  stop.request_stop();
  CHECK(!waiting.wait().ec);
  CHECK(waiting.wait().value == 1);
  CHECK(waiting.times() == 1);
}

TEMPLATE_LIST_TEST_CASE("channel: dropping its last end cancels the calls that wait",
                        "[channel][O5]", every_scheduler) {
  TestType sched;
  std::optional<rouse::channel<int, TestType>> ch{std::in_place, sched}, copy{*ch};
  auto waiting = receiving(sched, *ch);
  until_pending(sched, 1);
  ch.reset();
  CHECK(copy->balance() == -1);
  copy.reset();
  CHECK(waiting.wait().ec == std::errc::operation_canceled);
}

TEMPLATE_LIST_TEST_CASE("channel: destroying the scheduler ends the flows that wait",
                        "[channel][L03]", every_scheduler) {
  auto sched = std::make_unique<TestType>();
  auto kept = std::make_shared<int>();
  auto ch = std::make_unique<rouse::channel<int, TestType>>(*sched);
  if constexpr (calls_back<TestType>) {
    ch->receive([kept](std::error_code, number) {});
  } else if constexpr (awaits<TestType>) {
    sched->spawn([kept, c = *ch]() mutable -> rouse::task<> { (void)co_await c.receive(); });
  } else {
    sched->spawn([kept, c = *ch]() mutable { (void)c.receive(); });
  }
  until_pending(*sched, 1);
  ch.reset();
  sched.reset();
  CHECK(kept.use_count() == 1);
}

TEMPLATE_LIST_TEST_CASE("channel: post sends values from other threads", "[channel][B30]",
                        every_scheduler) {
  TestType sched;
  rouse::channel<int, TestType> ch{sched};
  constexpr int each = 200;
  std::vector<std::thread> threads;
  for (int t = 0; t != 2; ++t) {
    threads.emplace_back([&] {
      for (int n = 1; n <= each; ++n) ch.post(n);
    });
  }
  int sum = 0;
  for (int n = 0; n != 2 * each; ++n) {
    const auto got = receiving(sched, ch).wait();
    REQUIRE(got.value);
    sum += *got.value;
  }
  for (auto& t : threads) t.join();
  CHECK(sum == each * (each + 1));
  CHECK(!ch.try_receive());
}

TEMPLATE_TEST_CASE("channel: a range-for receives all values until the close", "[channel][B28]",
                   rouse::fibers, rouse::threads) {
  TestType sched;
  rouse::channel<int, TestType> ch{sched};
  std::vector<int> got;
  sched.spawn([&, ch]() mutable {
    for (int n : ch) got.push_back(n);
  });
  sched.spawn([ch]() mutable {
    for (int n = 0; n != 100; ++n) ch.send(n);
    ch.close();
  });
  sched.run();
  REQUIRE(got.size() == 100);
  CHECK(got.front() == 0);
  CHECK(got.back() == 99);
}

TEST_CASE("channel: connects flows of different wakers on one engine", "[channel][B28]") {
  rouse::fibers sched;
  rouse::coroutines other{sched.engine()};
  rouse::callbacks third{sched.engine()};
  rouse::channel<int, rouse::fibers> out{sched}, back{sched};
  other.spawn([in = out.on(other), back = back.on(other)]() mutable -> rouse::task<> {
    while (auto n = co_await in.receive()) co_await back.send(*n * 2);
    back.close();
  });
  int sum = 0;
  sched.spawn([&] {
    for (int n = 1; n <= 10; ++n) {
      out.send(n);
      sum += *back.receive();
    }
    out.close();
  });
  sched.run();
  CHECK(sum == 110);
  std::error_code result;
  back.on(third).send(1, [&](std::error_code ec) { result = ec; });
  sched.run();
  CHECK(result == std::errc::broken_pipe);
  rouse::fibers elsewhere;
  CHECK_THROWS_AS(out.on(elsewhere), std::system_error);
}

TEMPLATE_LIST_TEST_CASE("channel: each call of a cancelled flow fails, even one that need not wait",
                        "[channel][O4]", every_flowing) {
  TestType sched;
  rouse::channel<int, TestType> ch{sched, 2};
  CHECK(ch.try_send(1));
  std::error_code slept, sent, received;
  auto flow = sched.spawn([&]() -> rouse::task<> {
    co_await sched.sleep_for(1h, slept);
    co_await ch.send(2, sent);
    co_await ch.receive(received);
  });
  until_pending(sched, 1);
  flow.cancel();
  sched.run();
  for (const std::error_code& ec : {slept, sent, received})
    CHECK(ec == std::errc::operation_canceled);
  CHECK(ch.size() == 1);
}

TEMPLATE_TEST_CASE("channel: a flow that never has to wait lets others run", "[channel][O2]",
                   rouse::coroutines, rouse::fibers) {
  TestType sched;
  rouse::channel<int, TestType> ch{sched, 1};
  constexpr int many = 100000;
  int rounds = 0;
  bool other = false;
  sched.spawn([&]() -> rouse::task<> {
    while (!other && ++rounds != many) {
      co_await ch.send(rounds);
      co_await ch.receive();
    }
  });
  sched.spawn([&]() -> rouse::task<> {
    other = true;
    co_return;
  });
  sched.run();
  CHECK(rounds < many);
}

TEST_CASE("channel: every value arrives once while threads race with limits",
          "[channel][O4][X12]") {
  rouse::threads sched;
  rouse::channel<int, rouse::threads> ch{sched};
  std::atomic<long> sent{0}, received{0};
  std::vector<rouse::flow_handle<rouse::threads>> senders;
  for (int t = 0; t != 2; ++t) {
    senders.push_back(sched.spawn([&, t] {
      for (int n = 1; n <= 300; ++n) {
        std::error_code ec;
        ch.send(n, std::chrono::microseconds(n % (20 * (t + 1))), ec);
        if (!ec) sent += n;
      }
    }));
    sched.spawn([&, t] {
      for (bool open = true; open;) {
        std::error_code ec;
        auto got = ch.receive(std::chrono::microseconds(10 * (t + 1)), ec);
        open = ec || got;
        if (got) received += *got;
      }
    });
  }
  for (auto& s : senders) s.join();
  ch.close();
  sched.run();
  CHECK(sent == received);
}

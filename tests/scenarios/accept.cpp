// accept: section 4 of scenarios.md.
#include <support/open_descriptors.hpp>
#include <support/testing.hpp>

#if ROUSE_LINUX
#include <ctime>
#include <sys/resource.h>
#endif

#include <future>

using namespace testing;

TEMPLATE_LIST_TEST_CASE("accept: completes whether it starts before the client connects or after",
                        "[accept][A01]", every_scheduler) {
  TestType sched;
  auto listener = listening(sched);
  rouse::socket first{sched}, second{sched};
  auto before = start<rouse::socket<TestType>>(sched, CALL(listener.accept(how...)));
  until_pending(sched, 1);
  REQUIRE(!await<rouse::done>(sched, CALL(first.connect(listener.local_endpoint(), how...))).ec);
  CHECK(before.wait().value.remote_endpoint() == first.local_endpoint());
  REQUIRE(!await<rouse::done>(sched, CALL(second.connect(listener.local_endpoint(), how...))).ec);
  auto after = await<rouse::socket<TestType>>(sched, CALL(listener.accept(how...)));
  CHECK(after.value.remote_endpoint() == second.local_endpoint());
}

TEMPLATE_LIST_TEST_CASE("accept: fails without listen, and listen without bind chooses a port",
                        "[accept][A02]", every_scheduler) {
  TestType sched;
  rouse::socket s{sched};
  CHECK(await<rouse::socket<TestType>>(sched, CALL(s.accept(how...))).ec ==
        std::errc::invalid_argument);
  rouse::socket l{sched};
  l.listen();
  CHECK(l.local_endpoint().port() != 0);
}

TEMPLATE_LIST_TEST_CASE("accept: each connection wakes exactly one of several waiters",
                        "[accept][A03][B10]", every_scheduler) {
  TestType sched;
  auto listener = listening(sched);
  std::vector<started<TestType, rouse::socket<TestType>>> waiting;
  for (int i = 0; i != 4; ++i)
    waiting.push_back(start<rouse::socket<TestType>>(sched, CALL(listener.accept(how...))));
  until_pending(sched, 4);
  std::vector<rouse::socket<TestType>> clients;
  for (std::size_t n = 1; n <= 4; ++n) {
    clients.emplace_back(sched);
    REQUIRE(
        !await<rouse::done>(sched, CALL(clients.back().connect(listener.local_endpoint(), how...)))
             .ec);
    until_pending(sched, 4 - n);
  }
  for (auto& w : waiting) {
    CHECK(!w.wait().ec);
    CHECK(w.times() == 1);
  }
}

TEMPLATE_LIST_TEST_CASE("accept: a client that resets before it is accepted does no harm",
                        "[accept][A04]", every_scheduler) {
  TestType sched;
  auto listener = listening(sched);
  {
    rouse::socket hasty{sched};
    REQUIRE(!await<rouse::done>(sched, CALL(hasty.connect(listener.local_endpoint(), how...))).ec);
    hasty.set_option(rouse::linger{true, 0s});
  }
  rouse::socket patient{sched};
  REQUIRE(!await<rouse::done>(sched, CALL(patient.connect(listener.local_endpoint(), how...))).ec);
  // The first connection may be returned although it is dead, or not at all.
  auto got = await<rouse::socket<TestType>>(sched, CALL(listener.accept(how...)));
  std::error_code ec;
  if (!got.ec && got.value.remote_endpoint(ec) != patient.local_endpoint()) {
    got = await<rouse::socket<TestType>>(sched, CALL(listener.accept(how...)));
  }
  REQUIRE(!got.ec);
  CHECK(got.value.remote_endpoint() == patient.local_endpoint());
}

#if ROUSE_LINUX
TEMPLATE_LIST_TEST_CASE(
    "accept: waits while there are no descriptors, and continues when one is free", "[accept][A05]",
    every_scheduler) {
  TestType sched;
  auto listener = listening(sched);
  rouse::socket client{sched};
  REQUIRE(!await<rouse::done>(sched, CALL(client.connect(listener.local_endpoint(), how...))).ec);
  rlimit was{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &was) == 0);
  rlimit none = was;
  const int lowest_free = ::dup(0);
  ::close(lowest_free);
  none.rlim_cur = static_cast<rlim_t>(lowest_free);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  auto pending = start<rouse::socket<TestType>>(sched, CALL(listener.accept(how...)));
  until_pending(sched, 1);
  const std::clock_t cpu = std::clock();
  sched.run_for(200ms);
  const auto spent = std::clock() - cpu;
  const bool waited = !pending.finished();
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &was) == 0);
  CHECK(waited);
  CHECK(spent < CLOCKS_PER_SEC / 20); // it does not spin
  REQUIRE(!pending.wait().ec);
  CHECK(pending.wait().value.remote_endpoint() == client.local_endpoint());
}
#endif

TEMPLATE_LIST_TEST_CASE("accept: closing or cancelling the listener wakes all waiters once",
                        "[accept][A06]", every_scheduler) {
  for (const bool close : {false, true}) {
    TestType sched;
    auto listener = listening(sched);
    auto a = start<rouse::socket<TestType>>(sched, CALL(listener.accept(how...)));
    auto b = start<rouse::socket<TestType>>(sched, CALL(listener.accept(how...)));
    until_pending(sched, 2);
    if (close)
      listener.close();
    else
      listener.cancel();
    for (auto* w : {&a, &b}) {
      CHECK(w->wait().ec == std::errc::operation_canceled);
      CHECK(!w->wait().value.is_open());
      CHECK(w->times() == 1);
    }
    CHECK(listener.is_open() != close);
  }
}

#if ROUSE_LINUX
TEMPLATE_LIST_TEST_CASE("destroying a scheduler leaves no descriptor open", "[accept][A07][L03]",
                        every_scheduler) {
  {
    TestType warm_up;
  }
  const no_leak checked;
  TestType sched;
  auto listener = listening(sched);
  auto pending = start<rouse::socket<TestType>>(sched, CALL(listener.accept(how...)));
  until_pending(sched, 1);
  rouse::socket unclaimed{sched}; // connected by the kernel, never accepted
  REQUIRE(
      !await<rouse::done>(sched, CALL(unclaimed.connect(listener.local_endpoint(), how...))).ec);
}
#endif

TEMPLATE_LIST_TEST_CASE("accept: all of a thousand quick clients are served", "[accept][A08]",
                        every_scheduler) {
  TestType sched;
  auto listener = listening(sched, 1024);
  const std::size_t clients = ROUSE_WINDOWS ? 200 : 1000;
  std::vector<rouse::socket<TestType>> connected;
  for (std::size_t i = 0; i != clients; ++i) {
    connected.emplace_back(sched);
    auto c = start<rouse::done>(sched,
                                CALL(connected.back().connect(listener.local_endpoint(), how...)));
    auto a = await<rouse::socket<TestType>>(sched, CALL(listener.accept(how...)));
    REQUIRE(!c.wait().ec);
    REQUIRE(!a.ec);
    if (i % 3 == 0) connected.back().close();
  }
}

TEMPLATE_LIST_TEST_CASE("a dual-stack listener accepts IPv4, a v6_only listener does not",
                        "[accept][A10]", every_scheduler) {
  TestType sched;
  for (const bool only : {false, true}) {
    rouse::socket l{sched, AF_INET6};
    l.set_option(rouse::v6_only{only});
    l.bind({"::", 0});
    l.listen();
    rouse::socket c{sched};
    auto accepted = start<rouse::socket<TestType>>(sched, CALL(l.accept(how...)));
    until_pending(sched, 1);
    const auto r = await<rouse::done>(
        sched, CALL(c.connect({"127.0.0.1", l.local_endpoint().port()}, how...)));
    if (only) {
      CHECK(r.ec == std::errc::connection_refused);
      l.close();
      CHECK(accepted.wait().ec == std::errc::operation_canceled);
    } else {
      CHECK(!r.ec);
      CHECK(accepted.wait().value.remote_endpoint().address() == "::ffff:127.0.0.1");
    }
  }
}

TEMPLATE_LIST_TEST_CASE(
    "accept: a token that has already been stopped ends it at once, not at the next client",
    "[accept][A11]", every_scheduler) {
  TestType sched;
  auto listener = listening(sched);
  std::stop_source stopped;
  stopped.request_stop();
  CHECK(await<rouse::socket<TestType>>(sched, CALL(listener.accept(stopped.get_token(), how...)))
            .ec == std::errc::operation_canceled);
}

TEMPLATE_LIST_TEST_CASE(
    "reuse_port: two schedulers on two threads share a port where the system can", "[accept][A09]",
    every_scheduler) {
  TestType here;
  rouse::socket first{here};
  std::error_code ec;
  first.set_option(rouse::reuse_port{true}, ec);
#if ROUSE_WINDOWS
  CHECK(ec == std::errc::no_protocol_option);
#else
  REQUIRE(!ec);
  first.bind({"127.0.0.1", 0});
  first.listen();
  const rouse::endpoint where = first.local_endpoint();
  std::promise<void> bound, over;
  std::atomic<bool> served{false};
  std::thread other([&] {
    TestType there;
    rouse::socket second{there};
    second.set_option(rouse::reuse_port{true});
    second.bind(where);
    second.listen();
    bound.set_value();
    const auto got = await<rouse::socket<TestType>>(there, CALL(second.accept(patience, how...)));
    served = !got.ec;
    over.get_future().wait(); // the listener's queue may hold further clients
  });
  bound.get_future().wait();
  auto accepted = start<rouse::socket<TestType>>(here, CALL(first.accept(patience, how...)));
  // The kernel distributes them by their addresses: with enough of them, both listeners get some.
  std::vector<rouse::socket<TestType>> clients;
  const auto until = rouse::clock::now() + patience;
  while ((!accepted.finished() || !served) && rouse::clock::now() < until) {
    clients.emplace_back(here);
    CHECK(!await<rouse::done>(here, CALL(clients.back().connect(where, how...))).ec);
  }
  over.set_value();
  other.join();
  CHECK(!accepted.wait().ec);
  CHECK(served);
#endif
}

TEST_CASE("close: calls that other threads keep making do not delay it", "[accept][close]") {
  rouse::threads sched;
  for (int round = 0; round != 20; ++round) {
    rouse::socket listener = listening(sched);
    const auto where = listener.local_endpoint();
    rouse::flow_group group{sched};
    std::atomic<int> begun{0};
    for (int i = 0; i != 4; ++i)
      group.spawn([&] { // continues after any error but the close
        for (std::error_code ec; ec != std::errc::bad_file_descriptor; ++begun)
          (void)listener.accept(ec);
      });
    rouse::socket client{sched};
    client.connect(where, patience);
    while (begun == 0) std::this_thread::yield();
    listener.close();
    group.join(patience);
    CHECK(!listener.is_open());
  }
}

// Fairness: every call counts against the budget, also a call that the kernel never sees (O2).
#include <support/testing.hpp>

using namespace testing;

namespace {

using every_looped =
    std::tuple<rouse::coroutines, rouse::fibers,
               rouse::basic_scheduler<rouse::shared_native_engine, rouse::coroutine_waker>>;
// More calls than other flows may have to wait for.
constexpr int most = 20'000;

template <class Call>
auto repeated(Call call, const std::atomic<bool>& done, int& calls) {
  return [call, &done, &calls] {
    std::error_code ec;
    while (!done && calls != most) {
      (void)call(ec);
      ++calls;
    }
  };
}
template <class Call>
auto repeated_task(Call call, const std::atomic<bool>& done, int& calls) {
  return [call, &done, &calls]() -> rouse::task<> {
    std::error_code ec;
    while (!done && calls != most) {
      (void)co_await call(ec);
      ++calls;
    }
  };
}
template <class S>
auto rest_then_note(S& sched, std::atomic<bool>& done) {
  const auto due = rouse::clock::now() - 1ms;
  if constexpr (awaits<S>)
    return [&sched, &done, due]() -> rouse::task<> {
      co_await sched.sleep_until(due);
      co_await sched.yield();
      done = true;
    };
  else
    return [&sched, &done, due] {
      sched.sleep_until(due);
      sched.yield();
      done = true;
    };
}

// While a flow makes one such call after the other, a timer, another flow and a posted function
// must run, and a stop must take effect.
template <class S, class Call>
void check_fair(S& sched, const char* what, Call call) {
  INFO(what);
  std::atomic<bool> done{false};
  int calls = 0;
  const auto start_loop = [&] {
    calls = 0;
    if constexpr (awaits<S>)
      sched.spawn(repeated_task(call, done, calls));
    else
      sched.spawn(repeated(call, done, calls));
  };
  start_loop();
  sched.spawn(rest_then_note(sched, done));
  sched.run();
  CHECK(done);
  CHECK(calls < most);

  done = false;
  start_loop();
  sched.post([&] { sched.post([&] { done = true; }); });
  sched.run();
  CHECK(done);
  CHECK(calls < most);

  done = false;
  start_loop();
  sched.post([&] { sched.post([&] { sched.stop(); }); });
  sched.run();
  CHECK(calls < most);
  done = true;
  sched.run();
}

} // namespace

TEMPLATE_LIST_TEST_CASE("a flow that makes socket calls without the kernel lets other flows run",
                        "[O2]", every_looped) {
  TestType sched;
  using socket = rouse::socket<TestType>;
  auto [here, there] = rouse::socket_pair(sched);
  std::array<char, 8> buf;
  check_fair(sched, "an empty send_all", CALL(here.send_all(std::string_view(), how...)));
  check_fair(sched, "an empty send", CALL(here.send(std::string_view(), how...)));
  check_fair(sched, "a recv into nothing", CALL(here.recv(rouse::mutable_buffer(), how...)));
  check_fair(sched, "a recv_exactly into nothing",
             CALL(here.recv_exactly(rouse::mutable_buffer(), how...)));
  check_fair(sched, "a recv with a limit in the past", CALL(here.recv(buf, -1s, how...)));
  std::stop_source stopped;
  stopped.request_stop();
  check_fair(sched, "a recv with a stopped token",
             CALL(here.recv(buf, stopped.get_token(), how...)));
  std::array<rouse::outgoing, 1> items;
  check_fair(sched, "a batch of none",
             CALL(here.send_batch(std::span<rouse::outgoing>(items).first(0), how...)));
  socket other{sched};
  check_fair(sched, "a connect to another family",
             CALL(other.connect(rouse::endpoint("::1", 80), how...)));
  socket closed{sched};
  closed.close();
  check_fair(sched, "a recv of a closed socket", CALL(closed.recv(buf, how...)));
  check_fair(sched, "an accept of a closed socket", CALL(closed.accept(how...)));
  socket none;
  check_fair(sched, "a recv of no socket", CALL(none.recv(buf, how...)));
  check_fair(sched, "a send_all of no socket", CALL(none.send_all("x", how...)));
}

TEMPLATE_LIST_TEST_CASE("a flow that resolves numeric addresses only lets other flows run", "[O2]",
                        every_looped) {
  TestType sched;
  check_fair(sched, "an address", CALL(rouse::resolve(sched, "127.0.0.1", 80, how...)));
  check_fair(sched, "no port", CALL(rouse::resolve(sched, "127.0.0.1", 70000, how...)));
  check_fair(sched, "a connect to no port", CALL(rouse::connect(sched, "::1", 70000, how...)));
}

TEMPLATE_LIST_TEST_CASE("a flow that is refused every connection at once lets other flows run",
                        "[O2]", every_looped) {
  TestType sched;
  rouse::socket bound{sched};
  bound.bind({"127.0.0.1", 0}); // never listens
  const rouse::endpoint unheard = bound.local_endpoint();
  rouse::socket<TestType> s;
  check_fair(sched, "a refused connect", [&](std::error_code& ec) -> decltype(auto) {
    s = rouse::socket{sched};
    return s.connect(unheard, ec);
  });
}

TEMPLATE_LIST_TEST_CASE("a flow that never has to wait for other flows lets them run", "[O2]",
                        every_looped) {
  TestType sched;
  rouse::flow_semaphore permits{sched, std::size_t{1} << 30};
  check_fair(sched, "a permit", CALL(permits.acquire(how...)));
  rouse::flow_event set{sched};
  set.set();
  check_fair(sched, "an event", CALL(set.wait(how...)));
  rouse::wait_group idle{sched};
  check_fair(sched, "a group of none", CALL(idle.wait(how...)));
  rouse::channel<int, TestType> closed{sched};
  closed.close();
  check_fair(sched, "a closed channel", CALL(closed.receive(how...)));
  check_fair(sched, "a select",
             CALL(rouse::select(sched, rouse::cases(rouse::acquired(set)), how...)));
  rouse::flow_handle<TestType> none;
  check_fair(sched, "a join of no flow", CALL(none.join(how...)));
}

TEMPLATE_LIST_TEST_CASE("a flow that reads bytes its reader already holds lets other flows run",
                        "[O2]", every_looped) {
  TestType sched;
  auto [here, there] = rouse::socket_pair(sched);
  const std::string lines(40'000, '\n');
  std::size_t sent = 0;
  there.set_option(rouse::send_buffer_size{1 << 20});
  here.set_option(rouse::receive_buffer_size{1 << 20});
  std::error_code ec;
  while (sent < lines.size() && !ec)
    sent += there.try_send(std::string_view(lines).substr(sent), ec);
  rouse::reader in{here};
  check_fair(sched, "a line", CALL(in.read_line(how...)));
}

TEST_CASE("handlers that make calls without the kernel do not delay timers and stop", "[O2]") {
  rouse::callbacks sched;
  auto [here, there] = rouse::socket_pair(sched);
  rouse::socket<rouse::callbacks> none;
  bool done = false;
  int calls = 0;
  std::function<void()> again;
  const auto next = [&](std::error_code, std::size_t) {
    if (!done && ++calls != 100'000) again();
  };
  SECTION("an empty send") {
    again = [&] { here.send_all(std::string_view(), next); };
  }
  SECTION("a closed socket") {
    again = [&] { none.send_all("x", next); };
  }
  sched.spawn([&] { again(); });
  sched.sleep_until(rouse::clock::now() - 1ms, [&](std::error_code) { done = true; });
  sched.run();
  CHECK(done);
  CHECK(calls < 100'000);
  done = false;
  calls = 0;
  sched.spawn([&] { again(); });
  sched.post([&] { sched.post([&] { sched.stop(); }); });
  sched.run();
  CHECK(calls < 100'000);
}

TEST_CASE("threads that make calls without the kernel do not delay timers and posted functions",
          "[O2]") {
  rouse::threads sched;
  auto [here, there] = rouse::socket_pair(sched);
  std::atomic<bool> slept{false}, posted{false};
  sched.spawn([&] {
    const auto until = std::chrono::steady_clock::now() + patience;
    while (!(slept && posted) && std::chrono::steady_clock::now() < until)
      here.send_all(std::string_view());
  });
  sched.spawn([&] {
    sched.sleep_for(1ms);
    slept = true;
  });
  sched.post([&] { posted = true; });
  sched.run();
  CHECK(slept);
  CHECK(posted);
}

// dump(): what waits, in words.
#include <support/replaced_resolver.hpp>
#include <support/testing.hpp>

#include <algorithm>
#include <cstdio>

using namespace testing;

namespace {

template <class S>
std::vector<std::string> dumped(S& sched) {
  std::vector<std::string> lines;
  sched.dump([&](std::string_view line) { lines.emplace_back(line); });
  return lines;
}

// The number of lines that contain all the words.
std::size_t count(const std::vector<std::string>& lines, std::initializer_list<std::string> words) {
  return static_cast<std::size_t>(std::count_if(lines.begin(), lines.end(), [&](const auto& line) {
    return std::all_of(words.begin(), words.end(),
                       [&](const auto& w) { return line.find(w) != std::string::npos; });
  }));
}

template <class S>
std::string number_of(const rouse::socket<S>& s) {
  return "socket " + std::to_string(static_cast<std::intptr_t>(s.native_handle()));
}

} // namespace

TEMPLATE_LIST_TEST_CASE(
    "dump: prints the call, the socket and the remaining time of each operation", "[dump]",
    every_scheduler) {
  connected_pair<TestType> pair;
  std::array<char, 8> buf;
  auto accepting = start<rouse::socket<TestType>>(pair.sched, CALL(pair.listener.accept(how...)));
  auto receiving = start(pair.sched, CALL(pair.client.recv(buf, 1h, how...)));
  auto other = start(pair.sched, CALL(pair.server.recv(buf, how...)));
  until_pending(pair.sched, 3);
  auto lines = dumped(pair.sched);
  CHECK(lines.front() == "rouse: what waits, on " + pair.sched.engine_report() + "\n");
  const std::string at = to_string(pair.client.local_endpoint());
  const std::string peer = to_string(pair.server.local_endpoint());
  CHECK(count(lines, {"  accept on " + number_of(pair.listener), peer}) == 1);
  CHECK(count(lines, {"  recv on " + number_of(pair.client), at + ", with " + peer, " 3599"}) == 1);
  CHECK(count(lines, {"  recv on " + number_of(pair.server), peer + ", with " + at}) == 1);
  CHECK(count(lines, {" left"}) == 1);
  for (const std::string& line : lines) {
    INFO(line);
    CHECK(line.find('\n') == line.size() - 1);
  }
  pair.client.cancel();
  pair.server.cancel();
  pair.listener.cancel();
  (void)accepting.wait();
  (void)receiving.wait();
  (void)other.wait();
  CHECK(count(dumped(pair.sched), {" on socket "}) == 0);
}

TEMPLATE_LIST_TEST_CASE("dump: prints what each flow waits for", "[dump]", every_flowing) {
  connected_pair<TestType> pair;
  std::array<char, 8> buf;
  auto receiving = start(pair.sched, CALL(pair.client.recv(buf, how...)));
  until_pending(pair.sched, 1);
  const std::string waits = ", waits for recv on " + number_of(pair.client);
  const std::string kind = TestType::waker_type::flow_name;
  CHECK(count(dumped(pair.sched), {"  " + kind + waits + ", spawned at "}) == 1);
  pair.client.cancel();
  CHECK(receiving.wait().ec == std::errc::operation_canceled);
  run_until(pair.sched, [&] { return count(dumped(pair.sched), {"  " + kind}) == 0; });
}

TEMPLATE_LIST_TEST_CASE("dump: marks flows that have not begun or were cancelled", "[dump]",
                        every_single) {
  TestType sched;
  const std::string spawned =
      std::string(", spawned at ") + __FILE__ + ":" + std::to_string(__LINE__ + 1) + "\n";
  auto flow = sched.spawn([] {
    if constexpr (awaits<TestType>) return []() -> rouse::task<> { co_return; }();
  });
  const std::string kind = TestType::waker_type::flow_name;
  CHECK(count(dumped(sched), {"  " + kind + ", not begun" + spawned}) == 1);
  CHECK(count(dumped(sched), {"  yield, about to complete\n"}) == 1);
  flow.cancel();
  CHECK(count(dumped(sched), {"  " + kind + ", not begun, cancelled" + spawned}) == 1);
  sched.run();
  CHECK(flow.ended());
  CHECK(count(dumped(sched), {"  " + kind + ", ended, cancelled" + spawned}) == 1);
}

TEMPLATE_LIST_TEST_CASE("dump: names the calls for urgent data", "[dump]", every_scheduler) {
  connected_pair<TestType> pair;
  std::array<char, 8> buf;
  auto mark = start(pair.sched, CALL(pair.client.recv_out_of_band(buf, how...)));
  auto ready = start<rouse::done>(pair.sched, CALL(pair.server.wait(rouse::urgent, how...)));
  until_pending(pair.sched, 2);
  const auto lines = dumped(pair.sched);
  CHECK(count(lines, {"  recv_out_of_band on " + number_of(pair.client)}) == 1);
  CHECK(count(lines, {"  wait(urgent) on " + number_of(pair.server)}) == 1);
  pair.client.cancel();
  pair.server.cancel();
  (void)mark.wait();
  (void)ready.wait();
}

TEMPLATE_LIST_TEST_CASE("dump: names the calls that wait for readiness", "[dump]",
                        every_scheduler) {
  connected_pair<TestType> pair;
  std::array<char, 8> buf;
  auto peeking = start(pair.sched, CALL(pair.client.peek(buf, how...)));
  auto readable = start<rouse::done>(pair.sched, CALL(pair.server.wait(rouse::readable, how...)));
  until_pending(pair.sched, 2);
  const auto lines = dumped(pair.sched);
  CHECK(count(lines, {"  peek on " + number_of(pair.client)}) == 1);
  CHECK(count(lines, {"  wait(readable) on " + number_of(pair.server)}) == 1);
  pair.client.cancel();
  pair.server.cancel();
  (void)peeking.wait();
  (void)readable.wait();
}

TEMPLATE_LIST_TEST_CASE("dump: names what a call waits for other than a socket", "[dump]",
                        every_scheduler) {
  TestType sched;
  rouse::channel<int, TestType> empty(sched), full(sched);
  rouse::flow_mutex<TestType> mutex(sched);
  rouse::flow_semaphore<TestType> semaphore(sched, 0);
  rouse::flow_event<TestType> event(sched);
  rouse::wait_group<TestType> group(sched, 1);
  REQUIRE(mutex.try_lock());
  std::stop_source stop;
  const rouse::limit until{1h, stop.get_token()};
  std::vector<started<TestType, rouse::done>> waiting;
  const auto begin = [&](auto call) { waiting.push_back(start<rouse::done>(sched, call)); };
  auto receiving = start<std::optional<int>>(sched, CALL(empty.receive(until, how...)));
  begin(CALL(full.send(1, until, how...)));
  begin(CALL(mutex.lock(until, how...)));
  begin(CALL(semaphore.acquire(until, how...)));
  begin(CALL(event.wait(until, how...)));
  begin(CALL(group.wait(until, how...)));
  std::optional<int> into;
  auto selecting = start(
      sched,
      CALL(rouse::select(sched, rouse::cases(rouse::receiving(empty, into), rouse::acquired(event)),
                         until, how...)));
  until_pending(sched, 7);
  const auto lines = dumped(sched);
  for (const char* words :
       {"channel receive", "channel send", "lock", "semaphore", "event", "group", "select"}) {
    INFO(words);
    CHECK(count(lines, {std::string("  ") + words + ", 3599"}) == 1);
    if constexpr (!calls_back<TestType>)
      CHECK(count(lines, {std::string(", waits for ") + words + ", spawned"}) == 1);
  }
  stop.request_stop();
  (void)receiving.wait();
  (void)selecting.wait();
  for (auto& w : waiting) (void)w.wait();
}

TEMPLATE_LIST_TEST_CASE("dump: prints that a flow sleeps, joins or waits for a signal", "[dump]",
                        every_flowing) {
  TestType sched;
  rouse::signals interrupted{sched, {SIGINT}};
  const auto on = [&](auto make) {
    return sched.spawn([make]() -> decltype(auto) { return make(); });
  };
  rouse::flow_event<TestType> event(sched);
  auto waits = on([&]() -> rouse::task<> { co_await event.wait(); });
  auto sleeps = on([&]() -> rouse::task<> { co_await sched.sleep_for(1h); });
  auto joins = on([&]() -> rouse::task<> { co_await waits.join(); });
  auto signal = on([&]() -> rouse::task<> { (void)co_await interrupted.wait(); });
  until_pending(sched, 4);
  const auto lines = dumped(sched);
  for (const char* words : {"sleep", "event", "join", "signal wait"}) {
    INFO(words);
    CHECK(count(lines, {std::string(", waits for ") + words + ", spawned"}) == 1);
  }
  for (auto* f : {&waits, &sleeps, &joins, &signal}) f->cancel();
  sched.run();
}

TEMPLATE_LIST_TEST_CASE("dump: prints that a call looks up a name", "[dump]", every_scheduler) {
  replaced_resolver resolver;
  TestType sched;
  using socket = rouse::socket<TestType>;
  auto resolving =
      start<std::vector<rouse::endpoint>>(sched, CALL(rouse::resolve(sched, "held", 1, how...)));
  auto connecting = start<socket>(sched, CALL(rouse::connect(sched, "held", 1, how...)));
  run_until(sched, [&] { return count(dumped(sched), {"  name lookup"}) == 2; });
  resolver.release();
  CHECK(!resolving.wait().ec);
  (void)connecting.wait();
}

TEST_CASE("dump: prints that an accept waits for a free descriptor", "[dump]") {
  rouse::detail::accept_call<rouse::socket<rouse::callbacks>> call{nullptr};
  rouse::callbacks::engine_type::operation op([](rouse::operation&) noexcept {});
  op.action = rouse::action::accept;
  call.retry_pause.begin(op, 1h);
  CHECK(std::string(rouse::detail::name_of(op)) == "accept that waits for a free descriptor");
}

TEST_CASE("dump: writes to a stdio stream", "[dump]") {
  rouse::fibers sched;
  std::FILE* const file = std::tmpfile();
  REQUIRE(file);
  sched.dump(file);
  std::rewind(file);
  std::array<char, 200> line{};
  CHECK(std::fgets(line.data(), static_cast<int>(line.size()), file));
  CHECK(std::string(line.data()) == "rouse: what waits, on " + sched.engine_report() + "\n");
  std::fclose(file);
}

TEMPLATE_LIST_TEST_CASE("dump: with age_observer, prints how long each operation has waited",
                        "[dump]", every_scheduler) {
  connected_pair<rouse::observed<TestType, rouse::age_observer>> pair;
  const auto before = rouse::clock::now();
  std::array<char, 8> buf;
  auto receiving = start(pair.sched, CALL(pair.client.recv(buf, how...)));
  until_pending(pair.sched, 1);
  pair.sched.engine().for_each_operation([&](const auto& op) {
    CHECK(op.mark.since >= before);
    CHECK(op.mark.since <= rouse::clock::now());
  });
  CHECK(count(dumped(pair.sched), {"  recv on " + number_of(pair.client), ", since "}) == 1);
  pair.client.cancel();
  (void)receiving.wait();
}

TEMPLATE_LIST_TEST_CASE("dump: with age_observer, prints the source line of the call", "[dump]",
                        every_scheduler) {
  using observed = rouse::observed<TestType, rouse::age_observer>;
  connected_pair<observed> pair;
  std::array<char, 8> buf;
  const auto on_line = [](unsigned line) {
    return std::string(", at ") + __FILE__ + ":" + std::to_string(line) + "\n";
  };
  rouse::flow_event<observed> event(pair.sched);
  const unsigned first = __LINE__ + 1;
  auto receiving = start(pair.sched, CALL(pair.client.recv(buf, how...)));
  auto limited = start(pair.sched, CALL(pair.server.recv(buf, 1h, how...)));
  auto waiting = start<rouse::done>(pair.sched, CALL(event.wait({1h, std::stop_token()}, how...)));
  until_pending(pair.sched, 3);
  const auto lines = dumped(pair.sched);
  CHECK(count(lines, {"  recv on " + number_of(pair.client), on_line(first)}) == 1);
  CHECK(count(lines, {"  recv on " + number_of(pair.server), on_line(first + 1)}) == 1);
  CHECK(count(lines, {"  event", on_line(first + 2)}) == 1);
  event.set();
  (void)waiting.wait();
  pair.client.cancel();
  pair.server.cancel();
  (void)receiving.wait();
  (void)limited.wait();
}

TEST_CASE("an observer that stores nothing takes no space", "[dump]") {
  using engine = rouse::native_engine;
  CHECK(sizeof(engine::operation) == sizeof(engine::driver_type::operation));
}

TEMPLATE_LIST_TEST_CASE(
    "trace_observer: each operation begins and ends once, and the trace is JSON", "[dump]",
    every_scheduler) {
  std::FILE* const file = std::tmpfile();
  REQUIRE(file);
  {
    connected_pair<rouse::observed<TestType, rouse::trace_observer>> pair;
    pair.sched.engine().observer().write_to(file);
    std::array<char, 8> buf;
    auto receiving = start(pair.sched, CALL(pair.client.recv(buf, how...)));
    until_pending(pair.sched, 1);
    CHECK(send(pair.sched, pair.server, "abc").value == 3);
    CHECK(receiving.wait().value == 3);
    await<rouse::done>(pair.sched, CALL(pair.sched.sleep_for(1ms, how...))); // takes a turn
    auto left = start(pair.sched, CALL(pair.client.recv(buf, how...)));
    until_pending(pair.sched, 1); // the scheduler's destructor ends it
  }
  std::rewind(file);
  std::vector<std::string> lines;
  for (std::array<char, 400> line; std::fgets(line.data(), 400, file);)
    lines.emplace_back(line.data());
  std::fclose(file);
  REQUIRE(lines.size() > 4);
  CHECK(lines.front() == "[\n");
  CHECK(lines.back() == "]\n");
  std::vector<std::string> open;
  std::size_t begun = 0;
  for (std::size_t i = 1; i != lines.size() - 1; ++i) {
    const std::string& line = lines[i];
    INFO(line);
    CHECK(line.substr(0, 10) == "{\"name\": \"");
    CHECK(line.substr(line.size() - 3) == (i + 2 == lines.size() ? "}}\n" : "},\n"));
    const auto at = line.find("\"id\": ");
    if (at == std::string::npos) continue;
    const std::string id = line.substr(at, line.find(',', at) - at);
    const auto mine = std::find(open.begin(), open.end(), id);
    if (line.find("\"ph\": \"b\"") != std::string::npos) {
      CHECK(mine == open.end());
      open.push_back(id);
      ++begun;
    } else {
      REQUIRE(mine != open.end());
      open.erase(mine);
    }
  }
  CHECK(begun >= 2);
  CHECK(open.empty());
  CHECK(count(lines, {"\"recv\"", "\"ph\": \"e\"", "\"bytes\": 3"}) == 1);
  CHECK(count(lines, {"\"recv\"", "\"ph\": \"b\"", "\"socket\": "}) == 2);
  CHECK(count(lines, {"\"turn\"", "\"completed\": "}) >= 1);
}

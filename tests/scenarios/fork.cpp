// A forked child never disturbs its parent, and never spins. Linux.
#include <support/child_process.hpp>
#include <support/testing.hpp>

#if ROUSE_LINUX
#include <csignal>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace testing;

#if ROUSE_TSAN
// Children may be forked by a program with several threads.
extern "C" const char* __tsan_default_options() { return "die_after_fork=0"; }
#endif

namespace {

// The exit status of a child: 0, or the line of its first failed check.
#define HOLDS(...)                                                                                 \
  if (!(__VA_ARGS__)) return __LINE__ % 251 + 1

template <class F>
std::error_code thrown_by(F f) {
  try {
    f();
  } catch (const std::system_error& e) {
    return e.code();
  }
  return {};
}

constexpr auto refusal = std::errc::operation_not_permitted;

bool is_open(rouse::native_handle_type h) { return ::fcntl(h, F_GETFD) != -1; }

// A connection under traffic: messages of exactly the buffer's size were sent to the server, which
// waits for the next one.
template <class S>
struct busy_pair : connected_pair<S> {
  char got[4] = {};
  std::optional<started<S, std::size_t>> waiting;

  busy_pair() {
    for (int i = 0; i != 3; ++i) {
      wait_for_message();
      CHECK(message_arrives());
    }
    wait_for_message();
    until_pending(this->sched, 1);
  }
  void wait_for_message() {
    std::memset(got, 0, sizeof got);
    waiting = start(this->sched, [this](auto&&... how) -> decltype(auto) {
      return this->server.recv_exactly(got, how...);
    });
  }
  bool message_arrives() {
    return send(this->sched, this->client, "ping").value == 4 && waiting->wait().value == 4 &&
           std::string_view(got, 4) == "ping";
  }
  // Whether the parent's waits end as if it had never forked.
  bool goes_on() {
    bool good = message_arrives();
    for (int i = 0; i != 3; ++i) {
      wait_for_message();
      good &= message_arrives();
    }
    this->client.close();
    wait_for_message();
    return good && waiting->wait().value == 0;
  }
};

} // namespace

// ---- inherited schedulers and sockets

TEMPLATE_LIST_TEST_CASE("fork: a child that closes its sockets does not affect its parent's waits",
                        "[fork][O8]", every_scheduler) {
  busy_pair<TestType> parent;
  child_process child([&] {
    const auto h = parent.server.native_handle();
    parent.server.close();
    HOLDS(!is_open(h) && !parent.server.is_open());
    parent.client.close();
    const auto kept = parent.listener.release();
    HOLDS(is_open(kept));
    return 0;
  });
  CHECK(child.wait() == 0);
  CHECK(parent.goes_on());
}

TEMPLATE_LIST_TEST_CASE(
    "fork: a scheduler is destroyed in a child without waiting, and closes its sockets",
    "[fork][O8]", every_scheduler) {
  auto parent = std::make_unique<busy_pair<TestType>>();
  // Of a flow that exists only in the parent.
  rouse::socket idle{parent->sched, AF_INET, SOCK_DGRAM};
  idle.bind({"127.0.0.1", 0});
  const auto h = idle.native_handle();
  char byte;
  auto never = start<rouse::datagram>(parent->sched, CALL(idle.recv_from({&byte, 1}, how...)));
  until_pending(parent->sched, 2);
  child_process child([&] {
    parent->sched.~TestType();
    HOLDS(!is_open(h) && !idle.is_open());
    HOLDS(thrown_by([&] { (void)idle.local_endpoint(); }) == std::errc::bad_file_descriptor);
    return 0;
  });
  CHECK(child.wait() == 0);
  CHECK(!never.finished());
  idle.close();
  CHECK(never.wait().ec == std::errc::operation_canceled);
  CHECK(parent->goes_on());
}

TEMPLATE_LIST_TEST_CASE(
    "fork: a child that exits with static schedulers does not affect its parent's waits",
    "[fork][O8]", every_scheduler) {
  static std::optional<busy_pair<TestType>> parent;
  parent.emplace();
  child_process child([] {
    std::exit(0);
    return 1;
  });
  CHECK(child.wait() == 0);
  CHECK(parent->goes_on());
  parent.reset();
}

TEMPLATE_LIST_TEST_CASE("fork: a child cannot use a scheduler that its parent has used",
                        "[fork][O8]", every_scheduler) {
  busy_pair<TestType> parent;
  auto& sched = parent.sched;
  child_process child([&] {
    HOLDS(thrown_by([&] { sched.run(); }) == refusal);
    HOLDS(thrown_by([&] { sched.run_for(1h); }) == refusal);
    HOLDS(thrown_by([&] { sched.run_once(); }) == refusal);
    HOLDS(thrown_by([&] { sched.poll(); }) == refusal);
    HOLDS(thrown_by([&] { rouse::socket s{sched}; }) == refusal);
    if constexpr (!awaits<TestType>) HOLDS(thrown_by([&] { sched.spawn([] {}); }) == refusal);
    sched.post([] { leave(1); });
    sched.stop();
    parent.server.cancel();
    HOLDS(thrown_by([&] { sched.run(); }) == refusal);
    return 0;
  });
  CHECK(child.wait() == 0);
  CHECK(parent.goes_on());
}

TEST_CASE("fork: in a child only the handlers of refused calls are called", "[fork][O8]") {
  busy_pair<rouse::callbacks> parent;
  child_process child([&] {
    std::error_code sent, slept;
    parent.client.send_all({"ping", 4}, [&](std::error_code ec, std::size_t) { sent = ec; });
    parent.sched.sleep_for(0s, [&](std::error_code ec) { slept = ec; });
    HOLDS(!sent && !slept); // never inside the call
    HOLDS(thrown_by([&] { parent.sched.run(); }) == refusal);
    HOLDS(sent == refusal && slept == refusal);
    HOLDS(!parent.waiting->finished());
    return 0;
  });
  CHECK(child.wait() == 0);
  CHECK(parent.goes_on());
}

// ---- flows that fork

namespace {

// Every kind of call, made in a child by the flow that has forked.
template <class S>
rouse::task<int> calls_in_child(S& sched, rouse::socket<S>& s, rouse::socket<S>& listener,
                                rouse::channel<int, S>& numbers, rouse::flow_event<S>& event) {
  char byte[1];
  std::error_code ec;
  for (int i = 0; i != 100; ++i) { // more than the loop permits at once
    co_await sched.yield(ec);
    if (ec != refusal) co_return 1;
  }
  co_await s.recv(byte, ec);
  if (ec != refusal) co_return 2;
  co_await s.send({"x", 1}, 1h, ec);
  if (ec != refusal) co_return 3;
  (void)co_await listener.accept(ec);
  if (ec != refusal) co_return 4;
  co_await sched.sleep_for(1ms, ec);
  if (ec != refusal) co_return 5;
  (void)co_await numbers.receive(ec);
  if (ec != refusal) co_return 6;
  co_await event.wait(ec);
  if (ec != refusal) co_return 7;
  (void)co_await rouse::resolve(sched, "localhost", "80", ec);
  if (ec != refusal) co_return 8;
  (void)co_await rouse::connect(sched, "127.0.0.1", 1, ec);
  if (ec != refusal) co_return 9;
  (void)co_await rouse::select(
      sched, rouse::cases(rouse::acquired(event), rouse::ready(s, rouse::readable)), ec);
  if (ec != refusal) co_return 10;
  try {
    (void)co_await s.recv(byte);
    co_return 11;
  } catch (const std::system_error& e) {
    if (e.code() != refusal) co_return 12;
  }
  event.set(); // flows of the parent wait for it
  numbers.post(1);
  s.close();
  co_return 0;
}

template <class S>
rouse::task<> fork_and_call(S& sched, rouse::socket<S>& s, rouse::socket<S>& listener,
                            rouse::channel<int, S>& numbers, rouse::flow_event<S>& event,
                            std::atomic<pid_t>& child) {
  const pid_t p = ::fork();
  if (p != 0) {
    child = p;
    co_return;
  }
  child_process::guard();
  leave(co_await calls_in_child(sched, s, listener, numbers, event));
}

} // namespace

TEMPLATE_LIST_TEST_CASE("fork: each call of a flow in a child is refused, and the parent continues",
                        "[fork][O8]", every_flowing) {
  busy_pair<TestType> parent;
  rouse::channel<int, TestType> numbers{parent.sched};
  rouse::flow_event<TestType> event{parent.sched};
  auto waits = start<rouse::done>(parent.sched, CALL(event.wait(how...)));
  until_pending(parent.sched, 2);
  std::atomic<pid_t> pid{-1};
  parent.sched.spawn(
      fork_and_call(parent.sched, parent.server, parent.listener, numbers, event, pid));
  run_until(parent.sched, [&] { return pid > 0; });
  CHECK(child_process(pid.load()).wait() == 0);
  CHECK(!waits.finished());
  event.set();
  CHECK(!waits.wait().ec);
  CHECK(parent.goes_on());
}

namespace {

// A flow that forks; it returns in the child as in the parent.
template <class S>
void spawn_forking(S& sched, pid_t& child) {
  const auto fork_once = [&child] {
    child = ::fork();
    if (child == 0) child_process::guard();
  };
  if constexpr (awaits<S>)
    sched.spawn([fork_once]() -> rouse::task<> {
      fork_once();
      co_return;
    });
  else
    sched.spawn(fork_once);
}
template <class S>
void spawn_counting(S& sched, std::atomic<int>& count) {
  if constexpr (awaits<S>)
    sched.spawn([&count]() -> rouse::task<> {
      ++count;
      co_return;
    });
  else
    sched.spawn([&count] { ++count; });
}

} // namespace

TEMPLATE_LIST_TEST_CASE(
    "fork: in a child of a flow no other flow runs, and run() refuses to continue", "[fork][O8]",
    every_single) {
  TestType sched;
  pid_t child = -1;
  std::atomic<int> others{0};
  spawn_counting(sched, others);
  spawn_forking(sched, child);
  for (int i = 0; i != 3; ++i) spawn_counting(sched, others); // would begin in the same turn
  const std::error_code ec = thrown_by([&] { sched.run(); });
  if (child == 0) leave(ec == refusal && others == 1 ? 0 : 1);
  CHECK(child_process(child).wait() == 0);
  CHECK(!ec);
  CHECK(others == 4);
}

TEMPLATE_LIST_TEST_CASE("fork: a flow that is ready when another one forks runs in the parent only",
                        "[fork][O8]", every_single) {
  busy_pair<TestType> parent;
  auto& sched = parent.sched;
  pid_t child = -1;
  std::atomic<int> others{0};
  sched.post([&] { spawn_counting(sched, others); });
  sched.post([&] { // the message is there; the call completes after this
    (void)!::send(parent.client.native_handle(), "ping", 4, 0);
    child = ::fork();
    if (child == 0) child_process::guard();
  });
  sched.post([&] { ++others; });
  const std::error_code ec = thrown_by([&] { run_until(sched, [&] { return others == 2; }); });
  if (child == 0) leave(ec == refusal && others == 0 && !parent.waiting->finished() ? 0 : 1);
  CHECK(child_process(child).wait() == 0);
  CHECK(!ec);
  CHECK(parent.waiting->wait().value == 4);
  parent.wait_for_message();
  CHECK(parent.goes_on());
}

TEMPLATE_TEST_CASE("fork: a call outside of flows is refused in a child that its loop has forked",
                   "[fork][O8]", rouse::fibers, rouse::threads) {
  TestType sched;
  rouse::socket s{sched, AF_INET, SOCK_DGRAM};
  s.bind({"127.0.0.1", 0});
  pid_t child = -1;
  sched.post([&] {
    child = ::fork();
    if (child == 0) child_process::guard();
  });
  char byte[1];
  std::error_code ec;
  (void)s.recv_from(byte, 10ms, ec);
  if (child == 0) leave(ec == refusal ? 0 : 1);
  CHECK(child_process(child).wait() == 0);
  CHECK(ec == std::errc::timed_out);
}

TEMPLATE_LIST_TEST_CASE("fork: a flow that exits in a child does not affect its parent's waits",
                        "[fork][O8]", every_flowing) {
  static std::optional<busy_pair<TestType>> parent;
  parent.emplace();
  static std::atomic<pid_t> child;
  child = -1;
  const auto fork_and_exit = [] {
    const pid_t p = ::fork();
    if (p == 0) child_process::guard(), std::exit(0);
    child = p;
  };
  if constexpr (awaits<TestType>)
    parent->sched.spawn([=]() -> rouse::task<> {
      fork_and_exit();
      co_return;
    });
  else
    parent->sched.spawn(fork_and_exit);
  run_until(parent->sched, [&] { return child > 0; });
  CHECK(child_process(child.load()).wait() == 0);
  CHECK(parent->goes_on());
  parent.reset();
}

TEST_CASE("fork: a child of a flow of threads ends with the flow", "[fork][O8]") {
  if (ROUSE_TSAN) return; // its runtime does not survive the end of a child's first thread
  static std::optional<busy_pair<rouse::threads>> parent;
  parent.emplace();
  std::atomic<pid_t> child{-1};
  parent->sched.spawn([&] { // there are other threads, which wait
    const pid_t p = ::fork();
    if (p == 0) child_process::guard();
    child = p;
  });
  run_until(parent->sched, [&] { return child > 0; });
  CHECK(child_process(child.load()).wait() == 0);
  CHECK(parent->goes_on());
  parent.reset();
}

TEST_CASE("fork: a child may join, cancel and drop the flows that its parent waits for",
          "[fork][O8]") {
  rouse::fibers sched;
  bool ended = false;
  auto waiting = sched.spawn([&] {
    struct note {
      bool& set;
      ~note() { set = true; }
    } at_end{ended};
    rouse::flow_group group{sched};
    group.spawn([&] { sched.sleep_for(1h); });
    group.join();
  });
  until_pending(sched, 3); // the sleep, the join, the group's wait for its flow
  child_process child([&] {
    std::error_code ec;
    waiting.join(ec);
    HOLDS(ec == refusal && waiting.alive());
    waiting.cancel();
    waiting.kill();
    waiting.detach();
    HOLDS(thrown_by([&] { sched.run(); }) == refusal && !ended);
    return 0;
  });
  CHECK(child.wait() == 0);
  CHECK(waiting.alive());
  waiting.kill();
  sched.run();
  CHECK(ended);
}

TEST_CASE("fork: calls of a grandchild are refused too", "[fork][O8]") {
  busy_pair<rouse::callbacks> parent;
  child_process child([&] {
    const pid_t second = ::fork();
    if (second == 0) {
      const bool refused = thrown_by([&] { parent.sched.run(); }) == refusal;
      parent.sched.~basic_scheduler();
      leave(refused ? 0 : 1);
    }
    int status = -1;
    return ::waitpid(second, &status, 0) == second && status == 0 ? 0 : 1;
  });
  CHECK(child.wait() == 0);
  CHECK(parent.goes_on());
}

// ---- an engine that was never used

TEMPLATE_LIST_TEST_CASE("fork: a scheduler that was never run works in children and in the parent",
                        "[fork][O8]", every_scheduler) {
  TestType sched;
  rouse::socket<TestType> listener = listening(sched);
  std::atomic<int> begun{0};
  if constexpr (!is_threads<TestType>) spawn_counting(sched, begun); // one copy in each process
  const auto echo_works = [&] {
    rouse::socket client{sched};
    auto connected =
        start<rouse::done>(sched, CALL(client.connect(listener.local_endpoint(), how...)));
    auto accepted = await<rouse::socket<TestType>>(sched, CALL(listener.accept(how...)));
    if (accepted.ec || connected.wait().ec) return false;
    char got[2] = {};
    if (send(sched, accepted.value, "ok").value != 2) return false;
    return await(sched, CALL(client.recv_exactly(got, how...))).value == 2 && got[1] == 'k' &&
           begun == (is_threads<TestType> ? 0 : 1);
  };
  for (int i = 0; i != 2; ++i) {
    child_process child([&] { return echo_works() ? 0 : 1; });
    CHECK(child.wait() == 0);
  }
  CHECK(echo_works());
  child_process too_late([&] { return thrown_by([&] { sched.run(); }) == refusal ? 0 : 1; });
  CHECK(too_late.wait() == 0);
}

TEST_CASE("fork: a call made before the loop first ran belongs to the parent", "[fork][O8]") {
  rouse::callbacks sched;
  rouse::socket s{sched, AF_INET, SOCK_DGRAM};
  s.bind({"127.0.0.1", 0});
  char byte[1];
  std::error_code result;
  s.recv_from(byte, 10ms, [&](std::error_code ec, rouse::datagram) { result = ec; });
  child_process child([&] {
    HOLDS(thrown_by([&] { sched.run(); }) == refusal && !result);
    return 0;
  });
  CHECK(child.wait() == 0);
  sched.run();
  CHECK(result == std::errc::timed_out);
}

TEMPLATE_LIST_TEST_CASE("fork: a child can use a scheduler of its own beside its parent's",
                        "[fork][O8]", every_scheduler) {
  busy_pair<TestType> parent;
  child_process child([&] {
    busy_pair<TestType> own;
    return own.goes_on() ? 0 : 1;
  });
  CHECK(child.wait() == 0);
  CHECK(parent.goes_on());
}

TEST_CASE("fork: a child can serve a connection that it released from its parent's scheduler",
          "[fork][O8]") {
  busy_pair<rouse::coroutines> parent;
  auto& sched = parent.sched;
  rouse::socket client{sched};
  auto accepted =
      start<rouse::socket<rouse::coroutines>>(sched, CALL(parent.listener.accept(how...)));
  REQUIRE(!await<rouse::done>(sched, CALL(client.connect(parent.listener.local_endpoint(), how...)))
               .ec);
  auto conn = std::move(accepted.wait().value);
  child_process child([&] {
    rouse::coroutines own;
    auto taken = rouse::socket<rouse::coroutines>::adopt(own, conn.release());
    const auto text = receive(own, taken, 2);
    return send(own, taken, text).value == 2 ? 0 : 1;
  });
  conn.close();
  CHECK(send(sched, client, "hi").value == 2);
  CHECK(receive(sched, client, 2) == "hi");
  CHECK(child.wait() == 0);
  char byte[1];
  CHECK(await(sched, CALL(client.recv(byte, how...))).value == 0); // no copy is left
  CHECK(parent.goes_on());
}

// ---- children that execute another program

TEMPLATE_LIST_TEST_CASE("fork: programs can be executed in every way, and waits are not shortened",
                        "[fork][O8]", every_scheduler) {
  busy_pair<TestType> parent;
  CHECK(std::system("exit 3") == 3 << 8);
  std::FILE* const pipe = ::popen("echo text", "r");
  REQUIRE(pipe);
  char line[8] = {};
  CHECK(std::fgets(line, sizeof line, pipe));
  CHECK(::pclose(pipe) == 0);
  CHECK(std::string(line) == "text\n");
  char shell[] = "/bin/sh", option[] = "-c", command[] = "exit 4";
  char* const arguments[] = {shell, option, command, nullptr};
  pid_t spawned = -1;
  REQUIRE(::posix_spawn(&spawned, shell, nullptr, nullptr, arguments, environ) == 0);
  CHECK(child_process(spawned).wait() == 4);
  const pid_t forked = ::fork();
  if (forked == 0) ::execv(shell, arguments), leave(1);
  CHECK(child_process(forked).wait() == 4);
  const pid_t vforked = ::vfork();
  if (vforked == 0) {
    for (int fd = 3; fd != 64; ++fd) ::close(fd);
    ::execv(shell, arguments);
    leave(1);
  }
  CHECK(child_process(vforked).wait() == 4);
  CHECK(parent.goes_on());
}

// ---- other threads

TEST_CASE("fork: a child can look up names although its parent's threads were doing so",
          "[fork][O8]") {
  static std::atomic<bool> held;
  held = true;
  using rouse::detail::lookup_helpers;
  auto* const before = lookup_helpers::look_up.load();
  lookup_helpers::look_up = [](const std::string&, const std::string&,
                               std::vector<rouse::endpoint>& found) {
    held.wait(true);
    found.emplace_back("127.0.0.1", 0);
    return rouse::failure();
  };
  rouse::fibers sched;
  int answered = 0;
  for (int i = 0; i != 20; ++i)
    sched.spawn([&] { answered += rouse::resolve(sched, "a.name", 1).size() == 1; });
  until_pending(sched, 20);
  child_process child([&] {
    HOLDS(lookup_helpers::threads() == 0);
    held = false;
    rouse::fibers own;
    std::size_t found = 0;
    own.spawn([&] { found = rouse::resolve(own, "a.name", 1).size(); });
    own.run();
    return found == 1 ? 0 : 1;
  });
  CHECK(child.wait() == 0);
  held = false;
  held.notify_all();
  sched.run();
  CHECK(answered == 20);
  lookup_helpers::look_up = before;
}

TEST_CASE("fork: a handler of per_core may fork, and the server continues", "[fork][O8]") {
  if (ROUSE_TSAN) return; // its runtime does not survive the end of a child's first thread
  rouse::per_core<rouse::fibers> server({"127.0.0.1", 0}, 2);
  std::atomic<pid_t> children[4] = {};
  std::atomic<int> forked{0};
  std::thread serving([&] {
    std::atomic<bool> is_child{false};
    const std::error_code ec = thrown_by([&] {
      server.run([&](rouse::socket<rouse::fibers> conn) {
        const pid_t p = ::fork();
        if (p == 0) {
          child_process::guard();
          is_child = true;
          return; // to the parent's loop, and from there to the end of the thread
        }
        children[forked++] = p;
        conn.send_all("ok");
      });
    });
    if (is_child) leave(ec == refusal ? 0 : 1); // on this thread's core
  });
  {
    rouse::fibers sched;
    for (auto& child : children) {
      rouse::socket s{sched};
      s.connect(server.local_endpoint());
      CHECK(receive(sched, s, 2) == "ok");
      CHECK(child_process(child.load()).wait() == 0);
    }
  }
  server.stop();
  serving.join();
}

TEST_CASE("fork: a flow of serve may fork, and the server continues", "[fork][O8]") {
  rouse::fibers sched;
  auto listener = listening(sched);
  const auto where = listener.local_endpoint();
  int good = 0;
  auto service = rouse::serve(sched, std::move(listener), [&](rouse::socket<rouse::fibers> conn) {
    child_process child([&] {
      std::error_code ec;
      conn.send_all("no", ec);
      return ec == refusal ? 0 : 1;
    });
    good += child.wait() == 0;
    conn.send_all("ok");
  });
  for (int i = 0; i != 3; ++i) {
    rouse::socket s{sched};
    s.connect(where);
    CHECK(receive(sched, s, 2) == "ok");
  }
  CHECK(good == 3);
  service.stop();
  service.join();
}

// ---- traffic

namespace {

template <class S>
rouse::task<> echo(rouse::socket<S> conn) {
  char buf[64];
  while (const auto n = co_await conn.recv(buf)) co_await conn.send_all({buf, n});
}
template <class S>
rouse::task<> accept_all(S& sched, rouse::socket<S>& listener, int connections) {
  for (int i = 0; i != connections; ++i) sched.spawn(echo(co_await listener.accept()));
}
template <class S>
rouse::task<> ask(S& sched, rouse::endpoint where, int rounds, std::atomic<int>& answers) {
  rouse::socket s{sched};
  co_await s.connect(where);
  for (int i = 0; i != rounds; ++i) {
    char got[4];
    co_await s.send_all({"ping", 4});
    answers += co_await s.recv_exactly(got) == 4 && std::string_view(got, 4) == "ping";
  }
}
template <class S>
rouse::task<> fork_often(S& sched, rouse::socket<S>& listener, int children, int& good) {
  for (int i = 0; i != children; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      child_process::guard();
      std::error_code ec;
      co_await sched.sleep_for(1h, ec);
      if (ec != refusal) leave(1);
      listener.close();
      sched.~S();
      leave(0);
    }
    int status = -1;
    while (::waitpid(child, &status, WNOHANG) == 0) co_await sched.sleep_for(1ms);
    good += status == 0;
  }
}

} // namespace

TEMPLATE_LIST_TEST_CASE("fork: no byte of a server is lost while many children come and go",
                        "[fork][O8]", every_flowing) {
  constexpr int connections = 16, rounds = 50, children = 8;
  TestType sched;
  auto listener = listening(sched);
  std::atomic<int> answers{0};
  int good = 0;
  sched.spawn(accept_all(sched, listener, connections));
  for (int i = 0; i != connections; ++i)
    sched.spawn(ask(sched, listener.local_endpoint(), rounds, answers));
  sched.spawn(fork_often(sched, listener, children, good));
  sched.run();
  CHECK(answers == connections * rounds);
  CHECK(good == children);
}

// ---- signals

TEMPLATE_LIST_TEST_CASE("fork: a signal to a child does not reach its parent",
                        "[fork][O8][signals]", every_scheduler) {
  TestType sched;
  rouse::signals caught{sched, {SIGUSR1}};
  child_process child([] {
    for (;;) ::pause();
    return 0;
  });
  ::kill(child.pid(), SIGUSR1);
  CHECK(child.wait() == 1000 + SIGUSR1);
  CHECK(await<int>(sched, CALL(caught.wait(0s, how...))).ec == std::errc::timed_out);
  std::thread([] { ::kill(::getpid(), SIGUSR1); }).join();
  CHECK(await<int>(sched, CALL(caught.wait(how...))).value == SIGUSR1);
}

TEST_CASE("fork: a child ignores a signal that was ignored before its parent waited for it",
          "[fork][O8][signals]") {
  const auto before = std::signal(SIGUSR1, SIG_IGN);
  {
    rouse::callbacks sched;
    rouse::signals caught{sched, {SIGUSR1}};
    child_process child([] {
      ::raise(SIGUSR1);
      return std::signal(SIGUSR1, SIG_DFL) == SIG_IGN ? 0 : 1;
    });
    CHECK(child.wait() == 0);
  }
  std::signal(SIGUSR1, before);
}

TEST_CASE("fork: a signal to a child of vfork ends the child and does not reach its parent",
          "[fork][O8][signals]") {
  rouse::callbacks sched;
  rouse::signals caught{sched, {SIGUSR1}};
  const pid_t child = ::vfork();
  if (child == 0) {
    ::raise(SIGUSR1);
    leave(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1));
  CHECK(await<int>(sched, CALL(caught.wait(0s, how...))).ec == std::errc::timed_out);
}

TEST_CASE("fork: a child can wait for its own signals on its own scheduler",
          "[fork][O8][signals]") {
  rouse::callbacks sched;
  rouse::signals caught{sched, {SIGUSR1}};
  child_process child([] {
    rouse::fibers own;
    int got = 0;
    own.spawn([&] {
      rouse::signals mine{own, {SIGUSR1}};
      ::raise(SIGUSR1);
      std::error_code ec;
      got = mine.wait(10s, ec);
    });
    own.run();
    return got == SIGUSR1 ? 0 : 1;
  });
  CHECK(child.wait() == 0);
  CHECK(await<int>(sched, CALL(caught.wait(0s, how...))).ec == std::errc::timed_out);
}
#endif

// The contracts O1 to O7, tested on each engine directly: no waker, no socket in between.
#include <support/testing.hpp>

#include <random>

using namespace testing;
using rouse::action;
using time_point = rouse::clock::time_point;
using rouse::failure;

namespace {

#if ROUSE_KQUEUE
using every_engine =
    std::tuple<rouse::kqueue_engine, rouse::basic_kqueue_engine<rouse::any_thread>>;
#elif ROUSE_LINUX
// A kernel that does not know some of the setup flags.
template <std::uint32_t Forbidden>
struct older_io_uring {
  using core = rouse::io_uring_engine;
  static auto make(failure& why) { return rouse::io_uring_engine::make(why, Forbidden); }
};
namespace uring = rouse::os::uring;
using io_uring_before_6_6 = older_io_uring<uring::no_sqarray>;
using io_uring_before_6_1 = older_io_uring<uring::no_sqarray | uring::defer_taskrun>;
using io_uring_before_6_0 =
    older_io_uring<uring::no_sqarray | uring::defer_taskrun | uring::single_issuer>;
using io_uring_before_5_18 =
    older_io_uring<uring::no_sqarray | uring::defer_taskrun | uring::single_issuer |
                   uring::coop_taskrun | uring::submit_all>;

using every_engine =
    std::tuple<rouse::epoll_engine, rouse::basic_epoll_engine<rouse::any_thread>,
               rouse::io_uring_engine, rouse::basic_io_uring_engine<rouse::any_thread>,
               io_uring_before_6_6, io_uring_before_6_1, io_uring_before_6_0, io_uring_before_5_18>;
#else
using every_engine = std::tuple<rouse::iocp_engine, rouse::basic_iocp_engine<rouse::any_thread>>;
#endif

// Whether this run must have the engine.
bool promised(const char* name) {
  const char* promise = std::getenv("ROUSE_PROMISED_ENGINE");
  return promise && std::string(promise) == name;
}

// An engine, a connection over it, and operations that count their completions.
template <class E>
struct bench {
  using core = typename decltype(E::make(std::declval<failure&>()))::element_type;

  struct observed : core::operation {
    observed() : core::operation(&observed::on_completed) {}
    static void on_completed(rouse::operation& op) noexcept {
      auto& self = static_cast<observed&>(static_cast<typename core::operation&>(op));
      ++self.completed;
      self.completed_inside = self.completed_inside || (self.busy && *self.busy);
    }
    int completed = 0;
    bool* busy = nullptr; // true during a call of the engine
    bool completed_inside = false;
  };

  failure why;
  std::unique_ptr<core> engine = E::make(why);
  rouse::socket_state* listener = nullptr;
  rouse::socket_state* client = nullptr;
  rouse::socket_state* server = nullptr;
  bool busy = false;

  bench() {
    if (!engine) return;
    listener = engine->open(this, AF_INET, SOCK_STREAM, 0, why);
    REQUIRE(listener);
    REQUIRE(!rouse::os::bind(handle(*listener), {"127.0.0.1", 0}, true));
    REQUIRE(!rouse::os::listen(handle(*listener), 16, AF_INET));
    client = engine->open(this, AF_INET, SOCK_STREAM, 0, why);
    rouse::endpoint where;
    REQUIRE(!rouse::os::local_endpoint(handle(*listener), where));
    observed accepting, connecting;
    accepting.action = action::accept;
    accepting.target = listener;
    accepting.handle = static_cast<std::intptr_t>(rouse::os::no_handle);
    connecting.action = action::connect;
    connecting.target = client;
    connecting.peer = &where;
    complete(accepting);
    complete(connecting);
    finish(accepting);
    finish(connecting);
    REQUIRE(!connecting.error);
    REQUIRE(!accepting.error);
    const auto accepted = static_cast<rouse::native_handle_type>(accepting.handle);
    server = engine->adopt(this, accepted, AF_INET, SOCK_STREAM, why);
    REQUIRE(server);
  }

  ~bench() {
    if (!engine) return;
    for (rouse::socket_state* d : {listener, client, server}) {
      if (d) engine->give_back(*d);
    }
    engine->shut_down();
  }

  bench(const bench&) = delete;

  static rouse::native_handle_type handle(const rouse::socket_state& d) {
    return static_cast<rouse::native_handle_type>(d.native);
  }

  observed& recv(observed& op, std::span<char> bytes) {
    op.action = action::recv;
    op.target = client;
    op.data = bytes.data();
    op.size = bytes.size();
    return op;
  }
  observed& send(observed& op, std::string_view bytes) {
    op.action = action::send;
    op.target = server;
    op.data = const_cast<char*>(bytes.data());
    op.size = bytes.size();
    return op;
  }
  observed& wait(observed& op) {
    op.action = action::wait;
    op.target = nullptr;
    op.awaited = nullptr;
    return op;
  }

  // Submits; true: done at once.
  bool submit(observed& op) {
    op.busy = &busy;
    busy = true;
    const bool done = engine->submit(op);
    busy = false;
    return done;
  }
  // Submits; an operation that is done at once counts as completed.
  void complete(observed& op) {
    if (submit(op)) ++op.completed;
  }
  void finish(observed& op) {
    const auto until = rouse::clock::now() + patience;
    while (op.completed == 0) {
      engine->turn(rouse::clock::now() + 1s);
      REQUIRE(rouse::clock::now() < until);
    }
  }
  // Lets the kernel receive what was submitted.
  void settle() {
    for (int i = 0; i != 3; ++i) engine->turn(time_point::min());
  }
};

} // namespace

#define ENGINE_UNDER_TEST(name)                                                                    \
  bench<TestType> name;                                                                            \
  if (!name.engine) {                                                                              \
    CHECK_FALSE(promised("io_uring"));                                                             \
    WARN("skipped: this engine does not start here: " << name.why.code().message());               \
    return;                                                                                        \
  }

#if ROUSE_LINUX && !ROUSE_KQUEUE
TEMPLATE_LIST_TEST_CASE("a kernel that refuses newer setup flags gets a ring without them",
                        "[conformance]", every_engine) {
  ENGINE_UNDER_TEST(b)
  const std::string report = b.engine->report();
  const auto says = [&](const char* what) { return report.find(what) != std::string::npos; };
  if constexpr (std::is_same_v<TestType, io_uring_before_6_6>) CHECK(says("deferred"));
  if constexpr (std::is_same_v<TestType, io_uring_before_6_1>) CHECK(says("cooperative"));
  if constexpr (std::is_same_v<TestType, io_uring_before_6_0>) CHECK(says("cooperative"));
  if constexpr (std::is_same_v<TestType, io_uring_before_5_18>) CHECK(report == "io_uring");
}
#endif

TEMPLATE_LIST_TEST_CASE("an operation completes once when its result arrives", "[conformance][O1]",
                        every_engine) {
  ENGINE_UNDER_TEST(b)
  std::array<char, 8> buffer{};
  typename bench<TestType>::observed receiving, sending;
  CHECK_FALSE(b.submit(b.recv(receiving, buffer)));
  b.settle();
  CHECK(receiving.completed == 0);
  b.complete(b.send(sending, "abc"));
  b.finish(sending);
  b.finish(receiving);
  b.settle();
  CHECK(receiving.completed == 1);
  CHECK(receiving.bytes == 3);
  CHECK(std::string_view(buffer.data(), 3) == "abc"); // O3
}

TEMPLATE_LIST_TEST_CASE("a cancelled operation completes once", "[conformance][O1][O4]",
                        every_engine) {
  ENGINE_UNDER_TEST(b)
  std::array<char, 8> buffer{};
  typename bench<TestType>::observed receiving;
  CHECK_FALSE(b.submit(b.recv(receiving, buffer)));
  b.settle();
  b.engine->cancel(receiving);
  b.engine->cancel(receiving);
  b.finish(receiving);
  b.settle();
  CHECK(receiving.completed == 1);
  CHECK(receiving.error == failure(std::errc::operation_canceled));
}

TEMPLATE_LIST_TEST_CASE("no operation completes inside submit, cancel or close",
                        "[conformance][O2]", every_engine) {
  ENGINE_UNDER_TEST(b)
  std::array<char, 8> buffer{};
  typename bench<TestType>::observed first, second, sleeping;
  CHECK_FALSE(b.submit(b.recv(first, buffer)));
  CHECK_FALSE(b.submit(b.recv(second, buffer)));
  CHECK_FALSE(b.submit(b.wait(sleeping)));
  b.settle();
  b.busy = true;
  b.engine->cancel(first);
  b.engine->cancel(sleeping);
  b.engine->close(*b.client);
  b.busy = false;
  CHECK(first.completed + second.completed + sleeping.completed == 0);
  for (auto* op : {&first, &second, &sleeping}) {
    b.finish(*op);
    CHECK_FALSE(op->completed_inside);
  }
}

TEMPLATE_LIST_TEST_CASE("complete() may call the engine, because no lock is held",
                        "[conformance][O2][L07]", every_engine) {
  ENGINE_UNDER_TEST(b)
  using core = typename bench<TestType>::core;
  struct caller : core::operation {
    explicit caller(core& e) : core::operation(&caller::on_completed), engine(e) {}
    static void on_completed(rouse::operation& op) noexcept {
      auto& self = static_cast<caller&>(static_cast<typename core::operation&>(op));
      self.engine.raise(nullptr); // takes the lock of a shared engine
      self.active = self.engine.active();
      self.again = ++self.completed < 3 && !self.engine.submit(self);
    }
    core& engine;
    std::size_t active = 99;
    int completed = 0;
    bool again = false;
  };
  caller op(*b.engine);
  op.action = action::yield;
  CHECK_FALSE(b.engine->submit(op));
  while (op.completed == 0 || op.again) b.engine->turn(rouse::clock::now() + 1s);
  CHECK(op.completed == 3);
  CHECK(op.active == 0); // completed, so no longer in progress
  CHECK_FALSE(b.engine->take_raised());
}

TEMPLATE_LIST_TEST_CASE("complete() is not called for an operation that is done at once",
                        "[conformance][O2]", every_engine) {
  ENGINE_UNDER_TEST(b)
  std::array<char, 8> buffer{};
  typename bench<TestType>::observed sending, receiving;
  b.complete(b.send(sending, "abc"));
  b.finish(sending);
  b.complete(b.recv(receiving, buffer));
  b.finish(receiving);
  b.settle();
  CHECK(sending.completed == 1);
  CHECK(receiving.completed == 1);
  CHECK(b.engine->active() == 0);
}

TEMPLATE_LIST_TEST_CASE("bytes that arrived before the cancellation are the result",
                        "[conformance][O4]", every_engine) {
  ENGINE_UNDER_TEST(b)
  std::array<char, 8> buffer{};
  typename bench<TestType>::observed receiving, sending;
  CHECK_FALSE(b.submit(b.recv(receiving, buffer)));
  b.complete(b.send(sending, "abc"));
  b.finish(sending);
  if (receiving.completed == 0) b.engine->cancel(receiving);
  b.finish(receiving);
  // Either the bytes won, or they are still in the socket.
  std::size_t got = receiving.bytes;
  if (receiving.error) {
    CHECK(receiving.error == failure(std::errc::operation_canceled));
    CHECK(got == 0);
    typename bench<TestType>::observed again;
    b.complete(b.recv(again, buffer));
    b.finish(again);
    got = again.bytes;
  }
  CHECK(got == 3);
}

TEMPLATE_LIST_TEST_CASE(
    "a stale cancellation does not affect the next operation at the same address",
    "[conformance][O4]", every_engine) {
  ENGINE_UNDER_TEST(b)
  std::array<char, 1> buffer{};
  for (int i = 0; i != 200; ++i) {
    alignas(typename bench<TestType>::observed)
        std::byte place[sizeof(typename bench<TestType>::observed)];
    auto* op = new (place) typename bench<TestType>::observed;
    typename bench<TestType>::observed sending;
    CHECK_FALSE(b.submit(b.recv(*op, buffer)));
    b.complete(b.send(sending, "x"));
    if (i % 2 == 0) b.engine->turn(time_point::min());
    if (op->completed == 0) b.engine->cancel(*op);
    b.finish(*op);
    b.finish(sending);
    const bool cancelled = static_cast<bool>(op->error);
    op->~observed();
    // The same address, the same request: only bytes of the peer complete it.
    op = new (place) typename bench<TestType>::observed;
    typename bench<TestType>::observed more;
    if (!cancelled) {
      b.complete(b.send(more, "y"));
      b.finish(more);
    }
    b.complete(b.recv(*op, buffer));
    b.finish(*op);
    REQUIRE(!op->error);
    REQUIRE(op->bytes == 1);
    op->~observed();
  }
}

TEMPLATE_LIST_TEST_CASE("an abandoned operation never completes, and its buffer is not written to",
                        "[conformance][O5]", every_engine) {
  ENGINE_UNDER_TEST(b)
  auto buffer = std::make_unique<std::array<char, 8>>();
  typename bench<TestType>::observed sending, next;
  {
    typename bench<TestType>::observed receiving;
    CHECK_FALSE(b.submit(b.recv(receiving, *buffer)));
    b.settle();
    b.engine->abandon(receiving);
    CHECK(receiving.completed == 0);
  }
  buffer.reset(); // AddressSanitizer would see a late write
  std::array<char, 8> other{};
  b.complete(b.send(sending, "abc"));
  b.finish(sending);
  b.complete(b.recv(next, other));
  b.finish(next);
  CHECK(next.bytes == 3); // the abandoned operation took none
}

TEMPLATE_LIST_TEST_CASE(
    "abandoning an operation after its result has arrived leaves nothing behind",
    "[conformance][O5]", every_engine) {
  ENGINE_UNDER_TEST(b) {
    typename bench<TestType>::observed yielding, sleeping;
    yielding.action = action::yield;
    CHECK_FALSE(b.submit(yielding));
    CHECK_FALSE(b.submit(b.wait(sleeping)));
    b.engine->cancel(sleeping);
    b.engine->abandon(yielding);
    b.engine->abandon(sleeping);
  }
  CHECK(b.engine->active() == 0);
  CHECK(b.engine->turn(time_point::min()) == 0);
}

TEMPLATE_LIST_TEST_CASE("an event has one waiter at a time, and is not waited for once it is set",
                        "[conformance]", every_engine) {
  ENGINE_UNDER_TEST(b)
  rouse::one_shot_event event("event");
  typename bench<TestType>::observed first, second, late;
  for (auto* op : {&first, &second, &late}) b.wait(*op).awaited = &event;
  CHECK_FALSE(b.submit(first));
  CHECK(b.submit(second));
  CHECK(second.error == failure(std::errc::operation_not_permitted));
  b.engine->set(event);
  b.finish(first);
  CHECK(!first.error);
  CHECK(b.submit(late));
  CHECK(!late.error);
}

TEMPLATE_LIST_TEST_CASE("a wait for an event that concerns a socket ends with either of them",
                        "[conformance][O6]", every_engine) {
  ENGINE_UNDER_TEST(b)
  rouse::one_shot_event event("event");
  typename bench<TestType>::observed closed, first, late;
  for (auto* op : {&closed, &first, &late}) b.wait(*op).awaited = &event;
  closed.target = b.client;
  first.target = late.target = b.server;
  CHECK_FALSE(b.submit(closed));
  b.engine->close(*b.client);
  b.finish(closed);
  CHECK(closed.error == failure(std::errc::operation_canceled));
  CHECK_FALSE(b.submit(first)); // the event has room for it again
  b.engine->set(event);
  b.finish(first);
  CHECK(!first.error);
  CHECK(b.submit(late));
  CHECK(!late.error);
}

TEMPLATE_LIST_TEST_CASE("closing completes pending operations with operation_canceled",
                        "[conformance][O6]", every_engine) {
  ENGINE_UNDER_TEST(b)
  std::array<char, 8> buffer{};
  typename bench<TestType>::observed receiving, accepting;
  CHECK_FALSE(b.submit(b.recv(receiving, buffer)));
  accepting.action = action::accept;
  accepting.target = b.listener;
  accepting.handle = static_cast<std::intptr_t>(rouse::os::no_handle);
  CHECK_FALSE(b.submit(accepting));
  b.settle();
  b.engine->close(*b.client);
  b.engine->close(*b.listener);
  b.finish(receiving);
  b.finish(accepting);
  CHECK(receiving.error == failure(std::errc::operation_canceled));
  CHECK(accepting.error == failure(std::errc::operation_canceled));
}

TEMPLATE_LIST_TEST_CASE("take_raised returns each raised exception once, oldest first",
                        "[conformance][O7]", every_engine) {
  ENGINE_UNDER_TEST(b)
  b.engine->raise(std::make_exception_ptr(1));
  b.engine->raise(std::make_exception_ptr(2));
  CHECK_THROWS_AS(std::rethrow_exception(b.engine->take_raised()), int);
  CHECK(b.engine->take_raised());
  CHECK_FALSE(b.engine->take_raised());
}

TEMPLATE_LIST_TEST_CASE("a limit completes an operation with timed_out, never early",
                        "[conformance][X01]", every_engine) {
  ENGINE_UNDER_TEST(b)
  std::array<char, 8> buffer{};
  typename bench<TestType>::observed receiving;
  const auto due = rouse::clock::now() + 5ms;
  receiving.limit_to(due);
  CHECK_FALSE(b.submit(b.recv(receiving, buffer)));
  b.finish(receiving);
  CHECK(rouse::clock::now() >= due);
  CHECK(receiving.error == failure(std::errc::timed_out));
}

TEMPLATE_LIST_TEST_CASE("a function posted by another thread wakes the loop and runs there",
                        "[conformance]", every_engine) {
  ENGINE_UNDER_TEST(b)
  struct posted : bench<TestType>::core::posted {
    posted() : bench<TestType>::core::posted(&posted::on_run) {}
    static void on_run(typename bench<TestType>::core::posted& p, bool) noexcept {
      static_cast<posted&>(p).where = std::this_thread::get_id();
    }
    std::thread::id where;
  };
  posted p;
  std::thread other([&] { b.engine->post(p); });
  const auto until = rouse::clock::now() + patience;
  while (p.where == std::thread::id{} && rouse::clock::now() < until) b.engine->turn(until);
  other.join();
  CHECK(p.where == std::this_thread::get_id());
}

TEMPLATE_LIST_TEST_CASE(
    "under random sends, recvs, cancels and abandons, each completes once and no byte is lost",
    "[conformance][O1][O4][O5][X11]", every_engine) {
  ENGINE_UNDER_TEST(b)
  using observed = typename bench<TestType>::observed;
  std::mt19937 random(20240229);
  std::size_t sent = 0, received = 0, submitted = 0, completed = 0;
  for (int round = 0; round != 2000; ++round) {
    observed sending, first, second;
    std::array<char, 3> one{}, two{};
    const std::string_view text = std::string_view("abcdef").substr(0, 1 + random() % 6);
    b.complete(b.recv(first, one));
    b.complete(b.recv(second, two));
    if (random() % 2) b.settle();
    b.complete(b.send(sending, text));
    if (random() % 4 == 0) b.engine->turn(time_point::min());
    for (observed* op : {&first, &second}) {
      if (op->completed == 0 && random() % 3 == 0) b.engine->cancel(*op);
    }
    b.finish(sending);
    for (observed* op : {&second, &first}) {
      if (op->completed == 0) b.engine->cancel(*op);
    }
    for (observed* op : {&first, &second}) {
      b.finish(*op);
      if (op->error) REQUIRE(op->error == failure(std::errc::operation_canceled));
      received += op->bytes;
    }
    sent += sending.bytes;
    submitted += 3;
    completed += static_cast<std::size_t>(sending.completed + first.completed + second.completed);
  }
  while (received != sent) {
    observed rest;
    std::array<char, 64> buffer{};
    b.complete(b.recv(rest, buffer));
    b.finish(rest);
    REQUIRE(!rest.error);
    received += rest.bytes;
  }
  CHECK(completed == submitted);
  CHECK(b.engine->active() == 0);
}

#include <rouse/rouse.hpp>

#include <catch2/catch.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

// With a waker that requires handlers, the forms without one must not be instantiated with the
// class.
template class rouse::socket<rouse::callbacks>;
template class rouse::reader<rouse::callbacks>;
template class rouse::flow_semaphore<rouse::callbacks>;

using rouse::action;
using rouse::failure;
using namespace std::chrono_literals;

namespace {

// An engine that does only what the test says, and counts its calls.
struct fake_engine {
  struct operation : rouse::operation {
    using rouse::operation::operation;
  };
  struct stop_request {
    rouse::operation* op = nullptr;
  };

  bool busy = false; // whether count() defers the call to a later turn
  bool at_once = false; // whether the next operations are done at once
  int submitted = 0, abandoned = 0, given_back = 0, stops = 0, withdrawn = 0;
  operation* pending = nullptr;

  bool submit(operation& op) noexcept {
    ++submitted;
    if (op.cancelled()) op.error = op.cancel_error();
    if (at_once || op.cancelled()) return true;
    pending = &op;
    if (op.target) op.apply_default_timeout();
    op.state = rouse::operation_state::pending;
    return false;
  }
  int counted = 0;
  bool count(operation& op) noexcept {
    ++counted;
    if (!busy) return true;
    pending = &op;
    op.state = rouse::operation_state::ready;
    return false;
  }
  void answer() {
    operation& op = *std::exchange(pending, nullptr);
    op.state = rouse::operation_state::idle;
    op.complete(op);
  }
  void abandon(operation& op) noexcept {
    ++abandoned;
    op.state = rouse::operation_state::idle;
  }
  void give_back(rouse::socket_state&) noexcept { ++given_back; }
  void request_stop(stop_request&) noexcept { ++stops; }
  void withdraw(stop_request&) noexcept { ++withdrawn; }
};

// A call with a given number of rounds, which may be refused.
struct rounds {
  using value_type = int;
  static constexpr const char* name = "rouse: rounds";
  int left = 1;
  rouse::socket_state* target = nullptr;
  action what = action::recv;
  failure refusal{};

  bool prepare(rouse::operation& op) noexcept {
    op.action = what;
    op.target = target;
    op.error = refusal;
    return !refusal;
  }
  bool advance(rouse::operation&) noexcept { return --left == 0; }
  int value(rouse::operation&) { return 42; }
  void discard(rouse::operation& op, fake_engine& e) noexcept {
    if (op.action == action::accept && op.handle == 7) e.give_back(*op.target);
  }
};

template <class Limit>
class waiter : public rouse::detail::pending_call<fake_engine, rounds, Limit, waiter<Limit>> {
  using base = rouse::detail::pending_call<fake_engine, rounds, Limit, waiter>;
  friend base;

public:
  waiter(fake_engine* e, rounds r, Limit l = {}) : base(e, std::move(r), l) {}
  using base::start;
  using base::take;
  int delivered = 0;

private:
  void deliver() noexcept { ++delivered; }
};
using unlimited = waiter<rouse::no_limit>;
using limited = waiter<rouse::limit>;

struct record final : rouse::socket_state {};

template <class... How>
constexpr bool gives_back = rouse::detail::gives_back<How...>;
template <class... How>
constexpr bool limit_first = rouse::detail::limit_first<How...>;

} // namespace

TEST_CASE("call: a call that is done at once is not delivered", "[unit][call]") {
  fake_engine engine;
  engine.at_once = true;
  unlimited call(&engine, {});
  CHECK(call.start());
  CHECK(call.delivered == 0);
}

TEST_CASE("call: a call that waits is delivered once, when it completes", "[unit][call]") {
  fake_engine engine;
  unlimited call(&engine, {});
  CHECK(!call.start());
  CHECK(call.delivered == 0);
  engine.answer();
  CHECK(call.delivered == 1);
}

TEST_CASE("call: makes several rounds, whether each waits or not", "[unit][call]") {
  fake_engine engine;
  unlimited call(&engine, {.left = 5});
  CHECK(!call.start());
  engine.answer();
  CHECK(engine.submitted == 2);
  engine.at_once = true;
  engine.answer();
  CHECK(engine.submitted == 5);
  CHECK(call.delivered == 1);
}

TEST_CASE("call: a refused call is counted, but not submitted", "[unit][call]") {
  fake_engine engine;
  unlimited call(&engine, {.refusal = std::errc::invalid_argument});
  SECTION("at once") { CHECK(call.start()); }
  SECTION("in the next turn") {
    engine.busy = true;
    CHECK(!call.start());
    CHECK(call.delivered == 0);
    engine.answer();
    CHECK(call.delivered == 1);
  }
  CHECK(engine.submitted == 0);
  CHECK(engine.counted == 1);
  std::error_code ec;
  (void)call.take(&ec);
  CHECK(ec == std::errc::invalid_argument);
}

TEST_CASE("call: fails with bad_file_descriptor without an engine", "[unit][call]") {
  limited call(nullptr, {}, {1h});
  CHECK(call.start());
  std::error_code ec;
  (void)call.take(&ec);
  CHECK(ec == std::errc::bad_file_descriptor);
}

TEST_CASE("call: throws the error with the name of the call", "[unit][call]") {
  fake_engine engine;
  unlimited call(&engine, {.refusal = std::errc::invalid_argument});
  (void)call.start();
  CHECK_THROWS_AS(call.take(nullptr), std::system_error);
  CHECK_THROWS_WITH(call.take(nullptr), Catch::StartsWith("rouse: rounds"));
}

TEST_CASE("call: success clears the error_code and returns the value", "[unit][call]") {
  fake_engine engine;
  engine.at_once = true;
  unlimited call(&engine, {});
  (void)call.start();
  std::error_code ec = std::make_error_code(std::errc::io_error);
  CHECK(call.take(&ec) == 42);
  CHECK(!ec);
}

TEST_CASE("call: a call that is destroyed while it waits is abandoned", "[unit][call]") {
  fake_engine engine;
  {
    unlimited call(&engine, {});
    (void)call.start();
  }
  CHECK(engine.abandoned == 1);
}

TEST_CASE("call: a call that has ended or never begun is not abandoned", "[unit][call]") {
  fake_engine engine;
  {
    unlimited never(&engine, {}), over(&engine, {});
    (void)over.start();
    engine.answer();
  }
  CHECK(engine.abandoned == 0);
}

TEST_CASE("call: a result that is not taken is discarded", "[unit][call]") {
  fake_engine engine;
  {
    record listener;
    unlimited call(&engine, {.target = &listener, .what = action::accept});
    (void)call.start();
    engine.pending->handle = 7;
    engine.answer();
  }
  CHECK(engine.given_back == 1);
}

TEST_CASE("call: its limit is the socket's timeout if it has no other", "[unit][call]") {
  fake_engine engine;
  record socket;
  socket.default_timeout = 1h;
  const auto before = rouse::clock::now();
  unlimited none(&engine, {.target = &socket});
  (void)none.start();
  CHECK(none.due >= before + 1h);
  CHECK(none.due <= rouse::clock::now() + 1h);
  std::stop_source source;
  limited token(&engine, {.target = &socket}, {source.get_token()});
  (void)token.start();
  CHECK(token.due >= before + 1h);
}

TEST_CASE("call: its own deadline replaces the socket's timeout, even if it is later",
          "[unit][call]") {
  fake_engine engine;
  record socket;
  socket.default_timeout = 1h;
  const auto when = rouse::clock::now() + 2h;
  limited call(&engine, {.target = &socket}, {when});
  (void)call.start();
  CHECK(call.due == when);
}

TEST_CASE("call: fails with operation_canceled if its token was stopped before", "[unit][call]") {
  fake_engine engine;
  std::stop_source source;
  source.request_stop();
  limited call(&engine, {}, {source.get_token()});
  CHECK(call.start());
  std::error_code ec;
  (void)call.take(&ec);
  CHECK(ec == std::errc::operation_canceled);
  CHECK(engine.stops == 0);
}

TEST_CASE("call: a stop while it waits makes one request to the engine", "[unit][call]") {
  fake_engine engine;
  std::stop_source source;
  limited call(&engine, {}, {source.get_token()});
  (void)call.start();
  source.request_stop();
  source.request_stop();
  CHECK(engine.stops == 1);
}

TEST_CASE("call: a stop after its end makes no request", "[unit][call]") {
  fake_engine engine;
  std::stop_source source;
  limited stopped(&engine, {}, {source.get_token()});
  (void)stopped.start();
  engine.answer();
  engine.at_once = true;
  limited at_once(&engine, {}, {source.get_token()});
  (void)at_once.start();
  source.request_stop();
  CHECK(engine.stops == 0);
}

TEST_CASE("call: destroying a waiting call withdraws its stop request", "[unit][call]") {
  fake_engine engine;
  std::stop_source source;
  {
    limited call(&engine, {}, {source.get_token()});
    (void)call.start();
    source.request_stop();
  }
  CHECK(engine.withdrawn == 1);
}

TEST_CASE("call: a limit without a token takes no space for one", "[unit][call]") {
  using timed = waiter<rouse::time_limit>;
  STATIC_REQUIRE(sizeof(timed) == sizeof(unlimited));
  STATIC_REQUIRE(sizeof(timed) < sizeof(limited));
  fake_engine engine;
  record socket;
  socket.default_timeout = 1h;
  const auto when = rouse::clock::now() + 2h;
  timed call(&engine, {.target = &socket}, {when, {}});
  (void)call.start();
  CHECK(call.due == when);
  CHECK(call.limited);
  timed never(&engine, {.target = &socket}, {{}, {}});
  (void)never.start();
  CHECK(never.due < when);
}

TEST_CASE("call: a limit without a token does not enlarge a socket's call", "[unit][call]") {
  using conn = rouse::socket<rouse::coroutines>;
  using buffer = std::vector<char>;
  using none = decltype(std::declval<conn&>().recv(std::declval<buffer&>()));
  using timed = decltype(std::declval<conn&>().recv(std::declval<buffer&>(), 5s));
  using both = decltype(std::declval<conn&>().recv(std::declval<buffer&>(), {5s, {}}));
  STATIC_REQUIRE(sizeof(timed) == sizeof(none));
  STATIC_REQUIRE(sizeof(timed) < sizeof(both));
}

TEST_CASE("call: returns its value without further arguments or with an error_code",
          "[unit][call]") {
  STATIC_REQUIRE(gives_back<>);
  STATIC_REQUIRE(gives_back<std::error_code&>);
  STATIC_REQUIRE(!gives_back<std::error_code>);
  STATIC_REQUIRE(!gives_back<const std::error_code&>);
  STATIC_REQUIRE(!gives_back<std::error_code&, std::error_code&>);
}

TEST_CASE("call: the first further argument is the limit if it converts to one", "[unit][call]") {
  STATIC_REQUIRE(limit_first<std::chrono::seconds>);
  STATIC_REQUIRE(limit_first<rouse::deadline, std::error_code&>);
  STATIC_REQUIRE(limit_first<const std::stop_token&>);
  STATIC_REQUIRE(!limit_first<>);
  STATIC_REQUIRE(!limit_first<std::error_code&, std::chrono::seconds>);
  STATIC_REQUIRE(!limit_first<int>);
}

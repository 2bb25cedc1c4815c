#include <rouse/rouse.hpp>

#include <catch2/catch.hpp>

#include <string>
#include <system_error>
#include <utility>

using rouse::done;
using rouse::no_limit;

namespace {

// The events in order: (s)ubmit, (p)ark, (u)npark, and those of a test.
std::string events;

// Completes at once, before submit returns (as another thread may), or when the caller is parked.
struct fake_engine {
  struct operation : rouse::operation {
    using rouse::operation::operation;
  };
  struct stop_request {};
  enum class completions { at_once, before_park, in_park } when = completions::in_park;
  operation* pending = nullptr;

  bool submit(operation& op) noexcept {
    events += 's';
    pending = &op;
    if (when == completions::before_park) answer();
    return when == completions::at_once;
  }
  void answer() noexcept { pending->complete(*std::exchange(pending, nullptr)); }
  bool count(operation&) noexcept { return true; }
  void abandon(operation&) noexcept {}
  void give_back(rouse::socket_state&) noexcept {}
};

struct fake_scheduler {
  using engine_type = fake_engine;
  fake_engine own;
  fake_engine& engine() noexcept { return own; }
};

// The fake engine that the parked caller waits for.
fake_engine* running = nullptr;

struct two_functions {
  bool unparked = false;
  void park() {
    events += 'p';
    if (!unparked) running->answer();
    CHECK(unparked);
  }
  void unpark() noexcept {
    events += 'u';
    unparked = true;
  }
};

struct of_scheduler : two_functions {
  explicit of_scheduler(fake_scheduler& s) { events += &s.own == running ? '+' : '-'; }
};

struct refusing : two_functions {
  const char* refusal() const noexcept { return "not here"; }
};

struct entered : two_functions {
  void enter(rouse::operation&) noexcept { events += '('; }
  ~entered() { events += ')'; }
};

struct throwing_unpark {
  void park() {}
  void unpark() {}
};

// One call on a fake scheduler, and its result.
template <class Parker, class... How>
void call(fake_engine::completions when, How&&... how) {
  fake_scheduler s;
  s.own.when = when;
  running = &s.own;
  events.clear();
  rouse::parking_waker<Parker>::initiate(&s, rouse::detail::yield_call{}, no_limit{},
                                         std::forward<How>(how)...);
  running = nullptr;
}

} // namespace

TEST_CASE("parking_waker: a caller that has to wait is parked until it is unparked",
          "[unit][parking]") {
  call<two_functions>(fake_engine::completions::in_park);
  CHECK(events == "spu");
}

TEST_CASE("parking_waker: an unpark may come before the park", "[unit][parking]") {
  call<two_functions>(fake_engine::completions::before_park);
  CHECK(events == "sup");
}

TEST_CASE("parking_waker: a call that is done at once does not park", "[unit][parking]") {
  call<two_functions>(fake_engine::completions::at_once);
  CHECK(events == "s");
}

TEST_CASE("parking_waker: a parker is made from the scheduler if it can be", "[unit][parking]") {
  call<of_scheduler>(fake_engine::completions::in_park);
  CHECK(events == "+spu");
}

TEST_CASE("parking_waker: a caller that cannot park gets an error before anything is submitted",
          "[unit][parking]") {
  std::error_code ec;
  call<refusing>(fake_engine::completions::in_park, ec);
  CHECK(ec == std::errc::operation_not_permitted);
  CHECK(events.empty());
  CHECK_THROWS_WITH(call<refusing>(fake_engine::completions::in_park),
                    Catch::Contains("rouse: yield: not here"));
}

TEST_CASE("parking_waker: a parker may observe the begin and the end of a call",
          "[unit][parking]") {
  call<entered>(fake_engine::completions::in_park);
  CHECK(events == "(spu)");
}

TEST_CASE(
    "parking_waker: without a scheduler a call fails with bad_file_descriptor and does not park",
    "[unit][parking]") {
  events.clear();
  std::error_code ec;
  rouse::parking_waker<two_functions>::initiate(static_cast<fake_scheduler*>(nullptr),
                                                rouse::detail::yield_call{}, no_limit{}, ec);
  CHECK(ec == std::errc::bad_file_descriptor);
  CHECK(events.empty());
}

TEST_CASE("parker: needs two functions, and unpark must not throw", "[unit][parking]") {
  STATIC_REQUIRE(rouse::parker<two_functions>);
  STATIC_REQUIRE(!rouse::parker<throwing_unpark>);
}

TEST_CASE("parking_waker: two functions make a scheduler", "[unit][parking]") {
  STATIC_REQUIRE(rouse::waker<rouse::parking_waker<two_functions>>);
  STATIC_REQUIRE(
      rouse::scheduler<
          rouse::basic_scheduler<rouse::native_engine, rouse::parking_waker<two_functions>>>);
}

TEST_CASE("parking_waker: a call takes no further argument or an error_code variable",
          "[unit][parking]") {
  using waker = rouse::parking_waker<two_functions>;
  STATIC_REQUIRE(waker::accepts<done>);
  STATIC_REQUIRE(waker::accepts<done, std::error_code&>);
  STATIC_REQUIRE(!waker::accepts<done, void (*)(std::error_code)>);
}

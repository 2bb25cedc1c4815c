#include <rouse/rouse.hpp>

#include <catch2/catch.hpp>

#include <exception>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

using rouse::action;
using rouse::flow;
using rouse::operation;

namespace {

struct counted_flow final : flow {
  int destroyed = 0;
  void destroy() noexcept override { ++destroyed; }
  std::exception_ptr take() noexcept override { return thrown; }
};

void never_called(operation&) noexcept {}

// Keeps the exception of `leave`, as the end of a flow does.
template <class F>
void end_with(flow& f, F leave) {
  try {
    leave();
  } catch (...) {
    f.keep_exception();
  }
}
const auto canceled = [] {
  throw std::system_error(std::make_error_code(std::errc::operation_canceled));
};
const auto reset = [] {
  throw std::system_error(std::make_error_code(std::errc::connection_reset));
};
const auto bug = [] { throw std::logic_error("bug"); };

} // namespace

TEST_CASE("flow: the last drop destroys it", "[unit][flow]") {
  counted_flow f;
  f.hold();
  f.drop();
  CHECK(f.destroyed == 0);
  f.drop();
  CHECK(f.destroyed == 1);
}

TEST_CASE("flow: drops by several threads destroy it once", "[unit][flow]") {
  for (int round = 0; round != 100; ++round) {
    counted_flow f;
    for (int i = 0; i != 3; ++i) f.hold();
    std::vector<std::thread> threads;
    for (int i = 0; i != 4; ++i) threads.emplace_back([&] { f.drop(); });
    for (std::thread& t : threads) t.join();
    REQUIRE(f.destroyed == 1);
  }
}

TEST_CASE("flow: keeps the exception that left it", "[unit][flow]") {
  counted_flow f;
  end_with(f, bug);
  REQUIRE(f.thrown);
  CHECK_THROWS_AS(std::rethrow_exception(f.thrown), std::logic_error);
}

TEST_CASE("flow: operation_canceled of a cancelled flow is not kept", "[unit][flow]") {
  counted_flow f;
  f.cancelled = true;
  end_with(f, canceled);
  CHECK(!f.thrown);
}

TEST_CASE("flow: any other exception of a cancelled flow is kept", "[unit][flow]") {
  for (const auto leave : {+reset, +bug}) {
    counted_flow f;
    f.cancelled = true;
    end_with(f, leave);
    CHECK(f.thrown);
  }
}

TEST_CASE("flow: operation_canceled of a flow that was not cancelled is kept", "[unit][flow]") {
  counted_flow f;
  end_with(f, canceled);
  CHECK(f.thrown);
}

TEST_CASE("join: waits for the event that the flow has ended", "[unit][flow]") {
  counted_flow f;
  operation op(&never_called);
  CHECK(rouse::detail::join_call{&f}.prepare(op));
  CHECK(op.action == action::wait);
  CHECK(op.awaited == &f.ended);
}

TEST_CASE("join: throws the exception of the flow once", "[unit][flow]") {
  counted_flow f;
  end_with(f, bug);
  operation op(&never_called);
  rouse::detail::join_call join{&f};
  CHECK_THROWS_AS(join.value(op), std::logic_error);
  CHECK_NOTHROW(join.value(op));
}

TEST_CASE("join: one that gave up leaves the exception to the next", "[unit][flow]") {
  counted_flow f;
  end_with(f, bug);
  operation op(&never_called);
  op.error = std::errc::timed_out;
  CHECK_NOTHROW(rouse::detail::join_call{&f}.value(op));
  CHECK(f.thrown);
}

TEST_CASE("sleep: reaching its time is no error", "[unit][flow]") {
  operation op(&never_called);
  const auto when = rouse::clock::now() + std::chrono::hours(1);
  rouse::detail::sleep_call sleep{when};
  CHECK(sleep.prepare(op));
  CHECK(op.due == when);
  op.error = std::errc::timed_out;
  CHECK(sleep.advance(op));
  CHECK(!op.error);
}

TEST_CASE("sleep: a cancellation is an error", "[unit][flow]") {
  operation op(&never_called);
  op.error = std::errc::operation_canceled;
  CHECK(rouse::detail::sleep_call{{}}.advance(op));
  CHECK(op.error.code() == std::errc::operation_canceled);
}

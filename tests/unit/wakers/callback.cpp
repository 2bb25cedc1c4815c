#include <support/testing.hpp>

using namespace testing;

namespace {

using scheduler = rouse::callbacks;

// A handler that records its address whenever it is moved.
struct traced {
  scheduler* sched;
  std::vector<const void*>* places;
  int rounds;

  traced(scheduler& s, std::vector<const void*>& p, int r) : sched(&s), places(&p), rounds(r) {}
  traced(traced&& other) noexcept : sched(other.sched), places(other.places), rounds(other.rounds) {
    places->back() = this;
  }
  void operator()(std::error_code) {
    if (rounds == 0) return;
    // The last address before the call begins is in the call's memory block.
    places->push_back(nullptr);
    sched->yield(traced(*sched, *places, rounds - 1));
    places->push_back(nullptr); // later moves are out of the block
  }
};

} // namespace

TEST_CASE("callback_waker: a call does not call its handler itself", "[unit][callback]") {
  scheduler sched;
  rouse::socket unconnected{sched};
  std::array<char, 8> buf;
  bool called = false;
  const auto note = [&](std::error_code, std::size_t) { called = true; };
  unconnected.recv(rouse::mutable_buffer(), note); // refused at once
  CHECK(!called);
  sched.run();
  CHECK(called);
  called = false;
  unconnected.recv(buf, 0s, note);
  CHECK(!called);
  sched.run();
  CHECK(called);
}

TEST_CASE("callback_waker: a call inside of a handler does not call its own handler",
          "[unit][callback]") {
  scheduler sched;
  bool calling = false, inside = false;
  int calls = 0;
  sched.yield([&](std::error_code) {
    calling = true;
    sched.sleep_until(rouse::clock::now() - 1h, [&](std::error_code) {
      inside = calling;
      ++calls;
    });
    calling = false;
  });
  sched.run();
  CHECK(calls == 1);
  CHECK(!inside);
}

TEST_CASE("callback_waker: a handler may be move-only", "[unit][callback]") {
  scheduler sched;
  int got = 0;
  sched.yield([&got, p = std::make_unique<int>(7)](std::error_code) { got = *p; });
  sched.run();
  CHECK(got == 7);
}

TEST_CASE("callback_waker: a handler is called as an rvalue", "[unit][callback]") {
  struct once {
    int* calls;
    void operator()(std::error_code) && { ++*calls; }
  };
  scheduler sched;
  int calls = 0;
  sched.yield(once{&calls});
  sched.run();
  CHECK(calls == 1);
}

TEST_CASE("callback_waker: an lvalue handler is copied and stays unchanged", "[unit][callback]") {
  scheduler sched;
  int calls = 0;
  auto handler = [&calls, n = std::make_shared<int>(1)](std::error_code) { calls += *n; };
  sched.yield(handler);
  sched.yield(handler);
  sched.run();
  CHECK(calls == 2);
}

TEST_CASE("callback_waker: a handler is destroyed right after its call", "[unit][callback]") {
  scheduler sched;
  const auto witness = std::make_shared<int>();
  long left = -1;
  sched.yield([witness](std::error_code) {});
  sched.yield([&](std::error_code) { left = witness.use_count(); });
  sched.run();
  CHECK(left == 1);
}

TEST_CASE("callback_waker: run throws the exception of a handler and can be called again",
          "[unit][callback]") {
  scheduler sched;
  bool other = false;
  sched.yield([](std::error_code) { throw std::runtime_error("from a handler"); });
  sched.yield([&](std::error_code) { other = true; });
  CHECK_THROWS_WITH(sched.run(), "from a handler");
  sched.run();
  CHECK(other);
}

TEST_CASE("callback_waker: a handler can reuse the memory block of its call", "[unit][callback]") {
  scheduler sched;
  std::vector<const void*> places{nullptr};
  sched.yield(traced(sched, places, 10));
  const void* block = places.back();
  places.push_back(nullptr);
  sched.run();
  REQUIRE(places.size() == 2 + 2 * 10);
  for (std::size_t i = 2; i < places.size(); i += 2) CHECK(places[i] == block);
}

TEST_CASE("callback_waker: a handler may destroy its socket", "[unit][callback]") {
  scheduler sched;
  auto listener = std::make_unique<rouse::socket<scheduler>>(listening(sched));
  listener->accept([&](std::error_code ec, rouse::socket<scheduler>) {
    CHECK(ec == std::errc::operation_canceled);
    listener.reset();
  });
  listener->cancel();
  sched.run();
  CHECK(!listener);
}

TEST_CASE("callback_waker: without a scheduler the call itself calls the handler",
          "[unit][callback]") {
  rouse::socket<scheduler> none;
  std::error_code ec;
  std::array<char, 8> buf;
  none.recv(buf, [&](std::error_code e, std::size_t) { ec = e; });
  CHECK(ec == std::errc::bad_file_descriptor);
}

TEST_CASE("callback_waker: a spawned function runs once, in the loop", "[unit][callback]") {
  scheduler sched;
  int calls = 0;
  sched.spawn([&calls, p = std::make_unique<int>(1)] { calls += *p; });
  CHECK(calls == 0);
  sched.run();
  CHECK(calls == 1);
}

TEST_CASE("callback_waker: a spawned function that is cancelled before it began is not called",
          "[unit][callback]") {
  scheduler sched;
  bool called = false, joined = false;
  auto handle = sched.spawn([&] { called = true; });
  handle.cancel();
  handle.join([&](std::error_code ec) { joined = !ec; });
  sched.run();
  CHECK(!called);
  CHECK(joined);
}

TEST_CASE("callback_waker: the last argument of a call is a handler of its value",
          "[unit][callback]") {
  using rouse::callback_waker;
  const auto of_bytes = [](std::error_code, std::size_t) {};
  const auto of_nothing = [](std::error_code) {};
  STATIC_REQUIRE(callback_waker::accepts<std::size_t, decltype(of_bytes)>);
  STATIC_REQUIRE(callback_waker::accepts<rouse::done, decltype(of_nothing)>);
  STATIC_REQUIRE(!callback_waker::accepts<std::size_t, decltype(of_nothing)>);
  STATIC_REQUIRE(!callback_waker::accepts<std::size_t>);
}

#include <support/testing.hpp>

using namespace testing;

namespace {

using scheduler = rouse::callbacks;

// A waiting call, so that the loop has something to wait for.
struct forever {
  std::stop_source source;
  explicit forever(scheduler& s) {
    rouse::socket listener{s};
    listener.listen();
    socket = std::move(listener);
    socket.accept(source.get_token(), [](std::error_code, rouse::socket<scheduler>) {});
  }
  rouse::socket<scheduler> socket;
};

} // namespace

TEST_CASE("basic_scheduler: run counts the functions that it called", "[unit][basic_scheduler]") {
  scheduler sched;
  for (int i = 0; i != 3; ++i) sched.post([] {});
  CHECK(sched.run() == 3);
}

TEST_CASE("basic_scheduler: run counts the waiters that it woke", "[unit][basic_scheduler]") {
  scheduler sched;
  for (int i = 0; i != 3; ++i) sched.yield([](std::error_code) {});
  CHECK(sched.run() == 3);
}

TEST_CASE("basic_scheduler: run counts over all turns", "[unit][basic_scheduler]") {
  scheduler sched;
  sched.yield([&](std::error_code) { sched.yield([&](std::error_code) { sched.post([] {}); }); });
  CHECK(sched.run() == 3);
}

TEST_CASE("basic_scheduler: poll makes one turn", "[unit][basic_scheduler]") {
  scheduler sched;
  int calls = 0;
  sched.yield([&](std::error_code) {
    ++calls;
    sched.yield([&](std::error_code) { ++calls; });
  });
  CHECK(sched.poll() == 1);
  CHECK(calls == 1);
  CHECK(sched.poll() == 1);
  CHECK(calls == 2);
}

TEST_CASE("basic_scheduler: poll does not wait for pending operations", "[unit][basic_scheduler]") {
  scheduler sched;
  const forever pending(sched);
  CHECK(sched.poll() == 0);
  CHECK(sched.engine().active() == 1);
}

TEST_CASE("basic_scheduler: run_once returns after the first completion",
          "[unit][basic_scheduler]") {
  scheduler sched;
  const forever pending(sched);
  sched.sleep_for(1ms, [](std::error_code) {});
  std::size_t done = 0;
  while (done == 0) done = sched.run_once();
  CHECK(done == 1);
  CHECK(sched.engine().active() == 1);
}

TEST_CASE("basic_scheduler: run_once with a limit that has passed does not wait",
          "[unit][basic_scheduler]") {
  scheduler sched;
  const forever pending(sched);
  CHECK(sched.run_once(0s) == 0);
  CHECK(sched.run_once(-1h) == 0);
}

TEST_CASE("basic_scheduler: run_for with zero time still runs what is ready",
          "[unit][basic_scheduler]") {
  scheduler sched;
  const forever pending(sched);
  sched.post([] {});
  CHECK(sched.run_for(0s) == 1);
  sched.post([] {});
  CHECK(sched.run_for(-1h) == 1);
}

TEST_CASE("basic_scheduler: run_for ends before its time when nothing is left",
          "[unit][basic_scheduler]") {
  scheduler sched;
  sched.sleep_for(1ms, [](std::error_code) {});
  CHECK(sched.run_for(1000h) == 1);
}

TEST_CASE("basic_scheduler: any number of earlier stops end one run", "[unit][basic_scheduler]") {
  scheduler sched;
  sched.post([] {});
  sched.stop();
  sched.stop();
  CHECK(sched.run() == 0);
  CHECK(sched.run() == 1);
}

TEST_CASE("basic_scheduler: a stop ends poll and run_once too", "[unit][basic_scheduler]") {
  scheduler sched;
  sched.post([] {});
  sched.stop();
  CHECK(sched.poll() == 0);
  sched.stop();
  CHECK(sched.run_once() == 0);
  CHECK(sched.run_once() == 1);
}

TEST_CASE("basic_scheduler: run finishes its turn after a stop from inside",
          "[unit][basic_scheduler]") {
  scheduler sched;
  const forever pending(sched);
  int later = 0;
  sched.post([&] { sched.stop(); });
  sched.post([&] { ++later; });
  CHECK(sched.run() == 2);
  CHECK(later == 1);
  CHECK(sched.engine().active() == 1);
}

TEST_CASE("basic_scheduler: functions are called in the order of their posts",
          "[unit][basic_scheduler]") {
  scheduler sched;
  std::string order;
  for (const char c : {'a', 'b', 'c'}) sched.post([&order, c] { order += c; });
  sched.run();
  CHECK(order == "abc");
}

TEST_CASE("basic_scheduler: post never calls the function itself", "[unit][basic_scheduler]") {
  scheduler sched;
  bool posting = false, inside = false;
  const auto f = [&] { inside = inside || posting; };
  sched.post([&] {
    posting = true;
    sched.post(f);
    posting = false;
  });
  CHECK(sched.run() == 2);
  CHECK(!inside);
}

TEST_CASE("basic_scheduler: a posted function may be move-only and is destroyed after the call",
          "[unit][basic_scheduler]") {
  scheduler sched;
  const auto witness = std::make_shared<int>(7);
  int got = 0;
  sched.post([&got, p = std::make_unique<std::shared_ptr<int>>(witness)] { got = **p; });
  sched.run();
  CHECK(got == 7);
  CHECK(witness.use_count() == 1);
}

TEST_CASE("basic_scheduler: a posted function that was not called is destroyed with the scheduler",
          "[unit][basic_scheduler]") {
  const auto witness = std::make_shared<int>();
  bool called = false;
  {
    scheduler sched;
    sched.post([&called, witness] { called = true; });
  }
  CHECK(!called);
  CHECK(witness.use_count() == 1);
}

TEST_CASE("basic_scheduler: two schedulers on one engine run each other's functions",
          "[unit][basic_scheduler]") {
  scheduler first;
  scheduler second{first.engine()};
  int calls = 0;
  first.post([&] { ++calls; });
  second.post([&] { ++calls; });
  CHECK(second.run() == 2);
  CHECK(calls == 2);
}

TEST_CASE("basic_scheduler: destroying one of two schedulers on an engine ends only its own flows",
          "[unit][basic_scheduler]") {
  scheduler first;
  auto second = std::make_unique<scheduler>(first.engine());
  const rouse::socket stays{first};
  const rouse::socket goes{*second};
  std::string called;
  first.yield([&](std::error_code) { called += "first"; });
  second->yield([&](std::error_code) { called += "second"; });
  second.reset();
  first.run();
  CHECK(called == "first");
  CHECK(stays.is_open());
  CHECK(!goes.is_open());
}

TEST_CASE("basic_scheduler: a stop of one of two schedulers on an engine does not stop the other",
          "[unit][basic_scheduler]") {
  scheduler first;
  scheduler second{first.engine()};
  first.post([] {});
  second.stop();
  CHECK(first.run() == 1);
  first.post([] {});
  CHECK(second.run() == 0);
  CHECK(second.run() == 1);
}

TEST_CASE("basic_scheduler: engine_report names the engine", "[unit][basic_scheduler]") {
  CHECK(!scheduler().engine_report().empty());
}

TEST_CASE("flow_handle: without a flow it counts as ended", "[unit][basic_scheduler]") {
  rouse::flow_handle<scheduler> none;
  none.cancel();
  none.detach();
  CHECK(none.ended());
}

TEST_CASE("flow_handle: joining without a flow is an error", "[unit][basic_scheduler]") {
  std::error_code ec;
  rouse::flow_handle<scheduler>().join([&](std::error_code e) { ec = e; });
  CHECK(ec == std::errc::bad_file_descriptor);
}

TEST_CASE("flow_handle: knows when its flow has ended", "[unit][basic_scheduler]") {
  scheduler sched;
  const auto handle = sched.spawn([] {});
  CHECK(!handle.ended());
  sched.run();
  CHECK(handle.ended());
}

TEST_CASE("flow_handle: a move transfers the flow", "[unit][basic_scheduler]") {
  scheduler sched;
  auto handle = sched.spawn([] {});
  const auto other = std::move(handle);
  CHECK(handle.ended());
  CHECK(!other.ended());
}

TEST_CASE("flow_handle: may outlive its scheduler, and its flow has then ended",
          "[unit][basic_scheduler]") {
  rouse::flow_handle<scheduler> handle;
  bool called = false;
  {
    scheduler sched;
    handle = sched.spawn([&] { called = true; });
  }
  CHECK(handle.ended());
  handle.cancel();
  CHECK(!called);
}

// Semaphores, mutexes, events and wait groups that park flows, under every waker.
#include <support/testing.hpp>

#include <mutex>

using namespace testing;

TEMPLATE_LIST_TEST_CASE("flow_semaphore: a flow waits for a permit, in order of arrival",
                        "[sync][B30]", every_scheduler) {
  TestType sched;
  rouse::flow_semaphore permits{sched, 1};
  CHECK(!await<rouse::done>(sched, CALL(permits.acquire(how...))).ec);
  CHECK(!permits.try_acquire());
  auto first = start<rouse::done>(sched, CALL(permits.acquire(how...)));
  until_pending(sched, 1);
  auto second = start<rouse::done>(sched, CALL(permits.acquire(5s, how...)));
  until_pending(sched, 2);
  permits.release();
  CHECK(!permits.try_acquire()); // the first waiter got it
  CHECK(!first.wait().ec);
  CHECK(!second.finished());
  permits.release(2);
  CHECK(!second.wait().ec);
  CHECK(permits.available() == 1);
}

TEMPLATE_LIST_TEST_CASE(
    "flow_mutex: a limit and a cancel leave the queue, and the lock goes to the next flow",
    "[sync][O4][X12]", every_scheduler) {
  TestType sched;
  rouse::flow_mutex m{sched};
  CHECK(m.try_lock());
  CHECK(await<rouse::done>(sched, CALL(m.lock(1ms, how...))).ec == std::errc::timed_out);
  std::stop_source stop;
  auto ended = start<rouse::done>(sched, CALL(m.lock(stop.get_token(), how...)));
  until_pending(sched, 1);
  auto next = start<rouse::done>(sched, CALL(m.lock(how...)));
  until_pending(sched, 2);
  stop.request_stop();
  CHECK(ended.wait().ec == std::errc::operation_canceled);
  m.unlock();
  CHECK(!next.wait().ec);
  CHECK(!m.try_lock());
  m.unlock();
  CHECK(!await<rouse::done>(sched, CALL(m.lock(0s, how...))).ec); // free: a limit of zero takes it
}

TEMPLATE_LIST_TEST_CASE("flow_mutex: one flow at a time is between lock and unlock", "[sync]",
                        every_flowing) {
  TestType sched;
  rouse::flow_mutex m{sched};
  int inside = 0, most = 0, times = 0;
  for (int n = 0; n != 8; ++n) {
    if constexpr (awaits<TestType>) {
      sched.spawn([&]() -> rouse::task<> {
        for (int i = 0; i != 20; ++i) {
          co_await m.lock();
          const std::lock_guard held{m, std::adopt_lock};
          most = std::max(most, ++inside);
          co_await sched.yield();
          --inside, ++times;
        }
      });
    } else {
      sched.spawn([&] {
        for (int i = 0; i != 20; ++i) {
          const std::lock_guard held{m};
          most = std::max(most, ++inside);
          sched.yield();
          --inside, ++times;
        }
      });
    }
  }
  sched.run();
  CHECK(most == 1);
  CHECK(times == 160);
}

TEMPLATE_LIST_TEST_CASE("flow_event: lets all flows pass from set until reset", "[sync]",
                        every_scheduler) {
  TestType sched;
  rouse::flow_event ready{sched};
  auto one = start<rouse::done>(sched, CALL(ready.wait(how...)));
  auto two = start<rouse::done>(sched, CALL(ready.wait(how...)));
  until_pending(sched, 2);
  ready.set();
  CHECK(ready.is_set());
  CHECK(!one.wait().ec);
  CHECK(!two.wait().ec);
  CHECK(!await<rouse::done>(sched, CALL(ready.wait(how...))).ec);
  ready.reset();
  CHECK(await<rouse::done>(sched, CALL(ready.wait(1ms, how...))).ec == std::errc::timed_out);
}

TEMPLATE_LIST_TEST_CASE("wait_group: waits until all parts are done", "[sync]", every_scheduler) {
  TestType sched;
  rouse::wait_group group{sched};
  CHECK(!await<rouse::done>(sched, CALL(group.wait(how...))).ec);
  group.add(2);
  auto waiting = start<rouse::done>(sched, CALL(group.wait(how...)));
  until_pending(sched, 1);
  group.finish();
  CHECK(group.running() == 1);
  sched.poll();
  CHECK(!waiting.finished());
  group.finish();
  CHECK(!waiting.wait().ec);
  group.finish();
  CHECK(group.running() == 0);
}

TEMPLATE_LIST_TEST_CASE("destroying a lock cancels the flows that wait for it", "[sync][O5]",
                        every_scheduler) {
  TestType sched;
  std::optional<rouse::flow_event<TestType>> event{std::in_place, sched};
  auto waiting = start<rouse::done>(sched, CALL(event->wait(how...)));
  until_pending(sched, 1);
  event.reset();
  CHECK(waiting.wait().ec == std::errc::operation_canceled);
}

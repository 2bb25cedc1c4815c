// The loop inside another event loop, which waits for its handle and its next deadline.
#include <support/child_process.hpp>
#include <support/testing.hpp>

#if !ROUSE_WINDOWS
#include <fcntl.h>
#include <poll.h>

using namespace testing;

namespace {

// Waits as a foreign loop does. False if nothing happens.
template <class S>
bool wait(S& sched) {
  const rouse::deadline due = sched.next_deadline();
  const auto now = rouse::clock::now();
  std::chrono::milliseconds left = patience;
  if (due.when() <= now)
    left = 0ms;
  else if (!due.never())
    left = std::min(left, std::chrono::ceil<std::chrono::milliseconds>(due.when() - now));
  pollfd handle{sched.native_wait_handle(), POLLIN, 0};
  const int n = ::poll(&handle, 1, static_cast<int>(left.count()));
  return n == 1 || due.when() <= rouse::clock::now();
}

template <class S, class Condition>
void run_outside(S& sched, Condition holds) {
  for (int turns = 0; !holds() && turns != 10'000; ++turns) {
    sched.poll();
    if (!holds() && !wait(sched)) FAIL("the handle did not become readable");
  }
  CHECK(holds());
}

} // namespace

TEMPLATE_LIST_TEST_CASE("a foreign loop drives an echo over TCP, and its sleeps", "[foreign]",
                        every_single) {
  connected_pair<TestType> pair;
  std::array<char, 5> there, back;
  for (int i = 0; i != 20; ++i) {
    auto slept = start<rouse::done>(pair.sched, CALL(pair.sched.sleep_for(1ms, how...)));
    run_outside(pair.sched, [&] { return slept.finished(); });
    auto heard = start(pair.sched, CALL(pair.server.recv_exactly(there, how...)));
    auto answer = start(pair.sched, CALL(pair.client.recv_exactly(back, how...)));
    auto asked = start(pair.sched, CALL(pair.client.send_all("hello", how...)));
    run_outside(pair.sched, [&] { return heard.finished() && asked.finished(); });
    auto sent = start(pair.sched, CALL(pair.server.send_all(there, how...)));
    run_outside(pair.sched, [&] { return answer.finished() && sent.finished(); });
    CHECK(std::string_view(back.data(), back.size()) == "hello");
  }
}

TEMPLATE_LIST_TEST_CASE("a post or a stop of another thread wakes a foreign loop", "[foreign]",
                        every_single) {
  TestType sched;
  std::stop_source stop;
  auto sleeping = start<rouse::done>(
      sched, CALL(sched.sleep_for(std::chrono::hours::max(), stop.get_token(), how...)));
  until_pending(sched, 1);
  bool posted = false;
  std::thread other([&] { sched.post([&] { posted = true; }); });
  run_outside(sched, [&] { return posted; });
  other.join();
  other = std::thread([&] { stop.request_stop(); });
  run_outside(sched, [&] { return sleeping.finished(); });
  other.join();
  CHECK(sleeping.wait().ec == std::errc::operation_canceled);
}

TEMPLATE_LIST_TEST_CASE("a function posted before next_deadline() is due at once", "[foreign]",
                        every_single) {
  TestType sched;
  auto sleeping = start<rouse::done>(sched, CALL(sched.sleep_for(patience, how...)));
  until_pending(sched, 1);
  for (int i = 0; i != 3; ++i) {
    bool posted = false;
    sched.poll();
    std::thread([&] { sched.post([&] { posted = true; }); }).join();
    CHECK(sched.next_deadline().when() <= rouse::clock::now());
    sched.poll();
    CHECK(posted);
  }
}

TEMPLATE_LIST_TEST_CASE("the wait handle of an idle loop is not readable", "[foreign]",
                        every_single) {
  TestType sched;
  const auto calm = [&] {
    for (int i = 0; i != 3; ++i) {
      sched.poll();
      if (!sched.next_deadline().never()) continue;
      pollfd handle{sched.native_wait_handle(), POLLIN, 0};
      return ::poll(&handle, 1, 0) == 0;
    }
    return false;
  };
  CHECK(calm());
  sched.stop(); // makes the handle readable once
  CHECK(calm());
  CHECK(!await<rouse::done>(sched, CALL(sched.sleep_for(1ms, how...))).ec);
  CHECK(calm());
}

#if ROUSE_LINUX
TEMPLATE_LIST_TEST_CASE("a forked child gets no wait handle of a loop that its parent has used",
                        "[foreign][O8]", every_single) {
  TestType sched;
  auto sleeping = start<rouse::done>(sched, CALL(sched.sleep_for(patience, how...)));
  until_pending(sched, 1);
  CHECK(!sched.next_deadline().never());
  const auto handle = sched.native_wait_handle();
  CHECK(handle != -1);
  child_process child([&] {
    (void)sched.next_deadline();
    return sched.native_wait_handle() == -1 && ::fcntl(handle, F_GETFD) == -1 ? 0 : 1;
  });
  CHECK(child.wait() == 0);
  CHECK(sched.native_wait_handle() == handle);
  bool posted = false;
  std::thread other([&] { sched.post([&] { posted = true; }); });
  run_outside(sched, [&] { return posted; });
  other.join();
}
#endif
#endif

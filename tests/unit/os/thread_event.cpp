// thread_event: a thread sleeps until another thread raises a bit.
#include <rouse/rouse.hpp>

#include <catch2/catch.hpp>

#include <memory>
#include <thread>
#include <vector>

using rouse::os::thread_event;

TEST_CASE("thread_event: a wait after a raise returns at once", "[unit][thread]") {
  thread_event event;
  CHECK(event.raised() == 0);
  event.raise(2);
  CHECK(event.raised() == 2);
  CHECK(event.wait() == 2);
  event.raise(1);
  CHECK(event.wait() == 3); // earlier bits stay
}

TEST_CASE("thread_event: a woken thread sees what was written before the raise", "[unit][thread]") {
  for (int i = 0; i != 200; ++i) {
    // The owner destroys it as soon as it sees the bit.
    auto event = std::make_unique<thread_event>();
    thread_event* const there = event.get();
    int message = 0;
    std::thread raiser([&message, there] {
      message = 42;
      there->raise(1);
    });
    CHECK(event->wait() == 1);
    event.reset();
    CHECK(message == 42);
    raiser.join();
  }
}

TEST_CASE("thread_event: several threads may raise", "[unit][thread]") {
  thread_event event;
  std::vector<std::thread> raisers;
  for (unsigned bit = 0; bit != 8; ++bit)
    raisers.emplace_back([&event, bit] { event.raise(1u << bit); });
  CHECK(event.wait() != 0);
  for (auto& t : raisers) t.join();
  CHECK(event.raised() == 0xff);
}

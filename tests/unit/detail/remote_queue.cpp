#include <rouse/rouse.hpp>

#include <catch2/catch.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

namespace {

struct parcel : rouse::detail::remote_node {
  explicit parcel(int p = 0, int n = 0) : producer(p), number(n) {}
  int producer, number;
};
using parcels = rouse::detail::remote_queue<parcel>;

std::vector<int> taken_from(parcels& q) {
  std::vector<int> numbers;
  q.take([&](parcel& p) { numbers.push_back(p.number); });
  return numbers;
}

} // namespace

TEST_CASE("remote_queue: nothing is taken from an empty queue", "[unit][remote_queue]") {
  parcels q;
  CHECK(q.empty());
  CHECK(taken_from(q).empty());
}

TEST_CASE("remote_queue: a take returns everything, oldest first", "[unit][remote_queue]") {
  parcels q;
  parcel a(0, 1), b(0, 2), c(0, 3);
  for (parcel* p : {&a, &b, &c}) q.push(*p);
  CHECK(!q.empty());
  CHECK(taken_from(q) == std::vector{1, 2, 3});
  CHECK(q.empty());
}

TEST_CASE("remote_queue: a taken element may be pushed again", "[unit][remote_queue]") {
  parcels q;
  parcel a(0, 1), b(0, 2);
  q.push(a);
  q.push(b);
  (void)taken_from(q);
  q.push(b);
  q.push(a);
  CHECK(taken_from(q) == std::vector{2, 1});
}

TEST_CASE("remote_queue: elements pushed during a take wait for the next one",
          "[unit][remote_queue]") {
  parcels q;
  parcel a(0, 1);
  q.push(a);
  int taken = 0;
  q.take([&](parcel& p) {
    ++taken;
    q.push(p);
  });
  CHECK(taken == 1);
  CHECK(!q.empty());
  CHECK(taken_from(q) == std::vector{1});
}

TEST_CASE("remote_queue: a taken element may be destroyed", "[unit][remote_queue]") {
  parcels q;
  for (int n = 0; n != 3; ++n) q.push(*new parcel(0, n));
  int sum = 0;
  q.take([&](parcel& p) { sum += std::unique_ptr<parcel>(&p)->number; });
  CHECK(sum == 0 + 1 + 2);
}

TEST_CASE("remote_queue: pushes of several threads are taken once, each thread's in order",
          "[unit][remote_queue]") {
  constexpr int producers = 4, each = 5000;
  parcels q;
  std::atomic<bool> go{false};
  std::vector<std::thread> threads;
  for (int t = 0; t != producers; ++t) {
    threads.emplace_back([&q, &go, t] {
      while (!go) std::this_thread::yield();
      for (int n = 0; n != each; ++n) q.push(*new parcel(t, n));
    });
  }
  std::array<int, producers> next{};
  int taken = 0, out_of_order = 0;
  const auto take = [&] {
    q.take([&](parcel& p) {
      const std::unique_ptr<parcel> mine(&p);
      ++taken;
      if (p.number != next.at(static_cast<std::size_t>(p.producer))++) ++out_of_order;
    });
  };
  go = true;
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (taken < producers * each && std::chrono::steady_clock::now() < until) take();
  for (std::thread& t : threads) t.join();
  take();
  CHECK(taken == producers * each);
  CHECK(out_of_order == 0);
}

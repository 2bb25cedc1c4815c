#include <rouse/rouse.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <stdexcept>
#include <vector>

using rouse::detail::timer_node;
using rouse::detail::timer_wheel;
using namespace std::chrono_literals;

namespace {

using time_point = timer_wheel::time_point;
using duration = timer_wheel::clock::duration;

constexpr duration tick{1 << 16};
constexpr time_point first = (time_point::min)(), last = (time_point::max)();
// Ordinary times, one of them on a tick.
const std::vector<time_point> ordinary{time_point{}, time_point{1000h}, time_point{1000h + 77us},
                                       time_point{-1h}, time_point{1000h - 1ns}};

// The time `ns` after t, or the last one.
time_point after(time_point t, std::uint64_t ns) {
  const auto since = static_cast<std::uint64_t>(t.time_since_epoch().count());
  const auto until = static_cast<std::uint64_t>(last.time_since_epoch().count());
  return ns < until - since ? time_point(duration(static_cast<std::int64_t>(since + ns))) : last;
}

struct timer : timer_node {
  time_point due = last;
  int fired = 0;
  bool in_round = false; // armed by a timer that fired in this round
};
timer& of(timer_node& n) { return static_cast<timer&>(n); }
const auto count = [](timer_node& n) { ++of(n).fired; };
const auto ignore = [](timer_node&) {};

} // namespace

TEST_CASE("timer_wheel: a timer fires once, never early, and at most one tick late", "[timer]") {
  for (const time_point start : ordinary) {
    for (int shift = 0; shift != 62; ++shift) {
      for (const duration more : {-1ns, 0ns, 1ns, 12345ns}) {
        const time_point due = start + duration(std::int64_t{1} << shift) + more;
        INFO("start " << start.time_since_epoch().count() << ", 2^" << shift << " + "
                      << more.count());
        timer_wheel wheel(start);
        timer t;
        wheel.arm(t, due);
        CHECK(t.armed());
        CHECK(!wheel.empty());
        CHECK((due == start || wheel.expire(due - 1ns, count) == 0));
        CHECK(wheel.expire(due + tick, count) == 1);
        CHECK(t.fired == 1);
        CHECK(!t.armed());
        CHECK(wheel.empty());
        CHECK(wheel.expire(due + 24h, count) == 0);
      }
    }
  }
}

TEST_CASE("timer_wheel: a time in the past is due at once", "[timer]") {
  for (const time_point start : ordinary) {
    timer_wheel wheel(start);
    for (const time_point now : {start, start + 5s, start + 10000h}) {
      wheel.expire(now, ignore);
      timer t;
      wheel.arm(t, now - tick);
      CHECK(wheel.expire(first, ignore) == 1); // the wheel's time does not go back
      for (const time_point due : {first, start - 1h, start - tick, now - tick}) {
        wheel.arm(t, due);
        CHECK(wheel.next() <= now);
        CHECK(wheel.expire(now, count) == 1);
      }
    }
  }
}

TEST_CASE("timer_wheel: a time in the far future does not fire or overflow", "[timer]") {
  constexpr std::uint64_t year = 365ull * 86400 * 1000000000;
  for (const time_point start : {first, time_point{-1h}, time_point{}, time_point{1000h}}) {
    timer_wheel wheel(start);
    timer never, century, latest;
    wheel.arm(never, last);
    wheel.arm(century, after(start, 100 * year));
    wheel.arm(latest, last - tick);
    CHECK(wheel.expire(start, ignore) == 0);
    CHECK(wheel.expire(after(start, 100 * year - 1), ignore) == 0);
    CHECK(wheel.expire(after(start, 101 * year), count) == 1);
    CHECK(century.fired == 1);
    CHECK(wheel.expire(last - tick - 1ns, ignore) == 0);
    CHECK(wheel.next() > last - 2 * tick);
    CHECK(wheel.expire(last, count) == 2);
    CHECK(wheel.empty());
    CHECK(wheel.next() == last);
    wheel.arm(never, last);
    CHECK(wheel.expire(last, count) == 1);
  }
}

TEST_CASE("timer_wheel: disarming affects one timer, and is harmless if it is not armed",
          "[timer]") {
  timer_wheel wheel(time_point{1000h});
  const time_point due = time_point{1000h} + 3s;
  timer a, b, c;
  CHECK(!a.armed());
  wheel.disarm(a);
  CHECK(wheel.empty());
  for (timer* t : {&a, &b, &c}) wheel.arm(*t, due);
  wheel.disarm(b);
  wheel.disarm(b);
  CHECK(!b.armed());
  CHECK(wheel.next() <= due + tick);
  wheel.disarm(a);
  CHECK(!wheel.empty());
  wheel.disarm(c);
  CHECK(wheel.empty());
  CHECK(wheel.next() == last);
  CHECK(wheel.expire(due + 1h, count) == 0);
}

TEST_CASE("timer_wheel: arming again replaces the former time", "[timer]") {
  const time_point start{1000h};
  timer_wheel wheel(start);
  timer t;
  wheel.arm(t, start + 1s);
  wheel.arm(t, start + 3s);
  CHECK(wheel.expire(start + 2s, count) == 0);
  wheel.arm(t, start + 2s + 500ms);
  CHECK(wheel.expire(start + 2s + 600ms, count) == 1);
  CHECK(wheel.expire(start + 4s, count) == 0);
}

TEST_CASE("timer_wheel: earlier ticks fire first, whatever the order of arming", "[timer]") {
  const time_point start{1000h + 1us};
  std::mt19937_64 random{1};
  std::vector<timer> timers(5000);
  timer_wheel wheel(start);
  for (timer& t : timers) wheel.arm(t, t.due = after(start, random() >> (2 + random() % 40)));
  time_point latest = start;
  std::size_t disordered = 0;
  CHECK(wheel.expire(last, [&](timer_node& n) {
    disordered += of(n).due + tick <= latest;
    latest = (std::max)(latest, of(n).due);
  }) == timers.size());
  CHECK(disordered == 0);
}

TEST_CASE("timer_wheel: a timer may arm itself again as it fires", "[timer]") {
  const time_point start{1000h};
  timer_wheel wheel(start);
  timer t;
  wheel.arm(t, start + 1ms);
  for (time_point now = start + 2ms; now < start + 1s; now += 2ms) {
    REQUIRE(wheel.expire(now, [&](timer_node& n) {
      CHECK(!n.armed());
      wheel.arm(n, now + 1ms);
    }) == 1);
    REQUIRE(t.armed());
  }
}

TEST_CASE("timer_wheel: a timer that is always late fires once per round", "[timer]") {
  const time_point start{1000h};
  timer_wheel wheel(start);
  timer t;
  wheel.arm(t, start + 1ms);
  for (const time_point now : {start + 100h, start + 100h, start + 20000h}) {
    CHECK(wheel.expire(now, [&](timer_node& n) { wheel.arm(n, start); }) == 1);
    CHECK(t.armed());
    CHECK(wheel.next() <= now);
  }
}

TEST_CASE("timer_wheel: a timer may disarm and move others that are due too", "[timer]") {
  const time_point start{1000h};
  for (const duration apart : {0ns, 1ns, 1000000ns, 3600000000000ns}) {
    timer_wheel wheel(start);
    std::vector<timer> timers(9);
    time_point due = start;
    for (timer& t : timers) wheel.arm(t, due += apart);
    const time_point now = due + tick, later = now + 1h;
    // The first timer disarms a third of the others, and postpones another third.
    CHECK(wheel.expire(now, [&](timer_node& n) {
      CHECK(!n.armed());
      if (++of(n).fired; &n != &timers[0]) return;
      for (std::size_t i : {1u, 4u, 7u}) wheel.disarm(timers[i]);
      for (std::size_t i : {2u, 5u, 8u}) wheel.arm(timers[i], later);
    }) == 3);
    for (std::size_t i = 0; i != 9; ++i) {
      CHECK(timers[i].fired == (i % 3 == 0));
      CHECK(timers[i].armed() == (i % 3 == 2));
    }
    CHECK(wheel.expire(later - 1ns, count) == 0);
    CHECK(wheel.expire(later + tick, count) == 3);
    CHECK(wheel.empty());
  }
}

TEST_CASE("timer_wheel: a timer may destroy itself and others as it fires", "[timer]") {
  const time_point start{1000h};
  timer_wheel wheel(start);
  std::vector<std::unique_ptr<timer>> timers;
  for (int i = 0; i != 6; ++i)
    wheel.arm(*timers.emplace_back(std::make_unique<timer>()), start + 1s);
  const auto destroy = [&](timer_node& n) {
    wheel.disarm(n);
    timers.erase(
        std::find_if(timers.begin(), timers.end(), [&](auto& t) { return t.get() == &n; }));
  };
  CHECK(wheel.expire(start + 2s, [&](timer_node& n) {
    destroy(n);
    destroy(*timers.back());
  }) == 3);
  CHECK(timers.empty());
  CHECK(wheel.empty());
}

TEST_CASE("timer_wheel: if a timer throws, the others are still due", "[timer]") {
  const time_point start{1000h};
  timer_wheel wheel(start);
  std::vector<timer> timers(3);
  for (timer& t : timers) wheel.arm(t, start + 1s);
  const auto complain = [](timer_node&) { throw std::runtime_error("late"); };
  CHECK_THROWS_AS(wheel.expire(start + 2s, complain), std::runtime_error);
  CHECK(std::count_if(timers.begin(), timers.end(), [](timer& t) { return t.armed(); }) == 2);
  CHECK(!wheel.empty());
  CHECK(wheel.next() <= start + 2s);
  CHECK(wheel.expire(start + 2s, count) == 2);
  CHECK(wheel.next() == last);
}

TEST_CASE("timer_wheel: sleeping until next() makes progress and misses nothing", "[timer]") {
  std::mt19937_64 random{2};
  for (int round = 0; round != 1000; ++round) {
    const time_point start = after(first, random() >> 1);
    const auto span = 2 + random() % 60; // from nanoseconds to a century and a half
    std::vector<timer> timers(1 + random() % 20);
    timer_wheel wheel(start);
    for (timer& t : timers) wheel.arm(t, t.due = after(start, 1 + (random() >> span)));
    std::size_t wakes = 0, fired = 0, wrong = 0;
    for (time_point now = start; !wheel.empty();) {
      REQUIRE(wheel.next() > now);
      REQUIRE(++wakes <= 8 * timers.size()); // a timer moves at most seven times, and fires
      now = wheel.next();
      fired += wheel.expire(
          now, [&](timer_node& n) { wrong += of(n).due > now || of(n).due + tick <= now; });
    }
    CHECK(fired == timers.size());
    CHECK(wrong == 0);
  }
}

namespace {

// A wheel and a model of it.
struct soak {
  explicit soak(std::uint64_t seed, std::size_t size)
      : random(seed), now(after(first, random())), wheel(now), timers(size) {}

  void arm(timer& t, time_point due) {
    forget(t);
    wheel.arm(t, due);
    t.due = due;
    t.in_round = expiring;
    model.emplace(due, &t);
  }
  void disarm(timer& t) {
    wheel.disarm(t);
    forget(t);
  }
  void forget(timer& t) {
    const auto [begin, end] = model.equal_range(t.due);
    const auto at = std::find_if(begin, end, [&](auto& entry) { return entry.second == &t; });
    if (at != end) model.erase(at);
  }
  bool known(timer& t) {
    const auto [begin, end] = model.equal_range(t.due);
    return std::any_of(begin, end, [&](auto& entry) { return entry.second == &t; });
  }
  std::uint64_t some_time() { return random() >> (1 + random() % 63); }
  timer& any() { return timers[random() % timers.size()]; }

  void arm_or_disarm() {
    timer& t = any();
    const auto kind = random() % 16;
    if (kind < 4)
      disarm(t);
    else if (kind == 4)
      arm(t, last);
    else if (kind == 5)
      arm(t, first);
    else if (kind == 6)
      arm(t, now);
    else
      arm(t, after(now, some_time() >> pace));
  }

  void expire() {
    now = after(now, some_time() >> pace);
    for (auto& [due, t] : model) t->in_round = false;
    expiring = true;
    wheel.expire(now, [&](timer_node& n) {
      timer& t = of(n);
      wrong += !known(t) || t.due > now || t.in_round || n.armed();
      forget(t);
      for (auto left = random() % 3; left != 0; --left) arm_or_disarm();
    });
    expiring = false;
    // The remaining timers are not due, or were armed in this round.
    for (auto& [due, t] : model) {
      if (due > now - tick) break;
      wrong += !t->in_round;
    }
  }

  void compare() {
    wrong += wheel.empty() != model.empty();
    if (model.empty())
      wrong += wheel.next() != last;
    else
      wrong += wheel.next() > after((std::max)(now, model.begin()->first), tick.count());
    for (int i = 0; i != 4; ++i) {
      timer& t = any();
      wrong += t.armed() != known(t);
    }
  }

  std::mt19937_64 random;
  time_point now;
  timer_wheel wheel;
  std::vector<timer> timers;
  std::multimap<time_point, timer*> model;
  std::uint64_t pace = 0; // how many bits shorter than the clock's range the times are
  std::size_t wrong = 0;
  bool expiring = false;
};

} // namespace

TEST_CASE("timer_wheel: behaves like a sorted list of timers", "[timer]") {
  for (std::uint64_t seed = 0; seed != 50; ++seed) {
    INFO("seed " << seed);
    soak s(seed, 1 + seed * 7 % 300);
    for (int step = 0; step != 1000 && s.now < last - 24h; ++step) {
      if (step % 50 == 0) s.pace = s.random() % 40;
      for (auto left = s.random() % 16; left != 0; --left) s.arm_or_disarm();
      s.expire();
      s.compare();
      REQUIRE(s.wrong == 0);
    }
  }
}

TEST_CASE("timer_wheel: a million timers fire", "[timer]") {
  const time_point start{1000h + 1us};
  std::mt19937_64 random{3};
  std::vector<timer> timers(1000000);
  timer_wheel wheel(start);
  for (timer& t : timers) wheel.arm(t, t.due = after(start, random() % 60000000000));
  for (std::size_t i = 0; i < timers.size(); i += 4) wheel.disarm(timers[i]);
  for (std::size_t i = 1; i < timers.size(); i += 4) wheel.arm(timers[i], timers[i].due += 30s);
  std::size_t fired = 0, wrong = 0;
  for (time_point now = start; !wheel.empty();) {
    const time_point next = wheel.next();
    wrong += next < now;
    now = next;
    fired += wheel.expire(now, [&](timer_node& n) {
      wrong += of(n).due > now || of(n).due + tick <= now || ++of(n).fired != 1;
    });
  }
  CHECK(fired == 750000);
  CHECK(wrong == 0);
  for (std::size_t i = 0; i != timers.size(); ++i) wrong += timers[i].fired != (i % 4 != 0);
  CHECK(wrong == 0);
}

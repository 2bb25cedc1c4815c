#include <rouse/rouse.hpp>

#include <catch2/catch.hpp>

#include <chrono>
#include <limits>
#include <stop_token>
#include <type_traits>

using rouse::deadline;
using rouse::limit;
using namespace std::chrono_literals;

TEST_CASE("deadline: a default-constructed one is never", "[unit][limit]") {
  CHECK(deadline().never());
  CHECK(deadline().when() == (rouse::clock::time_point::max)());
}

TEST_CASE("deadline: a point in time is kept unchanged", "[unit][limit]") {
  const auto when = rouse::clock::now() + 5s;
  CHECK(deadline(when).when() == when);
  CHECK(!deadline(when).never());
}

TEST_CASE("deadline: a duration counts from now", "[unit][limit]") {
  const auto before = rouse::clock::now();
  const deadline d = 1h;
  const auto after = rouse::clock::now();
  CHECK(d.when() >= before + 1h);
  CHECK(d.when() <= after + 1h);
}

TEST_CASE("deadline: a duration may be of any unit and type", "[unit][limit]") {
  const auto before = rouse::clock::now();
  CHECK(deadline(std::chrono::duration<double, std::ratio<60>>(1.5)).when() >= before + 90s);
  CHECK(deadline(std::chrono::days(2)).when() >= before + 48h);
}

TEST_CASE("deadline: a negative duration of any size has passed already", "[unit][limit]") {
  for (const auto d : {-1ns, -1000000ns, (std::chrono::nanoseconds::min)()}) {
    const deadline due = d;
    CHECK(due.when() <= rouse::clock::now());
    CHECK(due.when() > rouse::clock::time_point{}); // it has not wrapped around
  }
  const deadline longest_ago = (std::chrono::hours::min)();
  CHECK(longest_ago.when() <= rouse::clock::now());
}

TEST_CASE("deadline: a duration beyond the clock's range is never", "[unit][limit]") {
  CHECK(deadline((std::chrono::nanoseconds::max)()).never());
  CHECK(deadline((std::chrono::hours::max)()).never());
  CHECK(deadline(std::chrono::years(1000)).never());
  CHECK(deadline(std::chrono::duration<double>(1e300)).never());
  CHECK(deadline(std::chrono::duration<double>(std::numeric_limits<double>::infinity())).never());
}

TEST_CASE("deadline: a duration just beyond the clock's range is never", "[unit][limit]") {
  CHECK(deadline((std::chrono::nanoseconds::max)() - 1ns).never());
  const auto left = (rouse::clock::time_point::max)() - rouse::clock::now();
  CHECK(deadline(left).never()); // counted from a later time
  CHECK(!deadline(left - 1h).never());
}

TEST_CASE("deadline: a duration that is not a number has passed already", "[unit][limit]") {
  using real = std::chrono::duration<double>;
  const deadline none = real(std::numeric_limits<double>::quiet_NaN());
  CHECK(none.when() <= rouse::clock::now());
  const deadline longest_ago = real(-std::numeric_limits<double>::infinity());
  CHECK(longest_ago.when() <= rouse::clock::now());
}

TEST_CASE("deadline: a duration is never shortened by its unit", "[unit][limit]") {
  const auto check = [](auto d) {
    const auto before = rouse::clock::now();
    const std::chrono::duration<double> wanted = d, got = deadline(d).when() - before;
    CHECK(got >= wanted);
    CHECK(got < wanted + 10s);
  };
  check(std::chrono::duration<int, std::ratio<1, 60>>(1)); // not a whole number of nanoseconds
  check(std::chrono::duration<long long, std::ratio<1, 60>>(60LL * 3600 * 24 * 365 * 200));
  check(std::chrono::duration<int, std::pico>(1));
  check(std::chrono::duration<float>(0.1F));
  check(std::chrono::duration<unsigned char, std::ratio<3600>>(255));
}

TEST_CASE("deadline: a point in time may be in any unit", "[unit][limit]") {
  using namespace std::chrono;
  using in_seconds = time_point<rouse::clock, seconds>;
  using in_real_seconds = time_point<rouse::clock, duration<double>>;
  CHECK(deadline(in_seconds(5s)).when() == rouse::clock::time_point(5s));
  CHECK(deadline(in_real_seconds(duration<double>(0.5))).when() == rouse::clock::time_point(500ms));
  CHECK(deadline((in_seconds::max)()).never());
  CHECK(deadline((in_seconds::min)()).when() == (rouse::clock::time_point::min)());
  CHECK(limit(in_seconds(5s)).when() == deadline(rouse::clock::time_point(5s)));
}

TEST_CASE("deadline: a century is within the range", "[unit][limit]") {
  CHECK(!deadline(std::chrono::years(100)).never());
}

TEST_CASE("deadline: an earlier one is less, and never is the greatest", "[unit][limit]") {
  CHECK(deadline(rouse::clock::time_point(1s)) < deadline(rouse::clock::time_point(2s)));
  CHECK(deadline(rouse::clock::time_point(2s)) < deadline());
  CHECK(deadline(rouse::clock::time_point(1s)) == deadline(rouse::clock::time_point(1s)));
}

TEST_CASE("limit: a default-constructed one is no limit", "[unit][limit]") {
  CHECK(limit().when().never());
  CHECK(!limit().token().stop_possible());
}

TEST_CASE("limit: is made from a duration, a point in time or a deadline", "[unit][limit]") {
  const auto when = rouse::clock::now() + 1h;
  CHECK(limit(when).when() == deadline(when));
  CHECK(limit(deadline(when)).when() == deadline(when));
  CHECK(limit(2h).when() > deadline(when));
}

TEST_CASE("limit: a token alone sets no deadline", "[unit][limit]") {
  std::stop_source source;
  const limit l = source.get_token();
  CHECK(l.when().never());
  CHECK(l.token() == source.get_token());
}

TEST_CASE("limit: takes a time and a token in braces", "[unit][limit]") {
  std::stop_source source;
  const limit l = {1h, source.get_token()};
  CHECK(!l.when().never());
  CHECK(l.token() == source.get_token());
}

TEST_CASE("limit: is not made from a plain number", "[unit][limit]") {
  STATIC_REQUIRE(!std::is_convertible_v<int, limit>);
  STATIC_REQUIRE(!std::is_convertible_v<double, deadline>);
}

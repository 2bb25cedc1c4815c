#include <rouse/rouse.hpp>

#include <catch2/catch.hpp>

#include <memory>
#include <vector>

namespace {

struct item : rouse::detail::list_node {
  explicit item(int n) : number(n) {}
  int number;
};
using items = rouse::detail::list<item>;

std::vector<int> numbers_of(items& l) {
  std::vector<int> numbers;
  l.for_each([&](item& i) { numbers.push_back(i.number); });
  return numbers;
}

} // namespace

TEST_CASE("list: a new list is empty", "[unit][list]") {
  items l;
  CHECK(l.empty());
  CHECK(numbers_of(l).empty());
}

TEST_CASE("list: keeps the order of insertion", "[unit][list]") {
  items l;
  item a(1), b(2), c(3);
  for (item* i : {&a, &b, &c}) l.push_back(*i);
  CHECK(numbers_of(l) == std::vector{1, 2, 3});
  CHECK(&l.front() == &a);
}

TEST_CASE("list: pop_front returns the oldest element and unlinks it", "[unit][list]") {
  items l;
  item a(1), b(2);
  l.push_back(a);
  l.push_back(b);
  CHECK(&l.pop_front() == &a);
  CHECK(!a.linked());
  CHECK(&l.pop_front() == &b);
  CHECK(l.empty());
}

TEST_CASE("list: an element can be unlinked from the front, the middle and the end",
          "[unit][list]") {
  items l;
  item a(1), b(2), c(3), d(4), e(5);
  for (item* i : {&a, &b, &c, &d, &e}) l.push_back(*i);
  c.unlink();
  CHECK(numbers_of(l) == std::vector{1, 2, 4, 5});
  a.unlink();
  CHECK(numbers_of(l) == std::vector{2, 4, 5});
  e.unlink();
  CHECK(numbers_of(l) == std::vector{2, 4});
}

TEST_CASE("list: unlinking the only element leaves an empty list", "[unit][list]") {
  items l;
  item a(1);
  l.push_back(a);
  CHECK(a.linked());
  a.unlink();
  CHECK(l.empty());
}

TEST_CASE("list: unlinking an element twice is harmless", "[unit][list]") {
  items l;
  item a(1), b(2);
  l.push_back(a);
  l.push_back(b);
  a.unlink();
  a.unlink();
  CHECK(numbers_of(l) == std::vector{2});
}

TEST_CASE("list: an unlinked element may join this or another list", "[unit][list]") {
  items here, elsewhere;
  item a(1), b(2);
  here.push_back(a);
  here.push_back(b);
  a.unlink();
  here.push_back(a);
  CHECK(numbers_of(here) == std::vector{2, 1});
  elsewhere.push_back(here.pop_front());
  CHECK(numbers_of(here) == std::vector{1});
  CHECK(numbers_of(elsewhere) == std::vector{2});
}

TEST_CASE("list: for_each may unlink the element that it is given", "[unit][list]") {
  items l;
  item a(1), b(2), c(3), d(4);
  for (item* i : {&a, &b, &c, &d}) l.push_back(*i);
  std::vector<int> seen;
  l.for_each([&](item& i) {
    seen.push_back(i.number);
    if (i.number % 2 == 0) i.unlink();
  });
  CHECK(seen == std::vector{1, 2, 3, 4});
  CHECK(numbers_of(l) == std::vector{1, 3});
}

TEST_CASE("list: for_each may destroy the element that it is given", "[unit][list]") {
  items l;
  for (int n = 0; n != 3; ++n) l.push_back(*new item(n));
  std::vector<int> seen;
  l.for_each([&](item& i) {
    const std::unique_ptr<item> doomed(&i);
    seen.push_back(i.number);
    i.unlink();
  });
  CHECK(seen == std::vector{0, 1, 2});
  CHECK(l.empty());
}

#include <rouse/rouse.hpp>

#include <catch2/catch.hpp>

#include <array>
#include <span>
#include <utility>
#include <vector>

namespace {

template <class Batch, class R>
void check_views(R& range) {
  const Batch b = range;
  CHECK(b.items().data() == std::data(range));
  CHECK(b.size() == std::size(range));
}

} // namespace

TEST_CASE("batch: views arrays, vectors and spans", "[unit][batch]") {
  rouse::incoming slots[3];
  std::array<rouse::incoming, 2> array;
  std::vector<rouse::incoming> vector(4);
  std::span<rouse::incoming> span(vector);
  check_views<rouse::incoming_batch>(slots);
  check_views<rouse::incoming_batch>(array);
  check_views<rouse::incoming_batch>(vector);
  check_views<rouse::incoming_batch>(span);
  CHECK(rouse::incoming_batch(span.first(1)).size() == 1);
}

TEST_CASE("batch: a batch to send may be const", "[unit][batch]") {
  const rouse::outgoing items[2] = {{"one"}, {"two"}};
  std::vector<rouse::outgoing> vector(4);
  check_views<rouse::outgoing_batch>(items);
  check_views<rouse::outgoing_batch>(vector);
  check_views<rouse::outgoing_batch>(std::as_const(vector));
}

TEST_CASE("batch: an item has its buffer only, until the call completes", "[unit][batch]") {
  std::array<char, 8> room;
  const rouse::incoming slot{room};
  CHECK(slot.buffer.data() == room.data());
  CHECK(slot.bytes == 0);
  CHECK(slot.segment == 0);
  CHECK(!slot.truncated);
  CHECK(slot.from == rouse::endpoint{});
  const rouse::outgoing item{"text"};
  CHECK(item.buffer.size() == 4);
  CHECK(item.to == rouse::endpoint{});
}

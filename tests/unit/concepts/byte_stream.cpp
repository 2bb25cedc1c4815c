// The concept byte_stream.
#include <support/testing.hpp>

namespace {

using namespace testing;

// The calls are found by name: a socket itself is a byte_stream without a look at its calls.
template <class S>
struct derived : rouse::socket<S> {
  using rouse::socket<S>::socket;
};

} // namespace

TEMPLATE_LIST_TEST_CASE("a socket has every call of a byte_stream", "[byte_stream]",
                        every_scheduler) {
  STATIC_REQUIRE(rouse::byte_stream<rouse::socket<TestType>>);
  STATIC_REQUIRE(rouse::byte_stream<derived<TestType>>);
}

TEST_CASE("what is no stream is no byte_stream", "[byte_stream]") {
  STATIC_REQUIRE_FALSE(rouse::byte_stream<int>);
  STATIC_REQUIRE_FALSE(rouse::byte_stream<rouse::fibers>);
  STATIC_REQUIRE_FALSE(rouse::byte_stream<const rouse::socket<rouse::fibers>>);
}

TEMPLATE_LIST_TEST_CASE("a socket names its scheduler until that is destroyed", "[byte_stream]",
                        every_scheduler) {
  rouse::socket<TestType> s;
  CHECK(s.scheduler() == nullptr);
  {
    TestType sched;
    s = rouse::socket<TestType>(sched);
    CHECK(s.scheduler() == &sched);
    s.close();
    CHECK(s.scheduler() == &sched);
    s = rouse::socket<TestType>(sched);
    const rouse::socket<TestType> other = std::move(s);
    CHECK(s.scheduler() == nullptr); // NOLINT: moved from, which is what is tested
    s = rouse::socket<TestType>(sched);
  }
  CHECK(s.scheduler() == nullptr);
}

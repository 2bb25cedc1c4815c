#include <rouse/rouse.hpp>

#include <catch2/catch.hpp>

using rouse::operation;

namespace {

void never_called(operation&) noexcept {}

struct record final : rouse::socket_state {};

} // namespace

TEST_CASE("operation: a new operation is idle, without limit, error or target",
          "[unit][operation]") {
  const operation op(&never_called);
  CHECK(op.state == rouse::operation_state::idle);
  CHECK(!op.linked());
  CHECK(!op.armed());
  CHECK(!op.limited);
  CHECK(!op.error);
  CHECK(!op.cancelled());
  CHECK(op.target == nullptr);
  CHECK(!op.more);
}

TEST_CASE("operation: the fields of request and result start as null", "[unit][operation]") {
  const operation op(&never_called);
  CHECK(op.data == nullptr);
  CHECK(op.size == 0);
  CHECK(op.bytes == 0);
}

TEST_CASE("socket_state: a new one is closed and idle", "[unit][operation]") {
  const record d;
  CHECK(!d.open());
  CHECK(!d.busy());
  CHECK(d.owner == nullptr);
  CHECK(d.default_timeout == (rouse::clock::duration::max)());
}

TEST_CASE("socket_state: is open while it has a handle, and 0 is a handle", "[unit][operation]") {
  record d;
  d.native = 0;
  CHECK(d.open());
  d.native = -1;
  CHECK(!d.open());
}

TEST_CASE("socket_state: is busy while an operation is pending in either direction",
          "[unit][operation]") {
  record d;
  operation in(&never_called), out(&never_called);
  d.inbound.push_back(in);
  d.outbound.push_back(out);
  in.unlink();
  CHECK(d.busy());
  out.unlink();
  CHECK(!d.busy());
  d.inbound.push_back(in);
  CHECK(d.busy());
  in.unlink();
}

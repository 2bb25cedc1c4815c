// os::uring::ring, on the kernel directly.
#include <support/testing.hpp>

#if ROUSE_LINUX
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <unistd.h>
#include <vector>

using namespace testing;
namespace uring = rouse::os::uring;

namespace {

/// Whether the kernel keeps completions for which the completion queue had no room.
bool overflowed(const uring::ring& ring) {
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(ring.get()));
  std::string line;
  while (std::getline(info, line) && line.find("CqOverflowList:") == std::string::npos) {
  }
  return std::getline(info, line) && line.find("user_data=") != std::string::npos;
}

} // namespace

TEST_CASE("ring: thousands of requests that become ready at once leave room in the queue",
          "[unit][io_uring]") {
  constexpr std::uint32_t requests = 10000;
  uring::ring ring;
  if (const auto why = ring.create(256, rouse::detail::setup_flags<false>)) {
    const char* promise = std::getenv("ROUSE_PROMISED_ENGINE");
    REQUIRE((!promise || std::string(promise) != "io_uring"));
    WARN("skipped: io_uring does not start here: " << why.code().message());
    return;
  }
  if (!(ring.flags() & uring::defer_taskrun)) {
    WARN("skipped: the kernel has no deferred task work");
    return;
  }
  ring.enable();
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  for (std::uint32_t i = 0; i != requests; ++i) {
    if (ring.full()) ring.submit();
    uring::submission& s = ring.next();
    s.fd = ends[0];
    s.user_data = i;
    rouse::detail::fill_poll(s, rouse::action::when_readable, false);
  }
  ring.submit();
  REQUIRE(ring.completed() == 0);
  REQUIRE(::write(ends[1], "x", 1) == 1);
  std::vector<int> seen(requests);
  std::uint32_t turns = 0;
  for (std::uint32_t total = 0; total != requests; ++turns) {
    ring.submit_and_wait(rouse::clock::now() + 10s);
    const std::uint32_t count = ring.fetch_rest();
    REQUIRE(count != 0);
    REQUIRE_FALSE(overflowed(ring));
    ring.drain([&](const uring::completion& c) { ++seen[static_cast<std::size_t>(c.user_data)]; });
    total += count;
  }
  CHECK(std::count(seen.begin(), seen.end(), 1) == requests);
  CHECK(turns < requests / 100); // each fetches many of the portions of 20
  ::close(ends[0]);
  ::close(ends[1]);
}
#endif

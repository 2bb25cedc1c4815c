// Calls that threads make themselves, outside of the loop. Where the engine has none, the same has
// to hold.
#include <support/testing.hpp>

#include <future>

#if ROUSE_LINUX
#include <sys/resource.h>
#include <unistd.h>
#endif

using namespace testing;

namespace {

using socket = rouse::socket<rouse::threads>;

// Both ends of a connection, and what a thread of the scheduler receives from it.
struct receiver {
  explicit receiver(rouse::threads& s) : sched(s) {
    std::tie(here, there) = rouse::socket_pair(sched);
  }

  // Starts to receive up to four bytes.
  void start() {
    got = testing::start(sched, [this](std::error_code& ec) { return here.recv(buf, 1h, ec); });
  }
  [[nodiscard]] std::string text() { return {buf.data(), got->wait().value}; }

  rouse::threads& sched;
  socket here, there;
  std::array<char, 4> buf{};
  std::optional<started<rouse::threads, std::size_t>> got;
};

std::vector<std::unique_ptr<receiver>> receivers(rouse::threads& sched, std::size_t count) {
  std::vector<std::unique_ptr<receiver>> all;
  for (std::size_t i = 0; i != count; ++i) {
    all.push_back(std::make_unique<receiver>(sched));
    all.back()->start();
  }
  until_pending(sched, count);
  return all;
}

// Waits for a thread that the loop knows nothing of.
template <class T>
T value_of(std::future<T>& f) {
  if (f.wait_for(patience) != std::future_status::ready) FAIL("a thread did not get on");
  return f.get();
}

} // namespace

TEST_CASE("direct calls: of many threads that wait, a cancel wakes the one that it is for",
          "[direct]") {
  constexpr std::size_t count = 150; // more than have an interrupt of their own
  rouse::threads sched;
  auto all = receivers(sched, count);
  for (std::size_t i = 0; i < count; i += 3) all[i]->here.cancel();
  for (std::size_t i = 1; i < count; i += 3) all[i]->here.close();
  for (std::size_t i = 0; i != count; ++i) {
    if (i % 3 == 2) CHECK(send(sched, all[i]->there, "some").value == 4);
    auto& got = all[i]->got->wait();
    if (i % 3 == 2)
      CHECK(all[i]->text() == "some");
    else
      CHECK(got.ec == std::errc::operation_canceled);
    CHECK(all[i]->got->times() == 1);
  }
}

TEST_CASE("direct calls: a posted function runs although each thread waits for a socket",
          "[direct]") {
  rouse::threads sched;
  std::vector<std::unique_ptr<receiver>> all;
  std::vector<std::future<std::size_t>> got;
  for (int i = 0; i != 3; ++i) all.push_back(std::make_unique<receiver>(sched));
  for (auto& r : all) {
    got.push_back(std::async(std::launch::async, [&r] { return r->here.recv(r->buf); }));
    until_pending(sched, got.size());
  }
  for (int round = 0; round != 50; ++round) {
    std::promise<std::thread::id> ran;
    auto where = ran.get_future();
    sched.post([&] { ran.set_value(std::this_thread::get_id()); });
    CHECK(value_of(where) != std::this_thread::get_id());
    // The thread that ran it may have ended its call since.
    auto& r = *all[static_cast<std::size_t>(round) % all.size()];
    if (round % 5 == 0) {
      CHECK(r.there.send_all("more") == 4);
      auto& of = got[static_cast<std::size_t>(round) % all.size()];
      CHECK(value_of(of) == 4);
      of = std::async(std::launch::async, [&r] { return r.here.recv(r.buf); });
    }
  }
  for (auto& r : all) r->there.close();
  for (auto& g : got) CHECK(value_of(g) == 0);
}

TEST_CASE("direct calls: on one socket, calls in one direction take effect in order",
          "[direct][T09]") {
  rouse::threads sched;
  receiver first(sched);
  std::array<std::array<char, 4>, 3> bufs;
  std::vector<started<rouse::threads, std::size_t>> calls;
  for (auto& buf : bufs) {
    calls.push_back(start(sched, [&](std::error_code& ec) { return first.here.recv(buf, ec); }));
    until_pending(sched, calls.size());
  }
  SECTION("and all get their bytes") {
    CHECK(send(sched, first.there, "aaaabbbbcccc").value == 12);
    for (auto& c : calls) CHECK(c.wait().value == 4);
    CHECK(std::string(bufs[0].data(), 4) == "aaaa");
    CHECK(std::string(bufs[1].data(), 4) == "bbbb");
    CHECK(std::string(bufs[2].data(), 4) == "cccc");
  }
  SECTION("and a cancel ends them all") {
    first.here.cancel();
    for (auto& c : calls) CHECK(c.wait().ec == std::errc::operation_canceled);
    first.start();
    CHECK(send(sched, first.there, "more").value == 4);
    CHECK(first.text() == "more");
  }
  SECTION("and a close ends them all") {
    first.here.close();
    for (auto& c : calls) CHECK(c.wait().ec == std::errc::operation_canceled);
  }
}

TEST_CASE("direct calls: those behind one that is cancelled go on", "[direct]") {
  rouse::threads sched;
  receiver r(sched);
  std::array<char, 4> buf{};
  std::stop_source first, second;
  auto a =
      start(sched, [&](std::error_code& ec) { return r.here.recv(buf, first.get_token(), ec); });
  until_pending(sched, 1);
  std::array<char, 4> other{};
  auto b =
      start(sched, [&](std::error_code& ec) { return r.here.recv(other, second.get_token(), ec); });
  until_pending(sched, 2);
  r.start();
  until_pending(sched, 3);
  const bool first_ends_first = GENERATE(true, false);
  (first_ends_first ? first : second).request_stop();
  CHECK((first_ends_first ? a : b).wait().ec == std::errc::operation_canceled);
  (first_ends_first ? second : first).request_stop();
  CHECK((first_ends_first ? b : a).wait().ec == std::errc::operation_canceled);
  CHECK(send(sched, r.there, "last").value == 4);
  CHECK(r.text() == "last");
}

TEST_CASE("direct calls: a limit passes", "[direct][P09]") {
  rouse::threads sched;
  receiver r(sched);
  const bool of_socket = GENERATE(false, true);
  if (of_socket) r.here.timeout(20ms);
  const auto begun = std::chrono::steady_clock::now();
  auto got = await(sched, [&](std::error_code& ec) {
    return of_socket ? r.here.recv(r.buf, ec) : r.here.recv(r.buf, 20ms, ec);
  });
  CHECK(got.ec == std::errc::timed_out);
  CHECK(std::chrono::steady_clock::now() - begun >= 20ms);
  CHECK(send(sched, r.there, "more").value == 4);
  CHECK(await(sched, [&](std::error_code& ec) { return r.here.recv(r.buf, 0ms, ec); }).value == 4);
}

#if ROUSE_LINUX
TEST_CASE("direct calls: threads wait with a full descriptor table too", "[direct]") {
  rouse::threads sched;
  receiver a(sched), b(sched);
  rlimit was{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &was) == 0);
  const int lowest_free = ::dup(0);
  ::close(lowest_free);
  const rlimit none{static_cast<rlim_t>(lowest_free), was.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  a.start();
  b.start();
  until_pending(sched, 2);
  a.here.cancel();
  CHECK(a.got->wait().ec == std::errc::operation_canceled);
  CHECK(send(sched, b.there, "some").value == 4);
  CHECK(b.text() == "some");
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &was) == 0);
}
#endif

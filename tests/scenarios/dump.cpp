// dump(): what waits, in words.
#include <support/testing.hpp>

#include <algorithm>
#include <cstdio>

using namespace testing;

namespace {

template <class S>
std::vector<std::string> dumped(S& sched) {
  std::vector<std::string> lines;
  sched.dump([&](std::string_view line) { lines.emplace_back(line); });
  return lines;
}

// How many of the lines have all the words.
std::size_t count(const std::vector<std::string>& lines, std::initializer_list<std::string> words) {
  return static_cast<std::size_t>(std::count_if(lines.begin(), lines.end(), [&](const auto& line) {
    return std::all_of(words.begin(), words.end(),
                       [&](const auto& w) { return line.find(w) != std::string::npos; });
  }));
}

template <class S>
std::string number_of(const rouse::socket<S>& s) {
  return "socket " + std::to_string(static_cast<std::intptr_t>(s.native_handle()));
}

} // namespace

TEMPLATE_LIST_TEST_CASE("dump: says what each operation waits for, where, and for how long",
                        "[dump]", every_scheduler) {
  connected_pair<TestType> pair;
  std::array<char, 8> buf;
  auto accepting = start<rouse::socket<TestType>>(pair.sched, CALL(pair.listener.accept(how...)));
  auto receiving = start(pair.sched, CALL(pair.client.recv(buf, 1h, how...)));
  auto other = start(pair.sched, CALL(pair.server.recv(buf, how...)));
  until_pending(pair.sched, 3);
  auto lines = dumped(pair.sched);
  CHECK(lines.front() == "rouse: what waits, on " + pair.sched.engine_report() + "\n");
  const std::string at = to_string(pair.client.local_endpoint());
  const std::string peer = to_string(pair.server.local_endpoint());
  CHECK(count(lines, {"  accept on " + number_of(pair.listener), peer}) == 1);
  CHECK(count(lines, {"  recv on " + number_of(pair.client), at + ", with " + peer, " 3599"}) == 1);
  CHECK(count(lines, {"  recv on " + number_of(pair.server), peer + ", with " + at}) == 1);
  CHECK(count(lines, {" left"}) == 1);
  for (const std::string& line : lines) {
    INFO(line);
    CHECK(line.find('\n') == line.size() - 1);
  }
  pair.client.cancel();
  pair.server.cancel();
  pair.listener.cancel();
  (void)accepting.wait();
  (void)receiving.wait();
  (void)other.wait();
  CHECK(count(dumped(pair.sched), {" on socket "}) == 0);
}

TEMPLATE_LIST_TEST_CASE("dump: says what each flow waits for", "[dump]", every_flowing) {
  connected_pair<TestType> pair;
  std::array<char, 8> buf;
  auto receiving = start(pair.sched, CALL(pair.client.recv(buf, how...)));
  until_pending(pair.sched, 1);
  const std::string waits = ", waits for recv on " + number_of(pair.client);
  const std::string kind = TestType::waker_type::flow_name;
  CHECK(count(dumped(pair.sched), {"  " + kind + waits + "\n"}) == 1);
  pair.client.cancel();
  CHECK(receiving.wait().ec == std::errc::operation_canceled);
  run_until(pair.sched, [&] { return count(dumped(pair.sched), {"  " + kind}) == 0; });
}

TEMPLATE_LIST_TEST_CASE("dump: a flow that has not begun, one that was cancelled", "[dump]",
                        every_single) {
  TestType sched;
  auto flow = sched.spawn([] {
    if constexpr (awaits<TestType>) return []() -> rouse::task<> { co_return; }();
  });
  const std::string kind = TestType::waker_type::flow_name;
  CHECK(count(dumped(sched), {"  " + kind + ", not begun\n"}) == 1);
  CHECK(count(dumped(sched), {"  yield, about to be told\n"}) == 1);
  flow.cancel();
  CHECK(count(dumped(sched), {"  " + kind + ", not begun, cancelled\n"}) == 1);
  sched.run();
  CHECK(flow.ended());
  CHECK(count(dumped(sched), {"  " + kind + ", ended, cancelled\n"}) == 1);
}

TEST_CASE("dump: into a stdio stream", "[dump]") {
  rouse::fibers sched;
  std::FILE* const file = std::tmpfile();
  REQUIRE(file);
  sched.dump(file);
  std::rewind(file);
  std::array<char, 200> line{};
  CHECK(std::fgets(line.data(), static_cast<int>(line.size()), file));
  CHECK(std::string(line.data()) == "rouse: what waits, on " + sched.engine_report() + "\n");
  std::fclose(file);
}

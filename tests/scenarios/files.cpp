// Sending files.
#include <support/scratch_file.hpp>
#include <support/testing.hpp>

using namespace testing;

namespace {

std::string pattern(std::size_t size) {
  std::string s(size, 0);
  for (std::size_t i = 0; i != size; ++i) s[i] = static_cast<char>('a' + i % 23 + i / 4099 % 3);
  return s;
}

} // namespace

TEMPLATE_LIST_TEST_CASE("send_file: sends a whole file, a part, nothing, or less if the file ends",
                        "[files]", every_scheduler) {
  connected_pair<TestType> pair;
  const scratch_file file("0123456789"), empty(""), one("x");
  const auto whole = file.get(), none = empty.get(), single = one.get();
  CHECK(await<std::uint64_t>(pair.sched, CALL(pair.client.send_file(whole, 0, 10, how...))).value ==
        10);
  CHECK(receive(pair.sched, pair.server, 10) == "0123456789");
  CHECK(await<std::uint64_t>(pair.sched, CALL(pair.client.send_file(whole, 3, 4, how...))).value ==
        4);
  CHECK(receive(pair.sched, pair.server, 4) == "3456");
  CHECK(await<std::uint64_t>(pair.sched, CALL(pair.client.send_file(single, 0, 1, how...))).value ==
        1);
  CHECK(receive(pair.sched, pair.server, 1) == "x");
  const auto shorter =
      await<std::uint64_t>(pair.sched, CALL(pair.client.send_file(whole, 8, 100, how...)));
  CHECK(!shorter.ec);
  CHECK(shorter.value == 2);
  CHECK(receive(pair.sched, pair.server, 2) == "89");
  for (const std::uint64_t length : {0u, 5u}) {
    const auto got =
        await<std::uint64_t>(pair.sched, CALL(pair.client.send_file(none, 0, length, how...)));
    CHECK(!got.ec);
    CHECK(got.value == 0);
  }
  send(pair.sched, pair.client, "after");
  CHECK(receive(pair.sched, pair.server, 5) == "after");
}

TEMPLATE_LIST_TEST_CASE(
    "send_file: sends more than the kernel's buffers hold, in order with other sends", "[files]",
    every_single) {
  connected_pair<TestType> pair;
  const std::string content = pattern(std::size_t{6} << 20);
  const scratch_file file(content);
  const auto f = file.get();
  std::string got(content.size() + 9, 0);
  auto receiving = start(pair.sched, CALL(pair.server.recv_exactly(got, how...)));
  send(pair.sched, pair.client, "head");
  const auto sent = await<std::uint64_t>(
      pair.sched, CALL(pair.client.send_file(f, 0, content.size() + 1, how...)));
  CHECK(!sent.ec);
  CHECK(sent.value == content.size());
  send(pair.sched, pair.client, "trail");
  CHECK(receiving.wait().value == got.size());
  CHECK((got == "head" + content + "trail"));
}

TEMPLATE_LIST_TEST_CASE("send_file: an error comes with the number of bytes sent", "[files]",
                        every_scheduler) {
  connected_pair<TestType> pair;
  const scratch_file file(pattern(std::size_t{16} << 20));
  const auto f = file.get();
  constexpr std::uint64_t size = std::uint64_t{16} << 20;
  const auto timed =
      await<std::uint64_t>(pair.sched, CALL(pair.client.send_file(f, 0, size, 50ms, how...)));
  CHECK(timed.ec == std::errc::timed_out);
  CHECK(timed.value < size);
  const std::string got = receive(pair.sched, pair.server, static_cast<std::size_t>(timed.value));
  CHECK(got.size() == timed.value); // exactly as many bytes as reported
  send(pair.sched, pair.client, "next");
  CHECK(receive(pair.sched, pair.server, 4) == "next");

  pair.server.set_option(rouse::linger{true, 0s});
  pair.server.close();
  std::error_code ec;
  while (!ec) // without SIGPIPE
    ec = await<std::uint64_t>(pair.sched, CALL(pair.client.send_file(f, 0, 100, how...))).ec;
  CHECK((ec == std::errc::connection_reset || ec == std::errc::broken_pipe));
  CHECK(await<std::uint64_t>(pair.sched, CALL(pair.client.send_file(f, 0, 100, how...))).ec);
  pair.client.close();
  CHECK(await<std::uint64_t>(pair.sched, CALL(pair.client.send_file(f, 0, 100, how...))).ec ==
        std::errc::bad_file_descriptor);
}

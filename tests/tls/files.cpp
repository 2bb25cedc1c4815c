// Sending files over TLS.
#include <support/scratch_file.hpp>
#include <tls/support/tls_testing.hpp>

#include <string>

using namespace testing;

TEMPLATE_LIST_TEST_CASE("tls, files: a whole file, a part, nothing, or less if the file ends",
                        "[tls][files][K20]", every_scheduler) {
  tls_pair<TestType> pair;
  const scratch_file file("0123456789");
  const auto send = [&](std::uint64_t offset, std::uint64_t length) {
    return await<std::uint64_t>(
        pair.sched, CALL(pair.client.send_file(file.get(), offset, length, 30s, how...)));
  };
  CHECK(send(0, 10).value == 10);
  CHECK(receive(pair.sched, pair.server, 10) == "0123456789");
  CHECK(send(3, 4).value == 4);
  CHECK(receive(pair.sched, pair.server, 4) == "3456");
  const auto shorter = send(8, 100);
  CHECK(!shorter.ec);
  CHECK(shorter.value == 2);
  CHECK(receive(pair.sched, pair.server, 2) == "89");
  for (const auto& [offset, length] : {std::pair(0, 0), std::pair(10, 5)}) {
    const auto got = send(static_cast<std::uint64_t>(offset), static_cast<std::uint64_t>(length));
    CHECK(!got.ec);
    CHECK(got.value == 0);
  }
  pair.client.close();
  CHECK(send(0, 10).ec == std::errc::bad_file_descriptor);
  CHECK(send(0, 0).ec == std::errc::bad_file_descriptor);
}

TEMPLATE_LIST_TEST_CASE("tls, files: a large file arrives whole, after what was sent before it",
                        "[tls][files][K20]", every_scheduler) {
  tls_pair<TestType> pair;
  std::string content(3000001, '\0');
  for (std::size_t i = 0; i != content.size(); ++i)
    content[i] = static_cast<char>('a' + i % 23 + i / 4099 % 3);
  const scratch_file file(content);
  testing::send(pair.sched, pair.client, "head");
  auto sending = start<std::uint64_t>(
      pair.sched, CALL(pair.client.send_file(file.get(), 0, content.size(), 30s, how...)));
  CHECK(receive(pair.sched, pair.server, 4) == "head");
  CHECK(receive(pair.sched, pair.server, content.size()) == content);
  CHECK(sending.wait().value == content.size());
}

TEMPLATE_LIST_TEST_CASE(
    "tls, files: a file that cannot be read is an error, and the stream goes on",
    "[tls][files][K20]", every_scheduler) {
  tls_pair<TestType> pair;
  const rouse::native_file_type none = rouse::native_file_type(-1);
  const auto got =
      await<std::uint64_t>(pair.sched, CALL(pair.client.send_file(none, 0, 10, 30s, how...)));
  CHECK(got.ec);
  CHECK(got.value == 0);
  send(pair.sched, pair.client, "on");
  CHECK(receive(pair.sched, pair.server, 2) == "on");
}

// Descriptors that arrive beside other control messages: none is lost, and none leaks.
#include <support/open_descriptors.hpp>
#include <support/testing.hpp>

#if ROUSE_LINUX
#include <sys/resource.h>
#include <unistd.h>

using namespace testing;

namespace {

/// Unix-domain sockets, of which the second requests every control message of the kernel.
template <class S>
struct talkative_pair {
  S sched;
  rouse::socket<S> a, b;
  std::array<char, 16> buf{};

  explicit talkative_pair(int type) {
    constexpr int pass_pid_descriptor = 76; // SO_PASSPIDFD, Linux 6.5
    constexpr int timestamping_all = 0x3fff;
    std::tie(a, b) = rouse::socket_pair(sched, type);
    std::error_code older_kernel;
    b.set_option(SOL_SOCKET, pass_pid_descriptor, 1, older_kernel);
    b.set_option(SOL_SOCKET, SO_PASSCRED, 1);
    b.set_option(SOL_SOCKET, SO_PASSSEC, 1, older_kernel);
    b.set_option(SOL_SOCKET, SO_TIMESTAMPNS, 1);
    b.set_option(SOL_SOCKET, SO_TIMESTAMPING, timestamping_all, older_kernel);
  }
  void pass(std::span<const int> handles) {
    CHECK(!await(sched, CALL(a.send_descriptors("text", handles, how...))).ec);
  }
  outcome<rouse::delivery> receive() {
    return await<rouse::delivery>(sched, CALL(b.recv_descriptors(buf, 10s, how...)));
  }
};

} // namespace

TEMPLATE_LIST_TEST_CASE("descriptors: none is lost or leaks beside other control messages",
                        "[descriptors][P02]", every_scheduler) {
  const int type = GENERATE(SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET);
  const no_leak checked;
  talkative_pair<TestType> pair(type);
  pair.pass({});
  CHECK(pair.receive().value.bytes == 4); // now the scheduler has the descriptors that it needs
  const auto before = open_descriptors();
  for (const std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{253}}) {
    const std::vector<int> handles(n, pair.a.native_handle());
    pair.pass(handles);
    const auto got = pair.receive();
    CHECK(!got.ec);
    CHECK(got.value.bytes == 4);
    CHECK(got.value.descriptors.size() == n);
    CHECK(open_descriptors() == before + static_cast<std::ptrdiff_t>(n));
  }
  CHECK(open_descriptors() == before);
}

TEMPLATE_LIST_TEST_CASE("descriptors: other receiving calls leak none, with any control message",
                        "[descriptors][P02]", every_single) {
  const int type = GENERATE(SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET);
  const no_leak checked;
  talkative_pair<TestType> pair(type);
  auto& sched = pair.sched;
  auto& b = pair.b;
  const no_leak but_for_the_pair;
  const std::array handles{pair.a.native_handle()};
  std::array list{rouse::mutable_buffer(pair.buf)};
  std::error_code ec;
  for (int i = 0; i != 4; ++i) pair.pass(handles);
  CHECK(await(sched, CALL(b.recv(pair.buf, 10s, how...))).value == 4);
  CHECK(await(sched, CALL(b.recv(list, 10s, how...))).value == 4);
  CHECK(await<rouse::datagram>(sched, CALL(b.recv_from(pair.buf, 10s, how...))).value.bytes == 4);
  CHECK(await<rouse::loan>(sched, CALL(b.receive(10s, how...))).value.size() == 4);
  if (type == SOCK_DGRAM) {
    pair.pass(handles);
    std::array slots{rouse::incoming{pair.buf}};
    CHECK(await(sched, CALL(b.recv_batch(slots, 10s, how...))).value == 1);
  }
}

TEMPLATE_LIST_TEST_CASE(
    "descriptors: none leaks if there are too many beside other control messages",
    "[descriptors][P02]", every_single) {
  const no_leak checked;
  talkative_pair<TestType> pair(SOCK_STREAM);
  const std::vector<int> handles(10, pair.a.native_handle());
  pair.pass(handles);
  rlimit old{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &old) == 0);
  const int next = ::dup(pair.a.native_handle()); // no lower one is free
  ::close(next);
  const rlimit less{static_cast<rlim_t>(next + 4), old.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &less) == 0);
  const auto got = pair.receive();
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &old) == 0);
  CHECK(got.ec == std::errc::too_many_files_open);
  CHECK(got.value.descriptors.size() < 10);
}
#endif

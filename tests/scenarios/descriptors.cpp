// Passing descriptors over Unix-domain sockets. Linux.
#include <support/open_descriptors.hpp>
#include <support/testing.hpp>

#if ROUSE_LINUX
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>
#endif

using namespace testing;

TEMPLATE_LIST_TEST_CASE("descriptors: only Unix-domain sockets pass them", "[descriptors][P02]",
                        every_scheduler) {
  connected_pair<TestType> pair;
  std::array handles{pair.listener.native_handle()};
  std::array<char, 8> buf;
  CHECK(await(pair.sched, CALL(pair.client.send_descriptors("x", handles, how...))).ec ==
        std::errc::address_family_not_supported);
  CHECK(await<rouse::delivery>(pair.sched, CALL(pair.client.recv_descriptors(buf, how...))).ec ==
        std::errc::address_family_not_supported);
  rouse::socket<TestType> none;
  CHECK(await(pair.sched, CALL(none.send_descriptors("x", handles, how...))).ec ==
        std::errc::bad_file_descriptor);
  pair.client.close();
  CHECK(await(pair.sched, CALL(pair.client.send_descriptors("x", handles, how...))).ec ==
        std::errc::bad_file_descriptor);
}

#if ROUSE_LINUX
namespace {

template <class S>
struct passing_pair {
  S sched;
  rouse::socket<S> a, b;
  std::array<char, 64> buf{};

  explicit passing_pair(int type = SOCK_STREAM) {
    std::tie(a, b) = rouse::socket_pair(sched, type);
  }
  void pass(std::string_view text, std::span<const int> handles) {
    const auto sent = await(sched, CALL(a.send_descriptors(text, handles, how...)));
    CHECK(!sent.ec);
    CHECK(sent.value == text.size());
  }
  outcome<rouse::delivery> receive() {
    return await<rouse::delivery>(sched, CALL(b.recv_descriptors(buf, 5s, how...)));
  }
  std::string recv() {
    const auto got = await(sched, CALL(b.recv(buf, 5s, how...)));
    CHECK(!got.ec);
    return {buf.data(), got.value};
  }
};

} // namespace

TEMPLATE_LIST_TEST_CASE("descriptors: arrive with their bytes, and refer to the same open files",
                        "[descriptors][P02]", every_scheduler) {
  const no_leak checked;
  passing_pair<TestType> pair;
  auto& sched = pair.sched;
  for (const bool waits : {false, true}) {
    auto other = rouse::socket_pair(sched);
    std::array handles{other.first.native_handle(), other.second.native_handle()};
    auto waiting =
        start<rouse::delivery>(sched, CALL(pair.b.recv_descriptors(pair.buf, 5s, how...)));
    if (waits) until_pending(sched, 1);
    pair.pass("two", handles);
    auto& got = waiting.wait();
    CHECK(!got.ec);
    CHECK(got.value.bytes == 3);
    CHECK(std::string(pair.buf.data(), 3) == "two");
    REQUIRE(got.value.descriptors.size() == 2);
    CHECK(got.value.descriptors[0] != handles[0]);
    for (const int h : got.value.descriptors) CHECK((::fcntl(h, F_GETFD) & FD_CLOEXEC) != 0);
    other.first.close();
    other.second.close();
    auto first = rouse::socket<TestType>::adopt(sched, got.value.descriptors.take(0));
    auto second = rouse::socket<TestType>::adopt(sched, got.value.descriptors.take(1));
    CHECK(got.value.descriptors[0] == -1);
    send(sched, first, "through");
    CHECK(testing::receive(sched, second, 7) == "through");
  }
}

TEMPLATE_LIST_TEST_CASE("descriptors: those of a stream stay with their bytes",
                        "[descriptors][P02]", every_scheduler) {
  const no_leak checked;
  passing_pair<TestType> pair;
  auto& sched = pair.sched;
  std::array handles{pair.a.native_handle()};
  const auto mixed = [&] {
    send(sched, pair.a, "before");
    pair.pass("with", handles);
    pair.pass("again", handles);
    send(sched, pair.a, "after");
  };
  mixed();
  std::string text;
  std::size_t came = 0;
  while (text.size() != 20) {
    auto got = pair.receive();
    REQUIRE(!got.ec);
    text.append(pair.buf.data(), got.value.bytes);
    CHECK(got.value.descriptors.size() <= 1);
    came += got.value.descriptors.size();
  }
  CHECK(text == "beforewithagainafter");
  CHECK(came == 2);
  // A call that does not ask for descriptors gets all bytes, however often the kernel stops.
  mixed();
  for (text.clear(); text.size() != 20;) {
    const std::string more = pair.recv();
    REQUIRE(!more.empty());
    text += more;
  }
  CHECK(text == "beforewithagainafter");
  // No descriptors at all; and the end of the stream.
  pair.pass("none", {});
  CHECK(pair.receive().value.descriptors.empty());
  pair.a.close();
  const auto end = pair.receive();
  CHECK(!end.ec);
  CHECK(end.value.bytes == 0);
}

TEMPLATE_LIST_TEST_CASE("descriptors: more than one message can carry are refused",
                        "[descriptors][P02]", every_scheduler) {
  const no_leak checked;
  passing_pair<TestType> pair;
  auto& sched = pair.sched;
  std::vector<int> handles(253, pair.a.native_handle());
  pair.pass("many", handles);
  CHECK(pair.receive().value.descriptors.size() == 253);
  const auto refused = [&](std::string_view text) {
    return await(sched, CALL(pair.a.send_descriptors(text, handles, how...))).ec;
  };
  handles.push_back(handles[0]);
  CHECK(refused("x") == std::errc::invalid_argument);
  handles.resize(1);
  CHECK(refused("") == std::errc::invalid_argument);
  handles = {-1};
  CHECK(refused("x") == std::errc::bad_file_descriptor);
  CHECK(await<rouse::delivery>(sched, CALL(pair.b.recv_descriptors({pair.buf.data(), 0}, how...)))
            .ec == std::errc::invalid_argument);
  CHECK(await<rouse::delivery>(sched, CALL(pair.b.recv_descriptors(pair.buf, 1ms, how...))).ec ==
        std::errc::timed_out);
}

TEMPLATE_LIST_TEST_CASE("descriptors: arrive with datagrams, even with a truncated one",
                        "[descriptors][P02]", every_scheduler) {
  const no_leak checked;
  passing_pair<TestType> pair(SOCK_DGRAM);
  std::array handles{pair.a.native_handle()};
  pair.pass("one", handles);
  pair.pass("", handles);
  pair.pass(std::string(100, 'x'), handles);
  for (const std::size_t size : {std::size_t{3}, std::size_t{0}}) {
    const auto got = pair.receive();
    CHECK(!got.ec);
    CHECK(got.value.bytes == size);
    CHECK(got.value.descriptors.size() == 1);
  }
  const auto cut = pair.receive();
  CHECK(cut.ec == std::errc::message_size);
  CHECK(cut.value.bytes == 64);
  CHECK(cut.value.descriptors.size() == 1);
}

TEMPLATE_LIST_TEST_CASE("descriptors: more than the process may open are reported",
                        "[descriptors][P02]", every_scheduler) {
  const no_leak checked;
  passing_pair<TestType> pair;
  std::vector<int> handles(10, pair.a.native_handle());
  pair.pass("ten", handles);
  rlimit old{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &old) == 0);
  const int next = ::dup(pair.a.native_handle()); // no lower one is free
  ::close(next);
  const rlimit less{static_cast<rlim_t>(next + 4), old.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &less) == 0);
  const auto got = pair.receive();
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &old) == 0);
  CHECK(got.ec == std::errc::too_many_files_open);
  CHECK(got.value.bytes == 3);
  CHECK(got.value.descriptors.size() >= 1);
  CHECK(got.value.descriptors.size() < 10);
}

TEMPLATE_LIST_TEST_CASE("descriptors: an abandoned call leaks none", "[descriptors][P02][L01]",
                        every_scheduler) {
  const no_leak checked;
  for (const bool there : {false, true}) {
    passing_pair<TestType> pair;
    auto& sched = pair.sched;
    std::array handles{pair.a.native_handle()};
    auto waiting = start<rouse::delivery>(sched, CALL(pair.b.recv_descriptors(pair.buf, how...)));
    until_pending(sched, 1);
    // Sent through another engine, so that the message arrives but its call never completes.
    if (there) {
      rouse::callbacks other;
      auto sender = rouse::socket<rouse::callbacks>::adopt(other, ::dup(pair.a.native_handle()));
      CHECK(!await(other, CALL(sender.send_descriptors("x", handles, how...))).ec);
    }
  }
}

TEST_CASE("descriptors: a result that is never taken leaks none", "[descriptors][P02][L01]") {
  const no_leak checked;
  passing_pair<rouse::callbacks> pair;
  std::array handles{pair.a.native_handle(), pair.b.native_handle()};
  pair.pass("x", handles);
  rouse::socket_state record;
  record.native = pair.b.native_handle();
  record.family = AF_UNIX;
  record.type = SOCK_STREAM;
  rouse::operation op(nullptr);
  rouse::detail::recv_descriptors_call call{&record, pair.buf};
  const auto before = open_descriptors();
  REQUIRE(call.prepare(op));
  call.discard(op, pair.sched.engine()); // nothing has arrived
  REQUIRE(call.prepare(op));
  REQUIRE(rouse::os::try_recv_from(pair.b.native_handle(), op));
  CHECK(call.advance(op));
  CHECK(open_descriptors() == before + 2);
  call.discard(op, pair.sched.engine());
  CHECK(open_descriptors() == before);
}
#endif

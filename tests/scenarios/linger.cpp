// SO_LINGER: closing a socket does not block the loop.
#include <support/child_process.hpp>
#include <support/testing.hpp>

using namespace testing;

namespace {

/// A pair: its client has sent more than the kernel buffers hold, and lingers.
template <class S>
struct lingering_pair : connected_pair<S> {
  std::size_t sent = 0;

  lingering_pair() {
    const std::string block = large_block();
    const auto filled = await(this->sched, CALL(this->client.send_all(block, 20ms, how...)));
    CHECK(filled.ec == std::errc::timed_out);
    sent = filled.value;
    this->client.set_option(rouse::linger{true, 600s});
  }
  /// Receives all bytes that were sent, and then the end.
  void check_all_arrives() {
    std::vector<char> sink(sent + 1);
    const auto got = await(this->sched, CALL(this->server.recv_exactly(sink, patience, how...)));
    CHECK(!got.ec);
    CHECK(got.value == sent);
  }
};

} // namespace

// A close that lingers would take ten minutes.
TEMPLATE_LIST_TEST_CASE("linger: close does not wait, and the sent bytes arrive", "[linger][E05]",
                        every_scheduler) {
  lingering_pair<TestType> pair;
  pair.client.close();
  CHECK(!pair.client.is_open());
  pair.check_all_arrives();
}

TEMPLATE_LIST_TEST_CASE("linger: the destructor does not wait either", "[linger][E05]",
                        every_scheduler) {
  lingering_pair<TestType> pair;
  {
    const auto gone = std::move(pair.client);
  }
  pair.check_all_arrives();
}

TEMPLATE_LIST_TEST_CASE("linger: closing an accepted or adopted socket does not wait",
                        "[linger][E05]", every_single) {
  TestType sched;
  auto listener = listening(sched);
  listener.set_option(rouse::linger{true, 600s});
  rouse::socket client{sched};
  const auto to = listener.local_endpoint();
  CHECK(!await<rouse::done>(sched, CALL(client.connect(to, how...))).ec);
  auto accepted = await<rouse::socket<TestType>>(sched, CALL(listener.accept(how...)));
  REQUIRE(!accepted.ec);
  accepted.value.set_option(rouse::linger{true, 600s});
  const std::string block = large_block();
  CHECK(await(sched, CALL(accepted.value.send_all(block, 20ms, how...))).ec ==
        std::errc::timed_out);
#if ROUSE_LINUX
  auto adopted = rouse::socket<TestType>::adopt(sched, accepted.value.release());
  adopted.close();
#else
  accepted.value.close();
#endif
}

TEMPLATE_LIST_TEST_CASE("linger: a time of 0 still resets the connection", "[linger][E02]",
                        every_scheduler) {
  connected_pair<TestType> pair;
  std::array<char, 8> buf;
  auto receiving = start(pair.sched, CALL(pair.server.recv(buf, 10s, how...)));
  until_pending(pair.sched, 1);
  pair.client.set_option(rouse::linger{true, 0s});
  pair.client.close();
  CHECK(receiving.wait().ec == std::errc::connection_reset);
}

TEMPLATE_LIST_TEST_CASE("linger: a released handle keeps the option", "[linger]", every_single) {
  connected_pair<TestType> pair;
  pair.client.set_option(rouse::linger{true, 7s});
  const auto h = pair.client.release();
  ::linger option{};
  std::size_t size = sizeof option;
  CHECK(!rouse::os::get_option(h, SOL_SOCKET, SO_LINGER, &option, size));
  CHECK(option.l_onoff != 0);
  CHECK(option.l_linger == 7);
  rouse::os::close_socket(h);
}

#if ROUSE_LINUX
TEMPLATE_LIST_TEST_CASE(
    "linger: a forked child that closes its copy leaves the option of the parent's", "[linger][O8]",
    every_single) {
  connected_pair<TestType> pair;
  pair.client.set_option(rouse::linger{true, 7s});
  std::array<char, 1> buf;
  CHECK(await(pair.sched, CALL(pair.client.recv(buf, 2ms, how...))).ec == std::errc::timed_out);
  child_process child([&] {
    pair.client.close();
    return 0;
  });
  CHECK(child.wait() == 0);
  CHECK(pair.client.template get_option<rouse::linger>().on());
  CHECK(send(pair.sched, pair.client, "a").value == 1);
}
#endif

// Calls that return only when they have completed take buffers that live until the end of the
// expression.
#include <support/testing.hpp>

using namespace testing;

namespace {

std::string text_of(std::size_t size) { return std::string(size, 'x'); }

} // namespace

TEMPLATE_LIST_TEST_CASE("temporaries: send_all of a temporary string that has to wait for room",
                        "[stream]", every_stacked) {
  connected_pair<TestType> p;
  const auto size = large_block().size();
  auto sent = start(p.sched, CALL(p.client.send_all(text_of(size), how...)));
  CHECK(receive(p.sched, p.server, size) == text_of(size));
  CHECK(sent.wait().value == size);
}

TEMPLATE_LIST_TEST_CASE("temporaries: every call that sends takes them, with or without a limit",
                        "[stream]", every_stacked) {
  connected_pair<TestType> p;
  const std::string body = "body";
  const auto parts = [&] {
    return std::vector{rouse::const_buffer("head"), rouse::const_buffer(body)};
  };
  CHECK(await(p.sched, CALL(p.client.send(text_of(1), how...))).value == 1);
  CHECK(await(p.sched, CALL(p.client.send(text_of(2), 5s, how...))).value == 2);
  CHECK(await(p.sched, CALL(p.client.send_all(parts(), how...))).value == 8);
  CHECK(await(p.sched, CALL(p.client.send_all(parts(), 5s, how...))).value == 8);
  CHECK(p.client.try_send(text_of(3)) == 3);
  CHECK(receive(p.sched, p.server, 22) == "xxxheadbodyheadbodyxxx");
}

TEMPLATE_LIST_TEST_CASE("temporaries: a call may receive into a temporary", "[stream]",
                        every_stacked) {
  connected_pair<TestType> p;
  REQUIRE(!send(p.sched, p.server, "123456").ec);
  CHECK(await(p.sched, CALL(p.client.recv_exactly(std::vector<char>(2), how...))).value == 2);
  CHECK(await(p.sched, CALL(p.client.recv(std::string(2, ' '), 5s, how...))).value == 2);
  CHECK(receive(p.sched, p.client, 2) == "56");
}

TEMPLATE_LIST_TEST_CASE("temporaries: datagrams may be sent from them, alone and in a batch",
                        "[datagram]", every_stacked) {
  TestType sched;
  rouse::socket receiver{sched, AF_INET, SOCK_DGRAM}, sender{sched, AF_INET, SOCK_DGRAM};
  receiver.bind({"127.0.0.1", 0});
  const auto to = receiver.local_endpoint();
  CHECK(await(sched, CALL(sender.send_to(text_of(3), to, how...))).value == 3);
  CHECK(
      await(sched, CALL(sender.send_batch(std::array{rouse::outgoing{"ab", to}}, how...))).value ==
      1);
  CHECK(recv_text(sched, receiver) == "xxx");
  CHECK(recv_text(sched, receiver) == "ab");
}

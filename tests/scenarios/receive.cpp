// receive(): bytes in a buffer that the engine lends.
#include <support/testing.hpp>

using namespace testing;

namespace {

template <class S>
outcome<rouse::loan> receive_loan(connected_pair<S>& pair) {
  return await<rouse::loan>(pair.sched, CALL(pair.server.receive(how...)));
}

} // namespace

TEMPLATE_LIST_TEST_CASE(
    "receive: returns the bytes that are there, and none at the end of the stream",
    "[stream][receive]", every_scheduler) {
  connected_pair<TestType> pair;
  send(pair.sched, pair.client, "abc");
  auto first = receive_loan(pair);
  CHECK(!first.ec);
  CHECK(first.value.text() == "abc");
  CHECK(first.value);
  auto waiting = start<rouse::loan>(pair.sched, CALL(pair.server.receive(how...)));
  until_pending(pair.sched, 1);
  CHECK(!waiting.finished());
  send(pair.sched, pair.client, "defg");
  CHECK(waiting.wait().value.text() == "defg");
  CHECK(first.value.text() == "abc"); // in a buffer of its own
  pair.client.close();
  const auto end = receive_loan(pair);
  CHECK(!end.ec);
  CHECK(!end.value);
  CHECK(end.value.data() == nullptr);
}

TEMPLATE_LIST_TEST_CASE("receive: a loan may be changed and sent", "[stream][receive]",
                        every_scheduler) {
  connected_pair<TestType> pair;
  send(pair.sched, pair.client, "ping");
  auto got = receive_loan(pair);
  REQUIRE(got.value.size() == 4);
  *got.value.begin() = std::byte{'P'};
  CHECK(await(pair.sched, CALL(pair.server.send_all(got.value, how...))).value == 4);
  CHECK(receive(pair.sched, pair.client, 4) == "Ping");
}

TEMPLATE_LIST_TEST_CASE("receive and recv of one socket complete in order", "[stream][receive]",
                        every_single) {
  connected_pair<TestType> pair;
  std::array<char, 2> two;
  auto first = start(pair.sched, CALL(pair.server.recv(two, how...)));
  until_pending(pair.sched, 1);
  auto second = start<rouse::loan>(pair.sched, CALL(pair.server.receive(how...)));
  until_pending(pair.sched, 2);
  send(pair.sched, pair.client, "abcdef");
  CHECK(first.wait().value == 2);
  CHECK(std::string(two.data(), 2) == "ab");
  CHECK(second.wait().value.text() == "cdef");
  send(pair.sched, pair.client, "gh");
  CHECK(receive(pair.sched, pair.server, 2) == "gh");
}

TEMPLATE_LIST_TEST_CASE("receive: a limit, a cancel and a close end it, and no byte is lost",
                        "[stream][receive]", every_scheduler) {
  connected_pair<TestType> pair;
  const auto timed = await<rouse::loan>(pair.sched, CALL(pair.server.receive(1ms, how...)));
  CHECK(timed.ec == std::errc::timed_out);
  CHECK(!timed.value);
  auto cancelled = start<rouse::loan>(pair.sched, CALL(pair.server.receive(how...)));
  until_pending(pair.sched, 1);
  pair.server.cancel();
  CHECK(cancelled.wait().ec == std::errc::operation_canceled);
  send(pair.sched, pair.client, "still here");
  const auto late = await<rouse::loan>(pair.sched, CALL(pair.server.receive(0s, how...)));
  // The kernel decides whether the bytes have arrived by now; they must not be lost.
  const std::string got =
      late.ec ? receive(pair.sched, pair.server, 10) : std::string(late.value.text());
  CHECK(got == "still here");
  auto closed = start<rouse::loan>(pair.sched, CALL(pair.server.receive(how...)));
  until_pending(pair.sched, 1);
  pair.server.close();
  CHECK(closed.wait().ec == std::errc::operation_canceled);
  CHECK(receive_loan(pair).ec == std::errc::bad_file_descriptor);
}

TEMPLATE_LIST_TEST_CASE("receive: reports a stopped token and an unconnected socket",
                        "[stream][receive]", every_scheduler) {
  connected_pair<TestType> pair;
  std::stop_source source;
  auto stopped =
      start<rouse::loan>(pair.sched, CALL(pair.server.receive(source.get_token(), how...)));
  until_pending(pair.sched, 1);
  source.request_stop();
  CHECK(stopped.wait().ec == std::errc::operation_canceled);
  rouse::socket lone{pair.sched};
  CHECK(await<rouse::loan>(pair.sched, CALL(lone.receive(how...))).ec == std::errc::not_connected);
}

TEMPLATE_LIST_TEST_CASE("receive: reports a reset", "[stream][receive]", every_scheduler) {
  connected_pair<TestType> pair;
  auto waiting = start<rouse::loan>(pair.sched, CALL(pair.server.receive(how...)));
  until_pending(pair.sched, 1);
  pair.client.set_option(rouse::linger{true, 0s});
  pair.client.close();
  CHECK(waiting.wait().ec == std::errc::connection_reset);
}

TEMPLATE_LIST_TEST_CASE(
    "receive: may lend many buffers, and gives more bytes than one holds piece by piece",
    "[stream][receive]", every_scheduler) {
  connected_pair<TestType> pair;
  std::vector<rouse::loan> loans;
  std::string all;
  for (int i = 0; i != 100; ++i) {
    const std::string text = std::to_string(i);
    all += text;
    send(pair.sched, pair.client, text);
    loans.push_back(std::move(receive_loan(pair).value));
  }
  std::string got;
  for (const auto& l : loans) got += l.text();
  CHECK(got == all);
  loans.clear();

  const std::string block(100'000, 'x');
  auto sending = start(pair.sched, CALL(pair.client.send_all(block, how...)));
  std::size_t received = 0, largest = 0;
  while (received != block.size()) {
    const auto part = receive_loan(pair);
    REQUIRE(part.value);
    received += part.value.size();
    largest = (std::max)(largest, part.value.size());
  }
  CHECK(sending.wait().value == block.size());
  CHECK(largest <= 65536);
}

TEMPLATE_LIST_TEST_CASE("receive: lends larger buffers once a stream has filled one",
                        "[stream][receive]", every_scheduler) {
  constexpr std::size_t small = 16'672, large = 65'536;
  connected_pair<TestType> pair;
  std::string block(2'000'000, '\0');
  for (std::size_t i = 0; i != block.size(); ++i) block[i] = static_cast<char>(i % 251);
  auto sending = start(pair.sched, CALL(pair.client.send_all(block, how...)));
  std::string got;
  std::size_t most = small, largest = 0;
  while (got.size() != block.size()) {
    const auto part = receive_loan(pair);
    REQUIRE(part.value);
    const std::size_t size = part.value.size();
    CHECK(size <= most);
    got += part.value.text();
    largest = (std::max)(largest, size);
    if (size >= small) most = large;
    if (size < small / 4) most = small;
  }
  CHECK(sending.wait().value == block.size());
  CHECK(got == block);
  CHECK(largest > small);
}

TEMPLATE_LIST_TEST_CASE("receive: serves more connections than the engine has buffers ready",
                        "[stream][receive]", every_single) {
  TestType sched;
  auto listener = listening(sched);
  constexpr std::size_t many = 80;
  std::vector<rouse::socket<TestType>> servers, clients;
  while (clients.size() != many) {
    auto accepted = start<rouse::socket<TestType>>(sched, CALL(listener.accept(how...)));
    auto& client = clients.emplace_back(sched);
    const auto connected =
        await<rouse::done>(sched, CALL(client.connect(listener.local_endpoint(), how...)));
    REQUIRE(!connected.ec);
    servers.push_back(std::move(accepted.wait().value));
  }
  // By value, because a call is made when its flow first runs.
  const auto receiving = [&](std::size_t i) {
    return start<rouse::loan>(
        sched, [s = &servers[i]](auto&&... how) -> decltype(auto) { return s->receive(how...); });
  };
  const auto sending = [&](std::size_t i, std::string_view text) {
    return start(sched, [s = &clients[i], text](auto&&... how) -> decltype(auto) {
      return s->send_all(text, how...);
    });
  };
  std::vector<std::string> texts;
  for (std::size_t i = 0; i != many; ++i) texts.push_back(std::to_string(i));
  for (int round = 0; round != 2; ++round) {
    std::vector<decltype(receiving(0))> received;
    std::vector<decltype(sending(0, ""))> sent;
    for (std::size_t i = 0; i != many; ++i) received.push_back(receiving(i));
    until_pending(sched, many);
    for (std::size_t i = 0; i != many; ++i) sent.push_back(sending(i, texts[i]));
    for (std::size_t i = 0; i != many; ++i) {
      CHECK(!sent[i].wait().ec);
      CHECK(received[i].wait().value.text() == texts[i]); // all loans are kept until the end
    }
  }
}

TEMPLATE_LIST_TEST_CASE("receive: a loan outlives its socket and its scheduler",
                        "[stream][receive][lifetime]", every_scheduler) {
  rouse::loan kept;
  {
    connected_pair<TestType> pair;
    send(pair.sched, pair.client, "kept");
    kept = std::move(receive_loan(pair).value);
  }
  CHECK(kept.text() == "kept");
}

TEMPLATE_LIST_TEST_CASE("receive: may be abandoned while it waits, or after its bytes arrived",
                        "[stream][receive][lifetime]", every_scheduler) {
  for (const bool answered : {false, true}) {
    connected_pair<TestType> pair;
    auto waiting = start<rouse::loan>(pair.sched, CALL(pair.server.receive(how...)));
    until_pending(pair.sched, 1);
    if (answered) send(pair.sched, pair.client, "for no call");
  } // the sanitizers check what remains
}

// What the library does with a stream of the application.
#include <rouse/iostream.hpp>
#include <support/own_stream.hpp>
#include <support/testing.hpp>

using namespace testing;

namespace {

// A socket with a call of its own.
template <class S>
struct counting : rouse::socket<S> {
  int calls = 0;
  explicit counting(rouse::socket<S> s) : rouse::socket<S>(std::move(s)) {}
  template <class... Rest>
  decltype(auto) recv(rouse::mutable_buffer b, Rest&&... rest) {
    ++calls;
    return rouse::socket<S>::recv(b, std::forward<Rest>(rest)...);
  }
};

// A protocol for every stream: answers the sum of two lines.
template <rouse::byte_stream Stream>
rouse::task<> add(Stream& s) {
  rouse::reader in{s};
  const int first = std::stoi(std::string(co_await in.read_line()));
  const int second = std::stoi(std::string(co_await in.read_line(5s)));
  const std::string sum = std::to_string(first + second) + "\n";
  co_await s.send_all(sum);
  std::error_code ec;
  const auto rest = co_await in.read_line(ec);
  if (ec || !rest.empty()) throw std::runtime_error("not the end");
}

template <class S, class Stream>
void check_sum(S& sched, Stream& server, Stream& client) {
  auto served = sched.spawn(add(server));
  CHECK(!await(sched, CALL(client.send_all("12\n30\n", how...))).ec);
  std::string sum(3, '\0');
  CHECK(await(sched, CALL(client.recv_exactly(sum, 5s, how...))).value == 3);
  CHECK(sum == "42\n");
  client.shutdown(rouse::shutdown_send);
  CHECK(!await<rouse::done>(sched, CALL(served.join(how...))).ec);
}

} // namespace

TEMPLATE_LIST_TEST_CASE("own stream: it is a byte_stream", "[byte_stream]", every_scheduler) {
  STATIC_REQUIRE(rouse::byte_stream<flipped<TestType>>);
  STATIC_REQUIRE(rouse::byte_stream<counting<TestType>>);
}

TEMPLATE_LIST_TEST_CASE("own stream: one protocol serves it and a socket", "[byte_stream][reader]",
                        every_flowing) {
  connected_pair<TestType> plain;
  check_sum(plain.sched, plain.server, plain.client);
  flipped_pair<TestType> own;
  check_sum(own.sched, own.server, own.client);
}

TEMPLATE_LIST_TEST_CASE("own stream: a reader uses the calls that a class has replaced",
                        "[byte_stream][reader]", every_scheduler) {
  connected_pair<TestType> pair;
  counting<TestType> server{std::move(pair.server)};
  rouse::reader in{server};
  send(pair.sched, pair.client, "line\n");
  CHECK(await<std::string_view>(pair.sched, CALL(in.read_line(5s, how...))).value == "line\n");
  CHECK(server.calls == 1);
}

TEMPLATE_LIST_TEST_CASE("own stream: the error of its call is thrown", "[byte_stream][reader]",
                        every_flowing) {
  flipped_pair<TestType> pair;
  rouse::reader in{pair.server};
  std::error_code thrown;
  auto reads = pair.sched.spawn([&]() -> rouse::task<> {
    try {
      (void)co_await in.read_line(1ms);
    } catch (const std::system_error& e) {
      thrown = e.code();
    }
  });
  CHECK(!await<rouse::done>(pair.sched, CALL(reads.join(how...))).ec);
  CHECK(thrown == std::errc::timed_out);
}

TEST_CASE("own stream: the loop calls the handler, not the call itself", "[byte_stream][reader]") {
  flipped_pair<rouse::callbacks> pair;
  rouse::reader in{pair.server};
  std::string lines;
  const auto note = [&](std::error_code ec, std::string_view line) {
    CHECK(!ec);
    lines += line;
  };
  CHECK(!await(pair.sched, CALL(pair.client.send_all("1\n2\n", how...))).ec);
  in.read_line(note);
  run_until(pair.sched, [&] { return lines == "1\n"; });
  in.read_line(note); // it is there already
  CHECK(lines == "1\n");
  pair.sched.run();
  CHECK(lines == "1\n2\n");
}

TEMPLATE_LIST_TEST_CASE("own stream: a socket_stream owns it", "[byte_stream][iostream]",
                        every_stacked) {
  flipped_pair<TestType> pair;
  rouse::socket_stream io{std::move(pair.server)};
  std::string word;
  CHECK(pair.client.send_all("word 7\n") == 7);
  int number = 0;
  CHECK(io >> word >> number);
  CHECK(word == "word");
  CHECK(number == 7);
  io << number + 1 << std::flush;
  std::array<char, 1> answer{};
  CHECK(pair.client.recv_exactly(answer) == 1);
  CHECK(answer[0] == '8');
}

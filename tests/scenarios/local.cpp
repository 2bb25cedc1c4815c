// Unix-domain sockets: section 10 of scenarios.md.
#include <support/testing.hpp>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <random>

using namespace testing;

namespace {

/// A folder for the files of sockets, removed with its contents.
class folder {
public:
  folder() : path_(std::filesystem::temp_directory_path()) {
    path_ /= "rouse-" + std::to_string(std::random_device()());
    std::filesystem::create_directory(path_);
  }
  folder(const folder&) = delete;
  ~folder() {
    std::error_code ec;
    std::filesystem::remove_all(path_, ec);
  }
  [[nodiscard]] std::string file(const std::string& name) const { return (path_ / name).string(); }
  [[nodiscard]] rouse::endpoint operator[](const std::string& name) const {
    return rouse::endpoint::local(file(name));
  }

private:
  std::filesystem::path path_;
};

/// Whether this system has Unix-domain sockets; warns if it has not.
bool has_local(int type = SOCK_STREAM) {
  rouse::callbacks sched;
  std::error_code ec;
  const rouse::socket s{sched, AF_UNIX, type, 0, ec};
  if (!ec) return true;
  WARN("skipped: this system has no Unix-domain sockets of type " << type << ": " << ec.message());
  CHECK(ec == std::errc::address_family_not_supported);
  CHECK(ROUSE_WINDOWS);
  return false;
}

template <class S>
rouse::socket<S> bound(S& sched, const rouse::endpoint& where, int type = SOCK_DGRAM) {
  rouse::socket s{sched, AF_UNIX, type};
  s.bind(where);
  return s;
}

template <class S>
rouse::socket<S> listening_at(S& sched, const rouse::endpoint& where, int backlog = 8) {
  auto listener = bound(sched, where, SOCK_STREAM);
  listener.listen(backlog);
  return listener;
}

template <class S>
std::error_code connect(S& sched, rouse::socket<S>& s, const rouse::endpoint& to) {
  return await<rouse::done>(sched, CALL(s.connect(to, how...))).ec;
}

} // namespace

TEMPLATE_LIST_TEST_CASE("local stream: connects by a path, and both sides know their endpoints",
                        "[local][P01]", every_scheduler) {
  if (!has_local()) return;
  TestType sched;
  const folder here;
  auto listener = listening_at(sched, here["x"]);
  CHECK(listener.local_endpoint() == here["x"]);
  rouse::socket client{sched, AF_UNIX};
  auto accepted = start<rouse::socket<TestType>>(sched, CALL(listener.accept(how...)));
  CHECK(!connect(sched, client, here["x"]));
  auto& server = accepted.wait().value;
  CHECK(client.remote_endpoint() == here["x"]);
  CHECK(client.local_endpoint() == rouse::endpoint::local());
  CHECK(server.local_endpoint() == here["x"]);
  CHECK(server.remote_endpoint() == rouse::endpoint::local());
  send(sched, client, "ping");
  CHECK(receive(sched, server, 4) == "ping");
  // With a call that waits; and the end of the stream, again and again.
  std::array<char, 8> buf;
  auto waiting = start(sched, CALL(client.recv(buf, how...)));
  until_pending(sched, 1);
  send(sched, server, "pong");
  CHECK(waiting.wait().value == 4);
  server.shutdown(rouse::shutdown_send);
  for (int i = 0; i != 2; ++i) {
    const auto end = await(sched, CALL(client.recv(buf, 5s, how...)));
    CHECK(!end.ec);
    CHECK(end.value == 0);
  }
  send(sched, client, "still");
  CHECK(receive(sched, server, 5) == "still");
  server.close();
  CHECK(send(sched, client, "to a closed peer").ec == std::errc::broken_pipe);
}

TEMPLATE_LIST_TEST_CASE(
    "local: the file outlives its socket, and prevents a bind until it is removed", "[local][P01]",
    every_scheduler) {
  if (!has_local()) return;
  TestType sched;
  const folder here;
  listening_at(sched, here["x"]).close();
  CHECK(std::filesystem::exists(here.file("x")));
  rouse::socket second{sched, AF_UNIX};
  std::error_code ec;
  second.bind(here["x"], ec);
  CHECK(ec == std::errc::address_in_use);
  rouse::socket client{sched, AF_UNIX};
  CHECK(connect(sched, client, here["x"]) == std::errc::connection_refused);
  CHECK(std::remove(here.file("x").c_str()) == 0);
  second.bind(here["x"], ec);
  CHECK(!ec);
  // A file that is not a socket prevents the bind as well.
  std::ofstream(here.file("text")) << "text";
  rouse::socket third{sched, AF_UNIX};
  third.bind(here["text"], ec);
  CHECK(ec == std::errc::address_in_use);
}

TEMPLATE_LIST_TEST_CASE("local: reports paths that cannot be bound or connected to", "[local][P01]",
                        every_scheduler) {
  if (!has_local()) return;
  TestType sched;
  const folder here;
  rouse::socket s{sched, AF_UNIX}, t{sched, AF_UNIX};
  std::error_code ec;
  s.bind(here["none/x"], ec);
  CHECK(ec == std::errc::no_such_file_or_directory);
  s.bind({"127.0.0.1", 0}, ec);
  CHECK(ec == std::errc::address_family_not_supported);
  rouse::socket{sched}.bind(here["x"], ec);
  CHECK(ec == std::errc::address_family_not_supported);
  CHECK(connect(sched, t, here["x"]) == std::errc::no_such_file_or_directory);
  CHECK(connect(sched, t, rouse::endpoint::local()) == std::errc::invalid_argument);
  CHECK(connect(sched, t, {"127.0.0.1", 9}) == std::errc::address_family_not_supported);
  s.bind(here["x"], ec);
  CHECK(!ec);
  s.bind(here["y"], ec);
  CHECK(ec == std::errc::invalid_argument);
  if (!has_local(SOCK_DGRAM)) return;
  const auto datagrams = bound(sched, here["d"]);
  CHECK(connect(sched, t, here["d"]) == std::errc::wrong_protocol_type);
}

TEMPLATE_LIST_TEST_CASE("local: the longest path works", "[local][P01]", every_scheduler) {
  if (!has_local()) return;
  TestType sched;
  const folder here;
  const std::string longest = here.file("") + std::string(107 - here.file("").size(), 'x');
  const auto where = rouse::endpoint::local(longest);
  auto listener = listening_at(sched, where);
  CHECK(listener.local_endpoint() == where);
  rouse::socket client{sched, AF_UNIX};
  CHECK(!connect(sched, client, where));
  CHECK(client.remote_endpoint() == where);
}

TEMPLATE_LIST_TEST_CASE("local: an abstract name exists as long as its socket", "[local][P01]",
                        every_scheduler) {
  if (ROUSE_WINDOWS) {
    WARN("skipped: only Linux has abstract names");
    return;
  }
  TestType sched;
  auto listener = listening_at(sched, rouse::endpoint::local()); // the system chooses the name
  const auto where = listener.local_endpoint();
  CHECK(where.address().starts_with('@'));
  CHECK(where.bytes().size() > 1);
  rouse::socket client{sched, AF_UNIX}, late{sched, AF_UNIX}, second{sched, AF_UNIX};
  CHECK(!connect(sched, client, rouse::endpoint::parse(to_string(where))));
  CHECK(client.remote_endpoint() == where);
  std::error_code ec;
  second.bind(where, ec);
  CHECK(ec == std::errc::address_in_use);
  listener.close();
  CHECK(connect(sched, late, where) == std::errc::connection_refused);
  const auto longer = rouse::endpoint::local(where.address() + std::string("\0x", 2));
  second.bind(longer);
  CHECK(second.local_endpoint() == longer);
}

TEMPLATE_LIST_TEST_CASE("local stream: transfers much in both directions, also with lent buffers",
                        "[local][P01][T03]", every_flowing) {
  if (!has_local()) return;
  TestType sched;
  const folder here;
  auto listener = listening_at(sched, here["x"]);
  rouse::socket client{sched, AF_UNIX};
  CHECK(!connect(sched, client, here["x"]));
  auto server = await<rouse::socket<TestType>>(sched, CALL(listener.accept(how...))).value;
  const std::string block = large_block();
  std::string there(block.size(), ' '), back(block.size(), ' ');
  auto one = start(sched, CALL(client.send_all(block, how...)));
  auto two = start(sched, CALL(server.send_all(block, how...)));
  auto three = start(sched, CALL(server.recv_exactly(there, how...)));
  auto four = start(sched, CALL(client.recv_exactly(back, how...)));
  CHECK(one.wait().value == block.size());
  CHECK(two.wait().value == block.size());
  CHECK(three.wait().value == block.size());
  CHECK(four.wait().value == block.size());
  CHECK(there == block);
  CHECK(back == block);
  auto waiting = start<rouse::loan>(sched, CALL(client.receive(how...)));
  until_pending(sched, 1);
  send(sched, server, "lent");
  CHECK(waiting.wait().value.text() == "lent");
}

TEMPLATE_LIST_TEST_CASE("local: connect waits while the listener's queue is full", "[local][P01]",
                        every_scheduler) {
  if (!has_local()) return;
  TestType sched;
  const folder here;
  const auto where = here["x"];
  auto listener = listening_at(sched, where, 0);
  // If many connections fit nevertheless, there is nothing to check.
  std::vector<rouse::socket<TestType>> clients;
  for (bool full = false; !full;) {
    auto& c = clients.emplace_back(sched, AF_UNIX);
    const auto tried = await<rouse::done>(sched, CALL(c.connect(where, 10ms, how...)));
    full = tried.ec == std::errc::timed_out;
    CHECK((full || !tried.ec));
    REQUIRE(clients.size() < 100);
  }
  clients.pop_back();
  rouse::socket waits{sched, AF_UNIX}, gives_up{sched, AF_UNIX}, closes{sched, AF_UNIX},
      stops{sched, AF_UNIX};
  auto first = start<rouse::done>(sched, CALL(waits.connect(where, how...)));
  auto second = start<rouse::done>(sched, CALL(gives_up.connect(where, how...)));
  auto third = start<rouse::done>(sched, CALL(closes.connect(where, how...)));
  std::stop_source source;
  auto fourth = start<rouse::done>(sched, CALL(stops.connect(where, source.get_token(), how...)));
  until_pending(sched, 4);
  sched.run_for(20ms); // they try again
  gives_up.cancel();
  CHECK(second.wait().ec == std::errc::operation_canceled);
  closes.close();
  CHECK(third.wait().ec == std::errc::operation_canceled);
  source.request_stop();
  CHECK(fourth.wait().ec == std::errc::operation_canceled);
  CHECK(!first.finished());
  // There is room: no cancelled connection is left in the queue.
  for (std::size_t i = 0; i <= clients.size(); ++i)
    CHECK(!await<rouse::socket<TestType>>(sched, CALL(listener.accept(5s, how...))).ec);
  CHECK(!first.wait().ec);
  CHECK(await<rouse::socket<TestType>>(sched, CALL(listener.accept(1ms, how...))).ec ==
        std::errc::timed_out);
}

TEMPLATE_LIST_TEST_CASE("local datagram: arrives whole, with the sender's name if it has one",
                        "[local][P01]", every_scheduler) {
  if (!has_local(SOCK_DGRAM)) return;
  TestType sched;
  const folder here;
  auto a = bound(sched, here["a"]), b = bound(sched, here["b"]);
  rouse::socket unnamed{sched, AF_UNIX, SOCK_DGRAM};
  rouse::endpoint from;
  CHECK(send_to(sched, a, "one", here["b"]).value == 3);
  CHECK(send_to(sched, a, "second", here["b"]).value == 6);
  CHECK(send_to(sched, unnamed, "third", here["b"]).value == 5);
  CHECK(recv_text(sched, b, &from) == "one");
  CHECK(from == here["a"]);
  CHECK(recv_text(sched, b) == "second");
  CHECK(recv_text(sched, b, &from) == "third");
  CHECK(from == rouse::endpoint());
  // One that arrives later; one that is too large; an empty one.
  std::array<char, 4> four;
  auto waiting = start<rouse::datagram>(sched, CALL(a.recv_from(four, how...)));
  until_pending(sched, 1);
  send_to(sched, b, "abcdefgh", here["a"]);
  CHECK(waiting.wait().ec == std::errc::message_size);
  CHECK(waiting.wait().value.from == here["b"]);
  CHECK(std::string(four.data(), 4) == "abcd");
  send_to(sched, b, "", here["a"]);
  CHECK(recv_text(sched, a, &from) == "");
  CHECK(from == here["b"]);
  // Connected: send and recv.
  CHECK(!connect(sched, a, here["b"]));
  CHECK(await(sched, CALL(a.send("sent", how...))).value == 4);
  CHECK(recv_text(sched, b) == "sent");
  CHECK(send_to(sched, b, "lost", here["none"]).ec == std::errc::no_such_file_or_directory);
  a.close();
  CHECK(send_to(sched, b, "lost", here["a"]).ec == std::errc::connection_refused);
}

TEMPLATE_LIST_TEST_CASE("local datagram: send waits while the receiver's queue is full",
                        "[local][P01]", every_scheduler) {
  if (!has_local(SOCK_DGRAM)) return;
  TestType sched;
  const folder here;
  const auto where = here["r"];
  auto receiver = bound(sched, where), other = bound(sched, here["o"]), s = bound(sched, here["s"]);
  int in_queue = 0;
  const auto fill = [&] {
    while (!await(sched, CALL(other.send_to("filler", where, 10ms, how...))).ec) ++in_queue;
  };
  fill();
  REQUIRE(in_queue > 0);
  // Datagrams of another socket fill the queue; connected or not.
  for (const bool connected : {false, true}) {
    if (connected) CHECK(!connect(sched, s, where));
    const auto call = [&](auto&&... how) -> decltype(auto) {
      return s.send_to("waited", where, how...);
    };
    auto given_up = start(sched, call);
    until_pending(sched, 1);
    sched.run_for(10ms);
    CHECK(!given_up.finished());
    s.cancel();
    CHECK(given_up.wait().ec == std::errc::operation_canceled);
    CHECK(await(sched, CALL(s.send_to("late", where, 5ms, how...))).ec == std::errc::timed_out);
    auto waiting = start(sched, call);
    until_pending(sched, 1);
    for (; in_queue != 0; --in_queue) CHECK(recv_text(sched, receiver) == "filler");
    CHECK(recv_text(sched, receiver) == "waited");
    CHECK(waiting.wait().value == 6);
    fill();
  }
  // Without an address, and as a list of buffers.
  auto plain = start(sched, CALL(s.send("plain", how...)));
  until_pending(sched, 1);
  std::array parts{rouse::const_buffer("in "), rouse::const_buffer("pieces")};
  auto pieces = start(sched, CALL(s.send(parts, how...)));
  until_pending(sched, 2);
  sched.run_for(10ms);
  CHECK(!plain.finished());
  for (; in_queue != 0; --in_queue) CHECK(recv_text(sched, receiver) == "filler");
  CHECK(recv_text(sched, receiver) == "plain");
  CHECK(recv_text(sched, receiver) == "in pieces");
  CHECK(plain.wait().value == 5);
  CHECK(pieces.wait().value == 9);
}

TEMPLATE_LIST_TEST_CASE("local: options that apply work, others are errors", "[local][P01][C07]",
                        every_scheduler) {
  if (!has_local()) return;
  TestType sched;
  const folder here;
  auto listener = listening_at(sched, here["x"]);
  rouse::socket client{sched, AF_UNIX};
  client.set_option(rouse::send_buffer_size{100'000});
  CHECK(client.template get_option<rouse::send_buffer_size>().value() >= 100'000);
  std::error_code ec;
  client.set_option(rouse::tcp_no_delay{true}, ec);
  CHECK(ec);
  CHECK(!connect(sched, client, here["x"]));
  CHECK(client.template get_option<int>(SOL_SOCKET, SO_ERROR) == 0);
  CHECK(client.template get_option<int>(SOL_SOCKET, SO_TYPE) == SOCK_STREAM);
}

TEMPLATE_LIST_TEST_CASE("socket_pair: connects two sockets by a stream", "[local][P02]",
                        every_scheduler) {
  TestType sched;
  auto [here, there] = rouse::socket_pair(sched);
  auto& a = here; // CALL captures no structured binding
  auto& b = there;
  CHECK(here.template get_option<int>(SOL_SOCKET, SO_TYPE) == SOCK_STREAM);
  CHECK(here.remote_endpoint() == there.local_endpoint());
  CHECK(there.remote_endpoint() == here.local_endpoint());
  send(sched, a, "ping");
  CHECK(receive(sched, b, 4) == "ping");
  std::array<char, 8> buf;
  auto waiting = start(sched, CALL(a.recv(buf, how...)));
  until_pending(sched, 1);
  send(sched, b, "pong");
  CHECK(waiting.wait().value == 4);
  // Many bytes, and the end.
  const std::string block = large_block();
  std::string got(block.size(), ' ');
  auto sending = start(sched, CALL(a.send_all(block, how...)));
  CHECK(await(sched, CALL(b.recv_exactly(got, how...))).value == block.size());
  CHECK(got == block);
  CHECK(sending.wait().value == block.size());
  b.close();
  CHECK(await(sched, CALL(a.recv(buf, 5s, how...))).value == 0);
}

TEMPLATE_LIST_TEST_CASE("socket_pair: datagrams keep their boundaries, and wait for room",
                        "[local][P02]", every_scheduler) {
  TestType sched;
  std::error_code ec;
  auto pair = rouse::socket_pair(sched, SOCK_DGRAM, ec);
  if (ROUSE_WINDOWS) {
    WARN("skipped: Windows has no pairs of datagram sockets");
    CHECK(ec == std::errc::address_family_not_supported);
    CHECK(!pair.first.is_open());
    return;
  }
  REQUIRE(!ec);
  auto& a = pair.first;
  auto& b = pair.second;
  CHECK(a.local_endpoint() == rouse::endpoint::local());
  for (const std::string_view text : {"one", "", "three"})
    CHECK(await(sched, CALL(a.send(text, how...))).value == text.size());
  CHECK(recv_text(sched, b) == "one");
  CHECK(recv_text(sched, b) == "");
  CHECK(recv_text(sched, b) == "three");
  // More than the queue holds: all arrive, in order.
  const std::string filler(20'000, 'f');
  constexpr int many = 100;
  int sent = 0;
  while (!await(sched, CALL(a.send(filler, 10ms, how...))).ec) ++sent;
  REQUIRE(sent < many);
  auto waiting = start(sched, CALL(a.send("last", how...)));
  until_pending(sched, 1);
  std::string got(filler.size() + 1, ' ');
  for (; sent != 0; --sent)
    CHECK(await(sched, CALL(b.recv(got, 5s, how...))).value == filler.size());
  CHECK(recv_text(sched, b) == "last");
  CHECK(waiting.wait().value == 4);
}

TEMPLATE_LIST_TEST_CASE("socket_pair: reports an unknown type", "[local][P02]", every_scheduler) {
  TestType sched;
  std::error_code ec;
  const auto pair = rouse::socket_pair(sched, 77, ec);
  CHECK(ec);
  CHECK(!pair.first.is_open());
  CHECK(!pair.second.is_open());
  CHECK_THROWS_AS(rouse::socket_pair(sched, 77), std::system_error);
}

#if !ROUSE_WINDOWS // where clock() is not CPU time
TEMPLATE_LIST_TEST_CASE("local: a peer that has hung up uses no CPU while no call reads",
                        "[local][E08]", every_scheduler) {
  TestType sched;
  const folder here;
  auto listener = listening_at(sched, here["x"]);
  rouse::socket client{sched, AF_UNIX};
  CHECK(!connect(sched, client, here["x"]));
  auto server = await<rouse::socket<TestType>>(sched, CALL(listener.accept(how...))).value;
  std::array<char, 8> buf;
  // A call has waited, so that the engine watches the socket.
  CHECK(await(sched, CALL(client.recv(buf, 1ms, how...))).ec == std::errc::timed_out);
  auto other = start<rouse::socket<TestType>>(sched, CALL(listener.accept(how...)));
  until_pending(sched, 1);
  for (const bool whole : {false, true}) {
    if (whole)
      server.close();
    else
      server.shutdown(rouse::shutdown_send);
    const std::clock_t cpu = std::clock();
    sched.run_for(200ms);
    CHECK(std::clock() - cpu < CLOCKS_PER_SEC / 20);
    CHECK(!other.finished());
  }
  CHECK(await(sched, CALL(client.recv(buf, 5s, how...))).value == 0);
}
#endif

TEMPLATE_LIST_TEST_CASE("a waiting send can be cancelled after the peer has shut down its side",
                        "[local][X04][E03]", every_scheduler) {
  if (!has_local()) return;
  const folder here;
  TestType sched;
  auto listener = listening_at(sched, here["s"]);
  rouse::socket client{sched, AF_UNIX};
  auto accepted = start<rouse::socket<TestType>>(sched, CALL(listener.accept(how...)));
  REQUIRE(!connect(sched, client, here["s"]));
  auto& server = accepted.wait().value;
  const std::string block = large_block();
  server.shutdown(rouse::shutdown_send);
  auto sending = start(sched, CALL(client.send_all(block, how...)));
  until_pending(sched, 1);
  client.cancel();
  CHECK(sending.wait().ec == std::errc::operation_canceled);
  CHECK(sending.wait().value < block.size());
  CHECK(sending.times() == 1);
}

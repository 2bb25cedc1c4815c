// Written once with co_await, for coroutines, fibers and threads: every waiting call, its value,
// its exception, its std::error_code.
#include <support/testing.hpp>

#include <stdexcept>

using namespace testing;

namespace {

// Runs a flow to its end and rethrows its exception. Only this flow checks, because with threads
// others would check at the same time.
template <class S, class Body>
void run_to_end(S& sched, Body body) {
  std::atomic<bool> ended{false};
  sched.spawn([&]() -> rouse::task<> {
    co_await body();
    ended = true;
  });
  sched.run_for(patience);
  CHECK(ended);
}

// The error that a call throws.
template <class Call>
rouse::task<std::error_code> thrown_by(Call call) {
  std::error_code code;
  try {
    co_await call();
  } catch (const std::system_error& e) {
    code = e.code();
  }
  co_return code;
}

template <class S>
rouse::task<rouse::socket<S>> connected(S& sched, rouse::endpoint peer) {
  rouse::socket conn{sched};
  co_await conn.connect(peer, 5s);
  co_return conn;
}

// Both ends of a connection, one from accept, one from connect.
template <class S>
rouse::task<> make_pair(S& sched, rouse::socket<S>& server, rouse::socket<S>& client) {
  auto listener = listening(sched);
  auto connecting = sched.spawn(
      [&]() -> rouse::task<> { client = co_await connected(sched, listener.local_endpoint()); });
  server = co_await listener.accept(5s);
  co_await connecting.join();
}

} // namespace

// (Catch's CHECK names its expression twice, and g++ then awaits it twice.)
#define GIVES(wanted, ...)                                                                         \
  {                                                                                                \
    const auto given = co_await __VA_ARGS__;                                                       \
    CHECK(given == wanted);                                                                        \
  }

TEMPLATE_LIST_TEST_CASE("write once: streams work under every scheduler", "[write_once]",
                        every_flowing) {
  TestType sched;
  run_to_end(sched, [&]() -> rouse::task<> {
    rouse::socket<TestType> server, client;
    co_await make_pair(sched, server, client);
    CHECK(server.remote_endpoint() == client.local_endpoint());

    std::error_code ec;
    const std::array out{rouse::const_buffer("cd"), rouse::const_buffer("ef")};
    GIVES(1, client.send("a"))
    GIVES(1, client.send_all("b", 5s, ec))
    GIVES(4, client.send(out, 5s))
    GIVES(4, client.send_all(out))
    GIVES(8, client.send_all("the rest"))
    co_await server.wait(rouse::readable, 5s);
    std::array<char, 10> bytes{};
    const std::array first{rouse::mutable_buffer(bytes.data(), 1)};
    const std::array second{rouse::mutable_buffer(bytes.data() + 1, 2)};
    GIVES(1, server.recv(first))
    GIVES(2, server.recv_exactly(second, 5s, ec))
    GIVES(1, server.recv({bytes.data() + 3, 1}, ec))
    GIVES(6, server.recv_exactly({bytes.data() + 4, 6}))
    CHECK(std::string_view(bytes.data(), bytes.size()) == "abcdefcdef");
    while (auto some = co_await server.receive(5s)) {
      if (some.text().ends_with("rest")) client.shutdown(rouse::shutdown_send);
    }
    CHECK(!ec);
  });
}

TEMPLATE_LIST_TEST_CASE("write once: a reader works under every scheduler", "[write_once]",
                        every_flowing) {
  TestType sched;
  run_to_end(sched, [&]() -> rouse::task<> {
    rouse::socket<TestType> server, client;
    co_await make_pair(sched, server, client);
    co_await client.send_all("line\nuntil;12345left");
    client.close();
    rouse::reader in{server};
    std::error_code ec;
    GIVES("line\n", in.read_line())
    GIVES("until;", in.read_until(";", 5s))
    GIVES("12345", in.read_exactly(5, ec))
    GIVES("left", in.read_line(5s, ec))
    CHECK(!ec);
  });
}

TEMPLATE_LIST_TEST_CASE("write once: datagrams work under every scheduler", "[write_once]",
                        every_flowing) {
  TestType sched;
  run_to_end(sched, [&]() -> rouse::task<> {
    rouse::socket here{sched, AF_INET, SOCK_DGRAM}, there{sched, AF_INET, SOCK_DGRAM};
    here.bind({"127.0.0.1", 0});
    there.bind({"127.0.0.1", 0});
    std::error_code ec;
    std::array<char, 8> buf{};
    GIVES(3, here.send_to("one", there.local_endpoint()))
    GIVES(4, here.send_to("four", there.local_endpoint(), 5s, ec)) {
      const auto [n, from] = co_await there.recv_from(buf);
      CHECK(n == 3);
      CHECK(from == here.local_endpoint());
    }
    const auto [n, from] = co_await there.recv_from(buf, 5s, ec);
    CHECK(n == 4);
    CHECK(!ec);
  });
}

TEMPLATE_LIST_TEST_CASE("write once: flows, sleeps and signals work under every scheduler",
                        "[write_once]", every_flowing) {
  TestType sched;
  run_to_end(sched, [&]() -> rouse::task<> {
    std::error_code ec;
    co_await sched.yield();
    co_await sched.yield(ec);
    co_await sched.sleep_for(1ms);
    co_await sched.sleep_until(rouse::deadline(1ms), ec);
    CHECK(!ec);

    rouse::signals raised{sched, {SIGINT}};
    ctrl_c();
    GIVES(SIGINT, raised.wait(5s))

    auto thrower = sched.spawn([&]() -> rouse::task<> {
      co_await sched.yield();
      throw std::runtime_error("by another flow");
    });
    std::string what;
    try {
      co_await thrower.join();
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    CHECK(what == "by another flow");

    auto sleeper = sched.spawn([&]() -> rouse::task<> { co_await sched.sleep_for(1h); });
    co_await sleeper.join(1ms, ec);
    CHECK(ec == std::errc::timed_out);
    sleeper.cancel();
    co_await sleeper.join(5s); // an end by cancellation is not reported
    CHECK(sleeper.ended());
  });
}

TEMPLATE_LIST_TEST_CASE("write once: each call reports its error both ways", "[write_once]",
                        every_flowing) {
  TestType sched;
  run_to_end(sched, [&]() -> rouse::task<> {
    rouse::socket<TestType> server, client;
    co_await make_pair(sched, server, client);
    auto listener = listening(sched);
    rouse::socket message{sched, AF_INET, SOCK_DGRAM};
    message.bind({"127.0.0.1", 0});
    rouse::reader in{server};
    rouse::signals never{sched, {SIGTERM}};
    std::array<char, 8> buf;
    const std::array list{rouse::mutable_buffer(buf)};
    std::error_code ec;

#define FAILS(error, ...)                                                                          \
  {                                                                                                \
    const auto attempt = [&](auto&... how) -> rouse::task<> {                                      \
      static_cast<void>(co_await __VA_ARGS__);                                                     \
    };                                                                                             \
    co_await attempt(ec);                                                                          \
    CHECK(ec == error);                                                                            \
    ec.clear();                                                                                    \
    const auto thrown = co_await thrown_by(attempt);                                               \
    CHECK(thrown == error);                                                                        \
  }
    FAILS(std::errc::timed_out, server.recv(buf, 1ms, how...))
    FAILS(std::errc::timed_out, server.recv_exactly(buf, 1ms, how...))
    FAILS(std::errc::timed_out, server.recv(list, 1ms, how...))
    FAILS(std::errc::timed_out, server.recv_exactly(list, 1ms, how...))
    FAILS(std::errc::timed_out, server.receive(1ms, how...))
    FAILS(std::errc::timed_out, server.wait(rouse::readable, 1ms, how...))
    FAILS(std::errc::timed_out, in.read_line(1ms, how...))
    FAILS(std::errc::timed_out, in.read_until(";", 1ms, how...))
    FAILS(std::errc::timed_out, in.read_exactly(5, 1ms, how...))
    FAILS(std::errc::timed_out, message.recv_from(buf, 1ms, how...))
    FAILS(std::errc::timed_out, listener.accept(1ms, how...))
    FAILS(std::errc::timed_out, listener.accept_native(1ms, how...))
    FAILS(std::errc::timed_out, never.wait(1ms, how...))

    const auto port_without_listener = [&] {
      rouse::socket bound{sched};
      bound.bind({"127.0.0.1", 0});
      return bound.local_endpoint();
    }();
    rouse::socket<TestType> closed;
    const std::array text{rouse::const_buffer("x")};
    for (int again = 0; again != 2; ++again) {
      rouse::socket refused{sched};
      if (again)
        co_await refused.connect(port_without_listener, 5s, ec);
      else
        ec = co_await thrown_by(
            [&]() -> rouse::task<> { co_await refused.connect(port_without_listener, 5s); });
      CHECK(ec == std::errc::connection_refused);
    }
    FAILS(std::errc::bad_file_descriptor, closed.send("x", how...))
    FAILS(std::errc::bad_file_descriptor, closed.send_all("x", how...))
    FAILS(std::errc::bad_file_descriptor, closed.send(text, how...))
    FAILS(std::errc::bad_file_descriptor, closed.send_all(text, how...))
    FAILS(std::errc::bad_file_descriptor, closed.send_to("x", port_without_listener, 5s, how...))
#undef FAILS
  });
}

// The texts of exceptions: the name of the call, and the reason of its failure.
#include <support/testing.hpp>

#include <sstream>

using namespace testing;

namespace {

// The text that a call on fibers throws; empty if it throws nothing.
template <class Call>
std::string message_of(rouse::fibers& sched, Call call) {
  std::string what;
  sched.spawn([&] {
    try {
      (void)call();
    } catch (const std::system_error& e) {
      what = e.what();
    }
  });
  sched.run();
  return what;
}

bool begins(const std::string& text, const std::string& with) {
  return text.compare(0, with.size(), with) == 0;
}

} // namespace

TEST_CASE("messages: an empty buffer is reported with the name of the call", "[messages]") {
  rouse::fibers sched;
  auto [a, b] = rouse::socket_pair(sched);
  char room[1];
  const rouse::mutable_buffer none{room, 0};
  CHECK(begins(message_of(sched, [&] { return a.recv(none); }), "rouse: recv: empty buffer: "));
  CHECK(begins(message_of(sched, [&] { return a.recv_exactly(none); }),
               "rouse: recv_exactly: empty buffer: "));
  CHECK(begins(message_of(sched, [&] { return a.recv_from(none); }),
               "rouse: recv_from: empty buffer: "));
  CHECK(begins(message_of(sched, [&] { return a.peek(none); }), "rouse: peek: empty buffer: "));
  CHECK(begins(message_of(sched, [&] { return a.recv_out_of_band(none); }),
               "rouse: recv_out_of_band: empty buffer: "));
  CHECK(begins(message_of(sched, [&] { return a.try_recv(none); }),
               "rouse: try_recv: empty buffer: "));
}

TEST_CASE("messages: a limit that passes is reported with the name of the call", "[messages]") {
  rouse::fibers sched;
  auto [a, b] = rouse::socket_pair(sched);
  char room[1];
  rouse::flow_mutex<rouse::fibers> mutex(sched);
  rouse::flow_semaphore<rouse::fibers> semaphore(sched, 0);
  rouse::channel<int, rouse::fibers> numbers(sched);
  REQUIRE(mutex.try_lock());
  CHECK(begins(message_of(sched, [&] { return a.recv(room, 0s); }), "rouse: recv: timed out"));
  CHECK(begins(message_of(sched, [&] { return mutex.lock(0s); }), "rouse: lock: timed out"));
  CHECK(begins(message_of(sched, [&] { return semaphore.acquire(0s); }),
               "rouse: acquire: timed out"));
  CHECK(begins(message_of(sched, [&] { return numbers.receive(0s); }),
               "rouse: receive from a channel: timed out"));
  CHECK(begins(message_of(sched, [&] { return numbers.send(1, 0s); }),
               "rouse: send through a channel: timed out"));
}

TEST_CASE("messages: an empty error and an invalid port are named", "[messages]") {
  rouse::fibers sched;
  rouse::channel<int, rouse::fibers> numbers(sched, 1);
  CHECK(begins(message_of(sched, [&] { return numbers.send_error(std::error_code()); }),
               "rouse: send through a channel: no error to send: "));
  CHECK(begins(message_of(sched, [&] { return rouse::resolve(sched, "localhost", 70000); }),
               "rouse: resolve: a port is a number from 0 to 65535: "));
}

TEST_CASE("messages: every error has a text on every platform", "[messages]") {
  rouse::fibers sched;
  auto [a, b] = rouse::socket_pair(sched);
  char room[1];
  std::stop_source stopped;
  stopped.request_stop();
  const std::string messages[] = {
      message_of(sched, [&] { return a.recv(room, 0s); }),
      message_of(sched, [&] { return a.recv(room, stopped.get_token()); }),
      message_of(sched, [&] { return rouse::socket<rouse::fibers>().recv(room); }),
      message_of(sched,
                 [&] {
                   auto closed = listening(sched);
                   const auto where = closed.local_endpoint();
                   closed.close();
                   rouse::socket{sched}.connect(where);
                   return 0;
                 }),
      message_of(sched, [&] {
        rouse::endpoint("nonsense", 1);
        return 0;
      })};
  for (const std::string& message : messages) {
    INFO(message);
    CHECK(message.size() > std::string("rouse: ").size());
    CHECK(message.find("nknown error") == std::string::npos);
  }
}

// A program that uses the parts that an optimizer sees through. Compiled from the vendored header
// at every level of optimization, by every compiler, it must not cause a warning.
#include <rouse/rouse.hpp>

#include <array>
#include <chrono>
#include <cstdio>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

namespace {

template <class Scheduler, class T>
void through_channels(Scheduler& sched, T value) {
  rouse::channel<T, Scheduler> buffered{sched, 4}, direct{sched};
  std::error_code ec;
  sched.spawn([=]() mutable {
    buffered.send(value);
    buffered.close();
    direct.send(std::move(value), 1s, ec);
  });
  while (auto received = buffered.receive()) value = std::move(*received);
  if (auto received = direct.receive(1s)) value = std::move(*received);
}

template <class T>
rouse::task<T> awaited(rouse::coroutines& sched, T value) {
  rouse::channel<T, rouse::coroutines> buffered{sched, 4};
  co_await buffered.send(value);
  std::error_code ec;
  auto first = co_await buffered.receive();
  auto second = co_await buffered.receive(1ms, ec);
  co_return second ? *second : std::move(*first);
}

rouse::task<std::string> echoed(rouse::coroutines& sched, std::string text) {
  rouse::socket listener{sched};
  listener.bind({"127.0.0.1", 0});
  listener.listen();
  auto serving = sched.spawn([&]() -> rouse::task<> {
    auto conn = co_await listener.accept();
    std::array<char, 64> buf;
    while (auto n = co_await conn.recv(buf)) co_await conn.send_all({buf.data(), n});
  });
  auto conn = co_await rouse::connect(sched, "127.0.0.1", listener.local_endpoint().port(), 5s);
  co_await conn.send_all(text);
  conn.shutdown(rouse::shutdown_send);
  rouse::reader in{conn};
  std::string all;
  for (auto part = co_await in.read_line(); !part.empty(); part = co_await in.read_line())
    all += part;
  co_await serving.join();
  co_return all;
}

} // namespace

int main() {
  rouse::fibers fibers;
  through_channels(fibers, std::string("text"));
  through_channels(fibers, std::vector<std::string>(2));
  through_channels(fibers, 1);
  rouse::threads threads;
  through_channels(threads, std::string("text"));

  rouse::coroutines coroutines;
  std::string text;
  coroutines.spawn([&]() -> rouse::task<> {
    text = co_await awaited(coroutines, std::string("text"));
    std::vector<std::string> many = co_await awaited(coroutines, std::vector<std::string>(2));
    text += co_await echoed(coroutines, " and text");
  });
  coroutines.run();

  rouse::callbacks callbacks;
  rouse::channel<std::string, rouse::callbacks> channel{callbacks, 1};
  channel.send("text", [](std::error_code) {});
  channel.receive(
      [&](std::error_code, std::optional<std::string> received) { text += received.value_or(""); });
  callbacks.run();
  std::puts(text.c_str());
  return text == "text and texttext" ? 0 : 1;
}

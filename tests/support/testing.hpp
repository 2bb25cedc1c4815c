// Shared by the tests: the schedulers under test, and one way to make a call under any of them.
#pragma once
#include <rouse/rouse.hpp>
#include <support/compiled_once.hpp>

#include <catch2/catch.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace testing {

using namespace std::chrono_literals;

/// They use the platform's engine, or the one that ROUSE_ENGINE names; tests/run.sh runs the suite
/// once for each.
using every_scheduler =
    std::tuple<rouse::coroutines, rouse::fibers, rouse::threads, rouse::callbacks>;
/// Schedulers with flows that can wait in the middle of a function.
using every_flowing = std::tuple<rouse::coroutines, rouse::fibers, rouse::threads>;
/// Schedulers with a stack for each flow, so that a call returns its result.
using every_stacked = std::tuple<rouse::fibers, rouse::threads>;
/// Schedulers that one thread runs.
using every_single = std::tuple<rouse::coroutines, rouse::fibers, rouse::callbacks>;

/// A test fails after this time; only a failing test waits that long.
inline constexpr auto patience = 30s;

template <class S>
inline constexpr bool awaits = std::is_same_v<typename S::waker_type, rouse::coroutine_waker>;
template <class S>
inline constexpr bool calls_back = std::is_same_v<typename S::waker_type, rouse::callback_waker>;
template <class S>
inline constexpr bool is_threads = std::is_same_v<typename S::waker_type, rouse::thread_waker>;

/// The result of a call.
template <class T>
struct outcome {
  std::error_code ec;
  T value{};
};

/// The place where a call stores its result.
template <class T>
struct slot {
  virtual ~slot() = default;
  void set(std::error_code ec, T value) {
    result.ec = ec;
    result.value = std::move(value);
    ++times;
    finished = true;
  }

  std::atomic<bool> finished{false};
  std::atomic<int> times{0};
  outcome<T> result;
};

/// A call that has been started and may not have completed.
template <class S, class T>
class started {
public:
  started(S& s, std::shared_ptr<slot<T>> where) : slot_(std::move(where)), sched_(&s) {}

  [[nodiscard]] bool finished() const { return slot_->finished.load(); }

  /// Runs the scheduler until the call has completed.
  outcome<T>& wait();

  /// The number of completions.
  [[nodiscard]] int times() const { return slot_->times.load(); }

private:
  std::shared_ptr<slot<T>> slot_;
  S* sched_;
};

template <class S, class T>
outcome<T>& started<S, T>::wait() {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (!finished()) {
    sched_->run_once(1s);
    if (std::chrono::steady_clock::now() > until) FAIL("a call did not complete");
  }
  return slot_->result;
}

/// A call to be made later: `CALL(socket.recv(buffer, how...))`.
#define CALL(...) [&](auto&&... how) -> decltype(auto) { return __VA_ARGS__; }

// The call that a flow makes. Only this part depends on the type of the call, so that the rest is
// compiled once for all calls.
template <class S, class T>
struct making : slot<T> {
  using given = std::conditional_t<awaits<S>, rouse::task<T>, T>;
  virtual given make(std::error_code& ec) = 0;
};
template <class S, class T, class Call>
struct making_call final : making<S, T> {
  explicit making_call(Call c) : call(std::move(c)) {}
  typename making<S, T>::given make(std::error_code& ec) override { return call(ec); }
  Call call;
};
template <class S, class T, class Call>
  requires awaits<S>
struct making_call<S, T, Call> final : making<S, T> {
  explicit making_call(Call c) : call(std::move(c)) {}
  rouse::task<T> make(std::error_code& ec) override { co_return co_await call(ec); }
  Call call;
};
template <class T>
struct handler {
  void operator()(std::error_code ec, T value) const { where->set(ec, std::move(value)); }
  std::shared_ptr<slot<T>> where;
};
template <>
struct handler<rouse::done> {
  void operator()(std::error_code ec) const { where->set(ec, {}); }
  std::shared_ptr<slot<rouse::done>> where;
};

template <class S, class T>
started<S, T> start_making(S& sched, std::shared_ptr<making<S, T>> made) {
  if constexpr (awaits<S>) {
    sched.spawn([made]() -> rouse::task<> {
      std::error_code ec;
      T value = co_await made->make(ec);
      made->set(ec, std::move(value));
    });
  } else {
    sched.spawn([made] {
      std::error_code ec;
      T value = made->make(ec);
      made->set(ec, std::move(value));
    });
  }
  return {sched, std::move(made)};
}

/// Starts a call under the waker of S: `call(how...)` makes it.
template <class T = std::size_t, class S, class Call>
started<S, T> start(S& sched, Call call) {
  if constexpr (calls_back<S>) {
    auto where = std::make_shared<slot<T>>();
    call(handler<T>{where});
    return {sched, std::move(where)};
  } else {
    making<S, T>* const made = new making_call<S, T, Call>(std::move(call));
    return start_making<S, T>(sched, std::shared_ptr<making<S, T>>(made));
  }
}

/// Makes a call and runs the scheduler until it has completed.
template <class T = std::size_t, class S, class Call>
outcome<T> await(S& sched, Call call) {
  auto s = start<T>(sched, std::move(call));
  return std::move(s.wait());
}

/// Runs what is ready until `holds()`.
template <class S, class Condition>
void run_until(S& sched, Condition holds) {
  const auto until = std::chrono::steady_clock::now() + patience;
  do {
    sched.poll();
    if (std::chrono::steady_clock::now() > until) FAIL("the condition did not become true");
  } while (!holds());
}

/// Runs what is ready until `n` operations wait in the engine.
template <class S>
void until_pending(S& sched, std::size_t n) {
  run_until(sched, [&] { return sched.engine().active() == n; });
  sched.poll(); // submits the operations of this turn to the kernel
}

/// A listener and both ends of a connection, over loopback.
template <class S>
struct connected_pair {
  S sched;
  rouse::socket<S> listener{sched};
  rouse::socket<S> server;
  rouse::socket<S> client{sched};

  explicit connected_pair(int family = AF_INET);
};

template <class S>
connected_pair<S>::connected_pair(int family) : listener(sched, family), client(sched, family) {
  listener.bind({family == AF_INET ? "127.0.0.1" : "::1", 0});
  listener.listen();
  auto accepted = start<rouse::socket<S>>(sched, CALL(listener.accept(how...)));
  const auto connected =
      await<rouse::done>(sched, CALL(client.connect(listener.local_endpoint(), how...)));
  REQUIRE(!connected.ec);
  REQUIRE(!accepted.wait().ec);
  server = std::move(accepted.wait().value);
}

/// A listener of `sched` on a free port.
template <class S>
rouse::socket<S> listening(S& sched, int backlog = 128) {
  rouse::socket listener{sched};
  listener.bind({"127.0.0.1", 0});
  listener.listen(backlog);
  return listener;
}

// Of a socket, or of a TLS socket.
template <class S, template <class> class Socket>
outcome<std::size_t> send(S& sched, Socket<S>& s, std::string_view text) {
  return await(sched, CALL(s.send_all(text, how...)));
}

/// Receives exactly n bytes, or those up to the end of the stream.
template <class S, template <class> class Socket>
std::string receive(S& sched, Socket<S>& s, std::size_t n) {
  std::string text(n, '\0');
  auto got = await(sched, CALL(s.recv_exactly(text, how...)));
  CHECK(!got.ec);
  text.resize(got.value);
  return text;
}

/// Sends a datagram.
template <class S>
outcome<std::size_t> send_to(S& sched, rouse::socket<S>& s, std::string_view text,
                             const rouse::endpoint& to) {
  return await(sched, CALL(s.send_to(text, to, how...)));
}

/// The text of the next datagram, and its sender.
template <class S>
std::string recv_text(S& sched, rouse::socket<S>& s, rouse::endpoint* from = nullptr) {
  std::array<char, 64> buf;
  const auto got = await<rouse::datagram>(sched, CALL(s.recv_from(buf, 5s, how...)));
  CHECK(!got.ec);
  if (from) *from = got.value.from;
  return {buf.data(), got.value.bytes};
}

/// While it exists, an emulated kernel reports all events of one moment together, as a real one
/// does: for a test of what happens then.
class punctual_kernel {
public:
#if ROUSE_KQUEUE && ROUSE_LINUX
  punctual_kernel() { kqueue_emulation::control::punctual = true; }
  ~punctual_kernel() { kqueue_emulation::control::punctual = false; }
#else
  punctual_kernel() {}
  ~punctual_kernel() {}
#endif
};

/// More than the kernel's buffers hold: sending it waits until the peer reads.
inline std::string large_block() { return std::string(std::size_t{32} << 20, 'x'); }

/// Raises SIGINT as the system would, on another thread; some rouse::signals must wait for it.
inline void ctrl_c() {
#if ROUSE_WINDOWS
  std::thread([] { CHECK(rouse::os::signal_table::handle(CTRL_C_EVENT)); }).join();
#else
  std::thread([] { ::kill(::getpid(), SIGINT); }).join();
#endif
}

// These functions, for each scheduler, are compiled in main.cpp only as well.
#define TESTING_RESULT(S, T)                                                                       \
  TESTING_COMPILED_ONCE class started<S, T>;                                                       \
  TESTING_COMPILED_ONCE started<S, T> start_making(S&, std::shared_ptr<making<S, T>>);
#define TESTING_SCHEDULER(S)                                                                       \
  TESTING_RESULT(S, std::size_t)                                                                   \
  TESTING_RESULT(S, rouse::done)                                                                   \
  TESTING_RESULT(S, rouse::socket<S>)                                                              \
  TESTING_COMPILED_ONCE struct connected_pair<S>;                                                  \
  TESTING_COMPILED_ONCE rouse::socket<S> listening(S&, int);                                       \
  TESTING_COMPILED_ONCE outcome<std::size_t> send(S&, rouse::socket<S>&, std::string_view);        \
  TESTING_COMPILED_ONCE std::string receive(S&, rouse::socket<S>&, std::size_t);                   \
  TESTING_COMPILED_ONCE outcome<std::size_t> send_to(S&, rouse::socket<S>&, std::string_view,      \
                                                     const rouse::endpoint&);                      \
  TESTING_COMPILED_ONCE std::string recv_text(S&, rouse::socket<S>&, rouse::endpoint*);

TESTING_SCHEDULER(rouse::coroutines)
TESTING_SCHEDULER(rouse::fibers)
TESTING_SCHEDULER(rouse::threads)
TESTING_SCHEDULER(rouse::callbacks)

#undef TESTING_RESULT
#undef TESTING_SCHEDULER
#undef TESTING_COMPILED_ONCE

} // namespace testing

// The n-th allocation fails, for every n until none does: each public function that may allocate
// then throws std::bad_alloc (or reports that memory or threads are short), the program continues,
// nothing leaks, and the same scheduler still serves an echo.
//
// A program of its own, because it replaces operator new. Each round runs on a new thread, so that
// the memory blocks that a thread caches are freed with it. An argument selects the scenarios
// with a name that contains it.
#include <rouse/iostream.hpp>
#include <rouse/rouse.hpp>
#ifdef ROUSE_TEST_CERTIFICATES // OpenSSL is there
#include <rouse/tls.hpp>
#endif

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#if ROUSE_ASAN
#include <sanitizer/lsan_interface.h>
#endif

using namespace std::chrono_literals;

// ---- the allocations

namespace {

std::atomic<long> left{0}; // if positive, the last of so many allocations fails
std::atomic<bool> has_failed{false};
std::atomic<bool> stays_short{false}; // all later allocations fail too
std::atomic<long> live{0}; // allocated blocks

bool fails() noexcept {
  if (left.load() > 0 && left.fetch_sub(1) == 1) {
    has_failed = true;
    return true;
  }
  return has_failed && stays_short;
}
void* take(std::size_t size) noexcept {
  if (fails()) return nullptr;
  void* const p = std::malloc(size ? size : 1);
  if (p) ++live;
  return p;
}
void* take_or_throw(std::size_t size) {
  if (void* const p = take(size)) return p;
  throw std::bad_alloc();
}
void give_back(void* p) noexcept {
  if (p) --live;
  std::free(p);
}

} // namespace

void* operator new(std::size_t size) { return take_or_throw(size); }
void* operator new[](std::size_t size) { return take_or_throw(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return take(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return take(size); }
void operator delete(void* p) noexcept { give_back(p); }
void operator delete[](void* p) noexcept { give_back(p); }
void operator delete(void* p, std::size_t) noexcept { give_back(p); }
void operator delete[](void* p, std::size_t) noexcept { give_back(p); }

namespace {

constexpr auto patience = 30s; // only a failing round waits that long

const char* scenario_name = "";
const char* waker_name = "";
long round_number = 0;

[[noreturn]] void fail(const char* what, const char* more = "") {
  std::fprintf(stderr, "%s, %s, allocation %ld: %s %s\n", scenario_name, waker_name, round_number,
               what, more);
  std::_Exit(1);
}

[[noreturn]] void leaks() {
#if ROUSE_ASAN
  __lsan_do_leak_check();
#endif
  fail("leaks");
}

// The errors that a shortage of memory may cause: the shortage itself, and the end of a connection
// after the peer has failed.
bool is_shortage(const std::error_code& ec) {
#ifdef ROUSE_TEST_CERTIFICATES
  if (ec == rouse::tls::error::handshake_failed || ec == rouse::tls::error::truncated) return true;
#endif
  return ec == std::errc::not_enough_memory || ec == std::errc::resource_unavailable_try_again ||
         ec == std::errc::connection_refused || ec == std::errc::connection_reset ||
         ec == std::errc::broken_pipe || ec == std::errc::operation_canceled;
}

// Runs `f`. True if memory was short.
template <class F>
bool falls_short(F f) {
  try {
    f();
    return false;
  } catch (const std::bad_alloc&) {
  } catch (const std::system_error& e) {
    if (!is_shortage(e.code())) fail("threw", e.what());
  } catch (const std::exception& e) {
    fail("threw", e.what());
  }
  if (!has_failed) fail("memory is short although no allocation has failed");
  return true;
}

rouse::failure known_names(const std::string&, const std::string&,
                           std::vector<rouse::endpoint>& found) {
  found.emplace_back("127.0.0.1", 0);
  return {};
}

template <class S>
inline constexpr bool is_threads = std::is_same_v<typename S::waker_type, rouse::thread_waker>;

// Shared by the flows of a round: the last of them frees it.
template <class S>
struct world {
  explicit world(S& s) : sched(s), listener(s), client(s) {
    listener.bind({"127.0.0.1", 0});
    listener.listen();
  }
  S& sched;
  rouse::socket<S> listener, client, server;
  std::array<char, 16> there{}, here{};
  std::atomic<bool> done{false};
};
template <class S>
using shared_world = std::shared_ptr<world<S>>;

// ---- an echo, which must work afterwards

template <class S>
rouse::task<> serve_echo(shared_world<S> w) {
  w->server = co_await w->listener.accept();
  while (const std::size_t n = co_await w->server.recv(w->there))
    co_await w->server.send_all({w->there.data(), n});
}
template <class S>
rouse::task<> ask_echo(shared_world<S> w) {
  co_await w->client.connect(w->listener.local_endpoint());
  co_await w->client.send_all("ping");
  const std::size_t n = co_await w->client.recv_exactly(std::span(w->here).first(4));
  w->done = std::string_view(w->here.data(), n) == "ping";
  w->client.close();
}

using calls = rouse::callbacks;
using shared_calls = shared_world<calls>;

void echo_back(const shared_calls& w) {
  w->server.recv(w->there, [w](std::error_code ec, std::size_t n) {
    if (ec || n == 0) return w->server.close();
    w->server.send_all({w->there.data(), n}, [w](std::error_code, std::size_t) { echo_back(w); });
  });
}
void start_echo(calls&, const shared_calls& w) {
  w->listener.accept([w](std::error_code ec, rouse::socket<calls> s) {
    if (ec) throw std::system_error(ec);
    w->server = std::move(s);
    echo_back(w);
  });
  w->client.connect(w->listener.local_endpoint(), [w](std::error_code ec) {
    if (ec) throw std::system_error(ec);
    w->client.send_all("ping", [w](std::error_code e, std::size_t) {
      if (e) throw std::system_error(e);
      w->client.recv_exactly(std::span(w->here).first(4), [w](std::error_code, std::size_t n) {
        w->done = std::string_view(w->here.data(), n) == "ping";
        w->client.close();
      });
    });
  });
}
template <class S>
void start_echo(S& sched, const shared_world<S>& w) {
  sched.spawn([w] { return serve_echo<S>(w); });
  sched.spawn([w] { return ask_echo<S>(w); });
}

template <class S>
void run_until_done(S& sched, const std::atomic<bool>& done) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (!done) {
    sched.run_once(1s);
    if (std::chrono::steady_clock::now() > until) fail("hangs");
  }
}

// After the failure: flows that were left behind may still report it.
template <class S>
void check_usable(S& sched) {
  const auto w = std::make_shared<world<S>>(sched);
  start_echo(sched, w);
  const auto until = std::chrono::steady_clock::now() + patience;
  while (!w->done) {
    (void)falls_short([&] { sched.run_once(1s); });
    if (std::chrono::steady_clock::now() > until) fail("the scheduler is not usable afterwards");
  }
}

// Flows that throw: run() throws each exception. If memory stays short, some are replaced by
// std::bad_alloc.
struct thrown_numbers {
  int begun = 0, thrown = 0, short_of = 0;
  std::atomic<int> ended{0};

  void throw_one() {
    ++ended;
    throw 1;
  }
  template <class F>
  void begin(F one) {
    (void)falls_short([&] {
      for (; begun != 3; ++begun) one();
    });
  }
  template <class S>
  void check(S& sched) {
    for (bool over = false; !over;) {
      try {
        over = !falls_short([&] { sched.run(); });
        if (!over) ++short_of;
      } catch (int) {
        ++thrown;
      }
    }
    if (stays_short ? thrown + short_of == 0 && begun != 0 : thrown + short_of != begun)
      fail("an exception is lost");
    if (!stays_short && thrown != ended) fail("an exception was replaced");
  }
};

// ---- an echo over TLS

#ifdef ROUSE_TEST_CERTIFICATES
// OpenSSL allocates with malloc, so only the allocations of rouse and of the standard library fail.
rouse::tls::server_context make_site() {
  return {ROUSE_TEST_CERTIFICATES "/good.pem", ROUSE_TEST_CERTIFICATES "/good.key"};
}
rouse::tls::client_context make_web() {
  rouse::tls::client_context web;
  web.trust_file(ROUSE_TEST_CERTIFICATES "/root.pem");
  return web;
}
struct tls_contexts {
  rouse::tls::server_context site = make_site();
  rouse::tls::client_context web = make_web();
  rouse::tls::session_cache sessions;

  tls_contexts() { web.sessions(sessions); }
};

template <class S>
rouse::task<> serve_tls(shared_world<S> w, std::shared_ptr<tls_contexts> c) {
  rouse::tls::socket<S> s = co_await rouse::tls::accept(c->site, co_await w->listener.accept());
  while (const std::size_t n = co_await s.recv(w->there)) co_await s.send_all({w->there.data(), n});
}
template <class S>
rouse::task<> ask_tls(shared_world<S> w, std::shared_ptr<tls_contexts> c) {
  const auto port = w->listener.local_endpoint().port();
  rouse::tls::socket<S> s = co_await rouse::tls::connect(w->sched, c->web, "localhost", port);
  const std::array<rouse::const_buffer, 2> ping{rouse::const_buffer("pi"),
                                                rouse::const_buffer("ng")};
  co_await s.send_all(ping);
  const std::size_t n = co_await s.recv_exactly(std::span(w->here).first(4));
  w->done = std::string_view(w->here.data(), n) == "ping";
  s.close();
}
#endif

// ---- the rounds

template <class Round>
void in_a_thread(Round round) {
  std::thread(round).join();
  left = 0;
}

template <class Body>
void every_allocation(const char* name, const char* waker, Body body) {
  scenario_name = name;
  waker_name = waker;
  round_number = 0;
  stays_short = false;
  in_a_thread([&] { body(); }); // allocates the objects that a program creates once
  for (const bool short_of_memory : {false, true}) {
    stays_short = short_of_memory;
    for (round_number = 1;; ++round_number) {
      const long before = live;
      has_failed = false;
      in_a_thread([&] { body(); });
      const bool over = !has_failed;
      has_failed = false;
      const auto until = std::chrono::steady_clock::now() + patience;
      while (live > before) { // detached threads may still be ending
        if (std::chrono::steady_clock::now() > until) leaks();
        std::this_thread::yield();
      }
      if (over) break;
    }
  }
  std::printf("%s, %s: %ld allocations\n", name, waker, round_number - 1);
  std::fflush(stdout);
}

void arm() { left = round_number; }
void disarm() {
  left = 0;
  stays_short = false;
}

// One round: a scheduler is created, an operation on it fails to allocate, an echo must work.
template <class S, class Body>
void each_time(const char* name, const char* waker, Body body) {
  every_allocation(name, waker, [&] {
    const bool short_of_memory = stays_short;
    S sched;
    arm();
    (void)falls_short([&] { body(sched); });
    disarm();
    check_usable(sched);
    stays_short = short_of_memory;
  });
}

template <class S, class Task>
void run_one(S& sched, Task make) {
  auto done = std::make_shared<std::atomic<bool>>(false);
  sched.spawn([done, make]() -> rouse::task<> {
    co_await make();
    *done = true;
  });
  run_until_done(sched, *done);
}

#define ON(S, NAME, ...) each_time<S>(NAME, waker, [](S & sched) __VA_ARGS__)

template <class S>
void make_schedulers(const char* waker) {
  every_allocation("a scheduler is made", waker, [] {
    const bool short_of_memory = stays_short;
    arm();
    std::optional<S> sched;
    (void)falls_short([&] { sched.emplace(); });
    disarm();
    if (!sched) sched.emplace();
    check_usable(*sched);
    sched.reset();
    stays_short = short_of_memory;
  });
}

template <class S>
void with_any_waker(const char* waker) {
  make_schedulers<S>(waker);
  ON(S, "an echo", {
    const auto w = std::make_shared<world<S>>(sched);
    start_echo(sched, w);
    run_until_done(sched, w->done);
  });
  ON(S, "post", {
    auto done = std::make_shared<std::atomic<bool>>(false);
    sched.post([done] { *done = true; });
    run_until_done(sched, *done);
  });
  ON(S, "dump and the report", {
    const auto w = std::make_shared<world<S>>(sched);
    start_echo(sched, w);
    std::size_t lines = 0;
    sched.dump([&](std::string_view) { ++lines; });
    if (sched.engine_report().empty() || lines == 0) fail("no lines");
    run_until_done(sched, w->done);
  });
  ON(S, "run() throws the exceptions of posted functions", {
    thrown_numbers numbers;
    numbers.begin([&] { sched.post([&numbers] { numbers.throw_one(); }); });
    numbers.check(sched);
  });
}

template <class S>
void with_flows(const char* waker) {
  with_any_waker<S>(waker);
  ON(S, "spawn and join", {
    auto flow = std::make_shared<rouse::flow_handle<S>>();
    *flow = sched.spawn([&sched]() -> rouse::task<> { co_await sched.yield(); });
    run_one(sched, [flow]() -> rouse::task<> { co_await flow->join(); });
  });
  ON(S, "run() throws the exceptions of flows", {
    thrown_numbers numbers;
    numbers.begin([&] {
      sched.spawn([&numbers, &sched]() -> rouse::task<> {
        co_await sched.yield();
        numbers.throw_one();
      });
    });
    numbers.check(sched);
  });
  ON(S, "channels, locks, select", {
    run_one(sched, [&sched]() -> rouse::task<> {
      rouse::channel<int, S> numbers(sched, 20);
      rouse::channel<int, S> copy = numbers;
      for (int i = 0; i != 10; ++i) co_await numbers.send(i);
      co_await copy.send_error(std::make_exception_ptr(1));
      for (int i = 0; i != 10; ++i) (void)co_await copy.receive();
      try {
        (void)co_await copy.receive();
      } catch (int) {
      }
      numbers.post(7);
      std::optional<int> into;
      rouse::flow_mutex<S> mutex(sched);
      co_await mutex.lock();
      (void)co_await rouse::select(
          sched, rouse::cases(rouse::acquired(mutex), rouse::receiving(numbers, into)));
      rouse::flow_semaphore<S> permits(sched, 1);
      co_await permits.acquire();
    });
  });
  ON(S, "values sent with post, into a channel with a growing buffer", {
    auto numbers = std::make_shared<rouse::channel<int, S>>(sched, 0);
    int sent = 0, came = 0, lost = 0; // a loss is reported; if memory stays short, the first one is
    (void)falls_short([&] {
      for (; sent != 20; ++sent) numbers->post(sent);
    });
    while (falls_short([&] { sched.run(); })) ++lost;
    while (numbers->try_receive()) ++came;
    if (came + lost != sent && (!stays_short || lost == 0)) fail("a lost value is not reported");
  });
  ON(S, "flow_local", {
    static rouse::flow_local<std::string> text{std::string(100, 'x')};
    run_one(sched, []() -> rouse::task<> {
      if (text->size() != 100) fail("flow_local");
      co_return;
    });
  });
  ON(S, "a group", {
    run_one(sched, [&sched]() -> rouse::task<> {
      rouse::flow_group<S> group{sched};
      for (int i = 0; i != 2; ++i)
        group.spawn([&sched]() -> rouse::task<> { co_await sched.yield(); });
      co_await group.join();
    });
  });
#ifdef ROUSE_TEST_CERTIFICATES
  ON(S, "an echo over TLS", {
    const auto w = std::make_shared<world<S>>(sched);
    const auto contexts = std::make_shared<tls_contexts>();
    sched.spawn([w, contexts] { return serve_tls<S>(w, contexts); });
    sched.spawn([w, contexts] { return ask_tls<S>(w, contexts); });
    run_until_done(sched, w->done);
  });
#endif
  ON(S, "names", {
    const auto w = std::make_shared<world<S>>(sched);
    run_one(sched, [w]() -> rouse::task<> {
      const auto port = w->listener.local_endpoint().port();
      (void)co_await rouse::resolve(w->sched, "localhost", port);
      rouse::socket<S> s = co_await rouse::connect(w->sched, "localhost", port);
      std::array<rouse::endpoint, 1> list{w->listener.local_endpoint()};
      rouse::socket<S> t = co_await rouse::connect(w->sched, list);
    });
  });
  ON(S, "limits and tokens", {
    auto [a, b] = rouse::socket_pair(sched);
    auto pair =
        std::make_shared<std::pair<rouse::socket<S>, rouse::socket<S>>>(std::move(a), std::move(b));
    run_one(sched, [pair, &sched]() -> rouse::task<> {
      std::array<char, 8> buf;
      std::stop_source stop;
      std::error_code ec;
      (void)co_await pair->first.recv(buf, 0s, ec);
      stop.request_stop();
      (void)co_await pair->first.recv(buf, {1h, stop.get_token()}, ec);
      co_await sched.sleep_for(0s);
    });
  });
  ON(S, "lent buffers, lists, peeking, a reader", {
    auto [a, b] = rouse::socket_pair(sched);
    auto pair =
        std::make_shared<std::pair<rouse::socket<S>, rouse::socket<S>>>(std::move(a), std::move(b));
    run_one(sched, [pair]() -> rouse::task<> {
      std::array<char, 8> buf;
      co_await pair->first.send_all("one\ntwo\nthree\nfour\n");
      (void)co_await pair->second.peek(buf);
      rouse::reader in{pair->second};
      while (in.buffered().empty()) (void)co_await in.read_line();
      co_await pair->first.send_all("five");
      const rouse::loan bytes = co_await pair->second.receive();
      if (bytes.empty()) fail("nothing is lent");
    });
  });
  ON(S, "datagrams", {
    auto s = std::make_shared<rouse::socket<S>>(sched, AF_INET, SOCK_DGRAM);
    s->bind({"127.0.0.1", 0});
    run_one(sched, [s]() -> rouse::task<> {
      std::array<char, 8> buf;
      co_await s->send_to("a", s->local_endpoint());
      (void)co_await s->recv_from(buf);
      rouse::outgoing out[1];
      out[0].buffer = rouse::const_buffer("b", 1);
      out[0].to = s->local_endpoint();
      (void)co_await s->send_batch(out);
      rouse::incoming in[1];
      in[0].buffer = buf;
      (void)co_await s->recv_batch(in);
    });
  });
#if !ROUSE_WINDOWS
  ON(S, "descriptors", {
    auto [a, b] = rouse::socket_pair(sched);
    auto pair =
        std::make_shared<std::pair<rouse::socket<S>, rouse::socket<S>>>(std::move(a), std::move(b));
    run_one(sched, [pair]() -> rouse::task<> {
      std::array<char, 8> buf;
      const rouse::native_handle_type one[] = {pair->first.native_handle()};
      co_await pair->first.send_descriptors("x", one);
      auto [n, handles] = co_await pair->second.recv_descriptors(buf);
      if (n != 1 || handles.size() != 1) fail("no descriptor arrived");
    });
  });
  ON(S, "signals", {
    auto signals = std::make_shared<rouse::signals<S>>(sched, std::initializer_list<int>{SIGUSR1});
    ::raise(SIGUSR1);
    run_one(sched, [signals]() -> rouse::task<> {
      if (co_await signals->wait() != SIGUSR1) fail("another signal");
    });
  });
#endif
  ON(S, "a server", {
    auto done = std::make_shared<std::atomic<bool>>(false);
    rouse::socket listener{sched};
    listener.bind({"127.0.0.1", 0});
    listener.listen();
    const auto where = listener.local_endpoint();
    auto server = std::make_shared<rouse::server<S>>(
        rouse::serve(sched, std::move(listener), [](rouse::socket<S> c) -> rouse::task<> {
          std::array<char, 8> buf;
          while (const std::size_t n = co_await c.recv(buf)) co_await c.send_all({buf.data(), n});
        }));
    run_one(sched, [where, server, &sched]() -> rouse::task<> {
      std::array<char, 8> buf;
      rouse::socket<S> c{sched};
      co_await c.connect(where);
      co_await c.send_all("a");
      (void)co_await c.recv(buf);
      c.close();
      server->stop();
      co_await server->join();
    });
  });
  if constexpr (rouse::detail::blocking_waker<typename S::waker_type>) {
    ON(S, "an iostream", {
      auto [a, b] = rouse::socket_pair(sched);
      auto pair = std::make_shared<std::pair<rouse::socket<S>, rouse::socket<S>>>(std::move(a),
                                                                                  std::move(b));
      run_one(sched, [pair]() -> rouse::task<> {
        rouse::socket_stream out{std::move(pair->first)}, in{std::move(pair->second)};
        out << std::string(50, 'x') << std::endl;
        std::string line;
        if (std::getline(in, line) && line.size() != 50) fail("another line");
        if (in.bad() || out.bad()) throw std::bad_alloc(); // the streams swallow exceptions
        co_return;
      });
    });
    ON(S, "functions that return what they call", {
      auto done = std::make_shared<std::atomic<bool>>(false);
      sched.spawn([done, &sched] {
        rouse::channel<int, S> numbers(sched, 1);
        numbers.send(1);
        *done = numbers.receive() == 1;
      });
      run_until_done(sched, *done);
    });
  }
}

void with_handlers(const char* waker) {
  using S = rouse::callbacks;
  with_any_waker<S>(waker);
  ON(S, "spawn and join", {
    auto done = std::make_shared<std::atomic<bool>>(false);
    auto flow = sched.spawn([done] {});
    flow.join([done](std::error_code) { *done = true; });
    run_until_done(sched, *done);
  });
  ON(S, "channels", {
    auto done = std::make_shared<std::atomic<bool>>(false);
    rouse::channel<int, S> numbers(sched, 0);
    for (int i = 0; i != 3; ++i) numbers.send(i, [](std::error_code) {});
    numbers.send_error(std::make_exception_ptr(1), [](std::error_code) {});
    numbers.receive([done](std::error_code, std::optional<int> n) { *done = n == 0; });
    run_until_done(sched, *done);
  });
  ON(S, "names", {
    const auto w = std::make_shared<world<S>>(sched);
    const auto port = w->listener.local_endpoint().port();
    rouse::resolve(sched, "localhost", port,
                   [w, port](std::error_code ec, const std::vector<rouse::endpoint>&) {
                     if (ec) throw std::system_error(ec);
                     rouse::connect(w->sched, "localhost", port,
                                    [w](std::error_code e, rouse::socket<S>) {
                                      if (e) throw std::system_error(e);
                                      w->done = true;
                                    });
                   });
    run_until_done(sched, w->done);
  });
  ON(S, "run() throws the exceptions of handlers", {
    thrown_numbers numbers;
    numbers.begin([&] { sched.yield([&numbers](std::error_code) { numbers.throw_one(); }); });
    numbers.check(sched);
  });
}

#if ROUSE_WINDOWS
constexpr int no_signal = 0;
#else
constexpr int no_signal = MSG_NOSIGNAL;
#endif

// A server on two cores, with a client thread that allocates nothing.
template <class S>
void per_core(const char* waker) {
  every_allocation("a server on two cores", waker, [] {
    const bool short_of_memory = stays_short;
    std::atomic<int> port{0};
    std::thread client([&] {
      while (port == 0) std::this_thread::yield();
      if (port < 0) return;
      rouse::native_handle_type h;
      if (rouse::os::open_socket(AF_INET, SOCK_STREAM, 0, true, h)) return;
      const rouse::os::socket_address to(
          rouse::endpoint("127.0.0.1", static_cast<std::uint16_t>(port.load())));
      char byte = 'x';
      if (::connect(h, &to.any, to.length) == 0 && ::send(h, &byte, 1, no_signal) == 1)
        (void)!::recv(h, &byte, 1, 0);
      rouse::os::close_socket(h);
    });
    arm();
    (void)falls_short([&] {
      rouse::per_core<S> server{{"127.0.0.1", 0}, 2};
      port = server.local_endpoint().port();
      server.run([&](rouse::socket<S> c) -> rouse::task<> {
        std::array<char, 1> buf;
        (void)co_await c.recv(buf);
        co_await c.send_all(buf);
        server.stop();
      });
    });
    disarm();
    if (port == 0) port = -1;
    client.join();
    stays_short = short_of_memory;
  });
}

void endpoints(const char* waker) {
  every_allocation("endpoints and their texts", waker, [] {
    const bool short_of_memory = stays_short;
    arm();
    (void)falls_short([] {
      const auto ep = rouse::endpoint::parse("[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535");
      if (to_string(ep).empty()) fail("no text");
      try {
        (void)rouse::endpoint::parse("nonsense that is longer than a short string may be");
      } catch (const std::system_error& e) {
        if (e.code() != std::errc::invalid_argument) throw;
      }
    });
    disarm();
    stays_short = short_of_memory;
  });
}

const char* wanted = "";

} // namespace

int main(int argc, char** argv) {
  if (argc > 1) wanted = argv[1];
#ifdef ROUSE_TEST_CERTIFICATES
  ::setenv("SSL_CERT_FILE", ROUSE_TEST_CERTIFICATES "/root.pem", 1); // a quick system's store
#endif
  std::fprintf(stderr, "engine: %s\n", rouse::callbacks{}.engine_report().c_str());
  rouse::detail::lookup_helpers::look_up = &known_names;
  const auto run = [](const char* waker, void (*all)(const char*)) {
    if (std::string_view(waker).find(wanted) != std::string_view::npos) all(waker);
  };
  run("no waker", &endpoints);
  run("coroutines", &with_flows<rouse::coroutines>);
  run("fibers", &with_flows<rouse::fibers>);
  run("threads", &with_flows<rouse::threads>);
  run("callbacks", &with_handlers);
  run("coroutines", &per_core<rouse::coroutines>);
  run("fibers", &per_core<rouse::fibers>);
  std::puts("every allocation has failed once");
}

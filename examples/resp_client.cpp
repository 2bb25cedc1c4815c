// A client of Redis (RESP2), written once: `resp_client PORT [coroutines|fibers|threads [ROOTS]]`.
//
// Its calls are awaitables with coroutines, and plain values with fibers and threads. Its streams
// are sockets; with a file of root certificates (PEM), and compiled with WITH_TLS, TLS sockets.
#include <rouse/rouse.hpp>
#if defined(WITH_TLS)
#include <rouse/tls.hpp>
#endif

#include <charconv>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

using namespace std::chrono_literals;

struct reply {
  char type = '_'; // + text, - error, : number, $ bytes, * list; _ nil
  std::string text;
  long long number = 0;
  std::vector<reply> list;
};

template <rouse::byte_stream Stream>
class redis {
public:
  explicit redis(Stream conn) : conn_(std::move(conn)) {}

  // Adds a command to those that `send` sends in one piece.
  template <std::convertible_to<std::string_view>... Words>
  void add(const Words&... words) {
    commands_ += "*" + std::to_string(sizeof...(words)) + "\r\n";
    for (const std::string_view word : {std::string_view(words)...}) {
      commands_ += "$" + std::to_string(word.size()) + "\r\n";
      commands_.append(word).append("\r\n");
    }
  }
  rouse::task<> send() {
    co_await conn_.send_all(commands_, 5s);
    commands_.clear();
  }

  // The next reply. An error that the server reports is a reply too: the connection stays usable.
  rouse::task<reply> receive() {
    const std::string_view line = co_await in_.read_until("\r\n", 5s);
    if (!line.ends_with("\r\n") || line.size() < 3)
      throw std::runtime_error("redis: the connection has ended");
    reply r{line[0], std::string(line.substr(1, line.size() - 3)), 0, {}};
    if (r.type == '+' || r.type == '-') co_return r;
    r.number = number_in(r.text);
    if (r.type == ':') co_return r;
    if (r.number < 0) co_return reply{};
    if (r.type == '$') {
      const auto size = static_cast<std::size_t>(r.number);
      const std::string_view bytes = co_await in_.read_exactly(size + 2, 5s);
      if (bytes.size() != size + 2) throw std::runtime_error("redis: the connection has ended");
      r.text = bytes.substr(0, size);
    } else if (r.type == '*') {
      while (r.list.size() != static_cast<std::size_t>(r.number))
        r.list.push_back(co_await receive());
    } else {
      throw std::runtime_error("redis: not RESP: " + r.text);
    }
    co_return r;
  }

  template <class... Words>
  rouse::task<reply> call(const Words&... words) {
    add(words...);
    return answered();
  }

private:
  rouse::task<reply> answered() {
    co_await send();
    co_return co_await receive();
  }

  static long long number_in(std::string_view text) {
    long long n = 0;
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (ec != std::errc{} || end != text.data() + text.size())
      throw std::runtime_error("redis: not a number: " + std::string(text));
    return n;
  }

  Stream conn_;
  rouse::reader<Stream> in_{conn_};
  std::string commands_;
};

std::ostream& operator<<(std::ostream& out, const reply& r) {
  if (r.type == '_') return out << "nil";
  if (r.type != '*') return out << r.text;
  out << '[';
  for (std::size_t i = 0; i != r.list.size(); ++i) out << (i ? ", " : "") << r.list[i];
  return out << ']';
}

template <rouse::byte_stream Stream>
rouse::task<> talk(Stream conn) {
  redis db{std::move(conn)};
  std::cout << "PING: " << co_await db.call("PING") << '\n';
  std::cout << "SET: " << co_await db.call("SET", "greeting", "hello, world") << '\n';
  std::cout << "GET: " << co_await db.call("GET", "greeting") << '\n';
  std::cout << "GET: " << co_await db.call("GET", "no such key") << '\n';
  std::cout << "INCR: " << co_await db.call("INCR", "greeting") << '\n';
  std::cout << "SET: " << co_await db.call("SET", "counter", "40") << '\n';

  for (int i = 0; i != 2; ++i) db.add("INCR", "counter"); // both are sent in one piece
  co_await db.send();
  for (int i = 0; i != 2; ++i) std::cout << "INCR: " << co_await db.receive() << '\n';

  std::cout << "MGET: " << co_await db.call("MGET", "greeting", "no such key", "counter") << '\n';
  std::cout << "DEL: " << co_await db.call("DEL", "greeting", "counter") << std::endl;
}

template <class Scheduler>
rouse::task<> connect_and_talk(Scheduler& sched, std::uint16_t port, const char* roots) {
  if (!roots) co_return co_await talk(co_await rouse::connect(sched, "127.0.0.1", port, 5s));
#if defined(WITH_TLS)
  rouse::tls::client_context trusting;
  trusting.trust_file(roots);
  co_await talk(co_await rouse::tls::connect(sched, trusting, "localhost", port, 5s));
#else
  throw std::runtime_error("compiled without TLS");
#endif
}

template <class Scheduler>
void run(std::uint16_t port, const char* roots) {
  Scheduler sched;
  sched.spawn(connect_and_talk(sched, port, roots));
  sched.run();
}

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: resp_client PORT [coroutines|fibers|threads [ROOTS]]\n";
    return 2;
  }
  const auto port = static_cast<std::uint16_t>(std::atoi(argv[1]));
  const std::string_view waker = argc > 2 ? argv[2] : "coroutines";
  const char* const roots = argc > 3 ? argv[3] : nullptr;
  try {
    if (waker == "fibers")
      run<rouse::fibers>(port, roots);
    else if (waker == "threads")
      run<rouse::threads>(port, roots);
    else
      run<rouse::coroutines>(port, roots);
  } catch (const std::exception& e) {
    std::cerr << "resp_client: " << e.what() << '\n';
    return 1;
  }
}

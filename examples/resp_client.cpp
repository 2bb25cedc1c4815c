// A client of Redis (RESP2), written once: `resp_client PORT [coroutines|fibers|threads]`.
//
// Its calls are awaitables with coroutines, and plain values with fibers and threads.
#include <rouse/rouse.hpp>

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

template <class Scheduler>
class redis {
public:
  explicit redis(Scheduler& s) : conn_(s) {}

  rouse::task<> connect(rouse::endpoint server) { co_await conn_.connect(server, 5s); }

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

  rouse::socket<Scheduler> conn_;
  rouse::reader<Scheduler> in_{conn_};
  std::string commands_;
};

std::ostream& operator<<(std::ostream& out, const reply& r) {
  if (r.type == '_') return out << "nil";
  if (r.type != '*') return out << r.text;
  out << '[';
  for (std::size_t i = 0; i != r.list.size(); ++i) out << (i ? ", " : "") << r.list[i];
  return out << ']';
}

template <class Scheduler>
rouse::task<> talk(Scheduler& sched, rouse::endpoint server) {
  redis db{sched};
  co_await db.connect(server);
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
void run(rouse::endpoint server) {
  Scheduler sched;
  sched.spawn(talk(sched, server));
  sched.run();
}

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: resp_client PORT [coroutines|fibers|threads]\n";
    return 2;
  }
  const rouse::endpoint server{"127.0.0.1", static_cast<std::uint16_t>(std::atoi(argv[1]))};
  const std::string_view waker = argc > 2 ? argv[2] : "coroutines";
  try {
    if (waker == "fibers")
      run<rouse::fibers>(server);
    else if (waker == "threads")
      run<rouse::threads>(server);
    else
      run<rouse::coroutines>(server);
  } catch (const std::exception& e) {
    std::cerr << "resp_client: " << e.what() << '\n';
    return 1;
  }
}

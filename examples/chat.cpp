// A chat for telnet: `chat [PORT]`. Who connects says a name first; what they say then, a line at a
// time, goes to all others. `telnet 127.0.0.1 PORT`
//
// Two fibers for each: one listens to them, one speaks to them, out of a channel that holds so many
// lines. Whoever does not keep up is dropped; the others do not wait. Ctrl-C ends it.
#include <rouse/rouse.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

using namespace std::chrono_literals;
using rouse::fibers;

constexpr std::size_t longest_line = 1024; // a longer one ends the connection
constexpr std::size_t lines_kept = 256; // for somebody who is slow

struct guest {
  rouse::socket<fibers> conn;
  rouse::channel<std::string, fibers> lines; // for them
  std::string farewell = " has left\n";

  // Tells them what comes, until the channel is closed.
  void speak() {
    std::error_code ec;
    while (auto line = lines.receive()) {
      while (auto next = lines.try_receive()) *line += *next; // all that is there, in one piece
      conn.send_all(*line, ec);
      if (ec) return conn.close(); // whoever listens to them is woken
    }
  }
};

using guests = std::map<std::string, std::shared_ptr<guest>>; // by name

void tell_all_but(const std::string& name, const guests& room, const std::string& line) {
  for (const auto& [other, g] : room) {
    if (other == name || g->lines.try_send(std::string(line))) continue;
    g->farewell = " does not keep up\n";
    g->conn.close();
  }
}

// A line without its end, and without what a terminal would obey.
std::string clean(std::string_view line) {
  std::string text(line);
  std::erase_if(text, [](unsigned char c) { return c < ' ' || c == 127; });
  return text;
}

// A name that nobody has yet; none if they leave before they have said one.
std::string ask_name(const guests& room, guest& g, rouse::reader<fibers>& in) {
  for (std::string_view question = "your name? ";; question = "another name? ") {
    g.conn.send_all(question, 10s);
    const std::string_view line = in.read_line(60s);
    const std::string name = clean(line);
    const bool good = !name.empty() && name.size() <= 20 && !room.contains(name);
    if (good || line.empty()) return name;
  }
}

void welcome(fibers& sched, guests& room, rouse::socket<fibers> conn) {
  const auto me = std::make_shared<guest>(std::move(conn),
                                          rouse::channel<std::string, fibers>(sched, lines_kept));
  me->conn.set_option(rouse::tcp_no_delay{true}); // a line does not wait for the next
  rouse::reader in{me->conn, longest_line};
  const std::string name = ask_name(room, *me, in);
  if (name.empty()) return;
  room[name] = me;
  tell_all_but({}, room, "* " + name + " has come\n");
  auto speaker = sched.spawn([me] { me->speak(); });
  std::error_code ec;
  for (std::string_view line; !(line = in.read_line(ec)).empty();) {
    tell_all_but(name, room, name + ": " + clean(line) + "\n");
    sched.yield(ec); // however much one says at once, the others come to hear it
  }
  room.erase(name);
  tell_all_but({}, room, "* " + name + me->farewell);
  me->lines.close();
  speaker.join(5s, ec); // they may still be listening
  me->conn.close();
}

void report(std::exception_ptr thrown, const rouse::endpoint& peer) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::exception& e) {
    std::clog << peer << ": " << e.what() << '\n';
  }
}

int main(int argc, char** argv) {
  const auto port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 0);
  fibers sched;
  guests room;
  rouse::socket listener{sched};
  listener.bind({"127.0.0.1", port});
  listener.listen();
  std::cout << "listening on 127.0.0.1:" << listener.local_endpoint().port()
            << ", engine: " << sched.engine_report() << std::endl;
  auto service = rouse::serve(
      sched, std::move(listener),
      [&](rouse::socket<fibers> conn) { welcome(sched, room, std::move(conn)); },
      {.connections = 1000}, report);
  rouse::signals interrupted{sched, {SIGINT, SIGTERM}};
  sched.spawn([&] {
    interrupted.wait();
    service.stop();
    service.join();
  });
  sched.run();
}

// A chat for telnet: `chat [PORT]`, then `telnet 127.0.0.1 PORT`. A guest first enters a name; each
// further line goes to all other guests.
//
// Each guest has two fibers: one reads from the guest, the other writes to the guest from a channel
// of limited capacity. A guest that does not keep up is dropped, so that the others do not wait.
// Ctrl-C ends the chat.
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
constexpr std::size_t lines_kept = 256;

struct guest {
  rouse::socket<fibers> conn;
  rouse::channel<std::string, fibers> lines; // to this guest
  std::string farewell = " has left\n";

  // Sends the guest the lines of the channel until it is closed.
  void speak() {
    std::error_code ec;
    while (auto line = lines.receive()) {
      while (auto next = lines.try_receive()) *line += *next; // all lines, in one piece
      conn.send_all(*line, ec);
      if (ec) return conn.close(); // wakes the fiber that reads
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

// A line without its end and without control characters.
std::string clean(std::string_view line) {
  std::string text(line);
  std::erase_if(text, [](unsigned char c) { return c < ' ' || c == 127; });
  return text;
}

// A name that is not in use; none if the guest leaves before entering one.
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
  me->conn.set_option(rouse::tcp_no_delay{true}); // sends each line at once
  rouse::reader in{me->conn, longest_line};
  const std::string name = ask_name(room, *me, in);
  if (name.empty()) return;
  room[name] = me;
  tell_all_but({}, room, "* " + name + " has come\n");
  auto speaker = sched.spawn([me] { me->speak(); });
  std::error_code ec;
  for (std::string_view line; !(line = in.read_line(ec)).empty();) {
    tell_all_but(name, room, name + ": " + clean(line) + "\n");
    sched.yield(ec); // a guest that sends much does not starve others
  }
  room.erase(name);
  tell_all_but({}, room, "* " + name + me->farewell);
  me->lines.close();
  speaker.join(5s, ec); // the guest may still be reading
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

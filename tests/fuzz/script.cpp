// Random scripts of calls, cancels, closes and destructions against a model: each call completes
// once, and the received bytes are the sent bytes.
#include "fuzz.hpp"

#include <rouse/rouse.hpp>

#include <sys/socket.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

namespace {

using namespace std::chrono_literals;
using fuzz::require;
using scheduler = rouse::callbacks;

constexpr std::size_t pairs = 2;

// One direction of a connection.
struct stream {
  std::string sent, received;
  std::vector<std::size_t> sends; // indices of calls, in order
  std::array<int, 2> waiting{}; // receiving and sending calls
  std::array<bool, 2> composed{}; // whether a waiting call makes several requests
};

struct call {
  std::string bytes; // to send, or the buffer to receive into
  std::stop_source stop;
  bool sends = false;
  int completed = 0;
  std::size_t moved = 0;
};

class script {
public:
  explicit script(fuzz::input& in) : in_(in), sched_(std::make_unique<scheduler>()) {
    for (std::size_t i = 0; i != sockets_.size(); i += 2) {
      int ends[2];
      require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "there are sockets");
      sockets_[i] = rouse::socket<scheduler>::adopt(*sched_, ends[0]);
      sockets_[i + 1] = rouse::socket<scheduler>::adopt(*sched_, ends[1]);
    }
  }

  void run() {
    while (steps_ != 100 && !in_.empty()) step();
    in_ = fuzz::input(nullptr, 0); // handlers start no more calls
    if (steps_ % 3 == 0) return give_up();
    drain();
    compare();
  }

private:
  static constexpr std::size_t others(std::size_t socket) { return socket ^ 1; }

  void step() {
    ++steps_;
    const std::size_t what = in_.byte(), which = in_.byte() % sockets_.size();
    auto& s = sockets_[which];
    switch (what % 14) {
    case 0:
    case 1:
      return recv(which, 1 + in_.byte() * 8, false,
                  [&](call& c, auto done) { s.recv(c.bytes, c.stop.get_token(), done); });
    case 2:
      return recv(which, 1 + in_.byte(), false,
                  [&](call& c, auto done) { s.recv(c.bytes, 0s, done); });
    case 3:
      return recv(which, 1 + in_.byte() * 8, true,
                  [&](call& c, auto done) { s.recv_exactly(c.bytes, c.stop.get_token(), done); });
    case 4:
    case 5:
      return send(which, 1 + in_.byte(), false,
                  [&](call& c, auto done) { s.send(c.bytes, c.stop.get_token(), done); });
    case 6:
      return send(which, 1 + in_.byte() * 2000, true,
                  [&](call& c, auto done) { s.send_all(c.bytes, c.stop.get_token(), done); });
    case 7:
      if (!calls_.empty()) calls_[in_.byte() % calls_.size()]->stop.request_stop();
      return;
    case 8:
      return s.cancel();
    case 9:
      if (in_.byte() % 4 != 0) return;
      intact_[which / 2] = false;
      return s.close();
    case 10:
      if (in_.byte() % 4 != 0) return;
      intact_[which / 2] = false;
      s = {};
      return;
    case 11: {
      if (in_.byte() % 4 != 0) return;
      std::error_code ec;
      s.shutdown(rouse::shutdown_how::send, ec);
      return;
    }
    default:
      if (!inside_) sched_->poll();
    }
  }

  template <class Begin>
  void recv(std::size_t which, std::size_t size, bool composed, Begin begin) {
    start(streams_[others(which)], std::string(size, '\0'), false, composed, begin);
  }
  template <class Begin>
  void send(std::size_t which, std::size_t size, bool composed, Begin begin) {
    std::string bytes(size, '\0');
    for (char& c : bytes) c = static_cast<char>(next_++ * 7 >> 3);
    start(streams_[which], std::move(bytes), true, composed, begin);
  }

  // Calls in one direction complete in order, so the bytes of a call follow those of the previous
  // one. A call that makes several requests runs alone.
  template <class Begin>
  void start(stream& where, std::string bytes, bool sends, bool composed, Begin begin) {
    if (where.waiting[sends] != 0 && (composed || where.composed[sends])) return;
    ++where.waiting[sends];
    where.composed[sends] = composed;
    auto& c = *calls_.emplace_back(std::make_unique<call>());
    c.bytes = std::move(bytes);
    c.sends = sends;
    if (sends) where.sends.push_back(calls_.size() - 1);
    const bool chain = in_.byte() % 4 == 0;
    begin(c, [this, &c, &where, chain](std::error_code, std::size_t n) {
      require(++c.completed == 1, "a call completes once");
      --where.waiting[c.sends];
      require(n <= c.bytes.size(), "no more is moved than was asked for");
      c.moved = n;
      if (!c.sends) where.received.append(c.bytes, 0, n);
      if (chain && !in_.empty() && steps_ < 100) {
        inside_ = true;
        step();
        inside_ = false;
      }
    });
  }

  // The scheduler is destroyed while calls are pending.
  void give_up() {
    sched_.reset();
    for (auto& s : sockets_) require(!s.is_open(), "no socket outlives its scheduler open");
    for (const auto& c : calls_) require(c->completed <= 1, "a call completes at most once");
  }

  // Ends the waiting calls, then reads the remaining bytes of the connections.
  void drain() {
    for (auto& s : sockets_) s.cancel();
    sched_->run();
    for (const auto& c : calls_) require(c->completed == 1, "each call completes");
    for (std::size_t i = 0; i != sockets_.size(); ++i) {
      if (!intact_[i / 2]) continue;
      for (bool more = true; more;) {
        std::array<char, 4096> room;
        sockets_[i].recv(room, 0s, [&](std::error_code ec, std::size_t n) {
          streams_[others(i)].received.append(room.data(), n);
          more = !ec && n != 0;
        });
        sched_->run();
      }
    }
  }

  void compare() {
    for (std::size_t i = 0; i != streams_.size(); ++i) {
      stream& s = streams_[i];
      for (const std::size_t which : s.sends)
        s.sent.append(calls_[which]->bytes, 0, calls_[which]->moved);
      const bool prefix = s.received == std::string_view(s.sent).substr(0, s.received.size());
      require(prefix, "what is received is what was sent");
      if (intact_[i / 2]) require(s.received.size() == s.sent.size(), "no byte is lost");
    }
  }

  fuzz::input& in_;
  std::vector<std::unique_ptr<call>> calls_; // before the scheduler, which borrows them
  std::array<stream, pairs * 2> streams_; // index: the sender
  std::unique_ptr<scheduler> sched_;
  std::array<rouse::socket<scheduler>, pairs * 2> sockets_;
  std::array<bool, pairs> intact_{true, true};
  std::size_t steps_ = 0, next_ = 0;
  bool inside_ = false; // inside a handler
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in(data, size);
  script(in).run();
  return 0;
}

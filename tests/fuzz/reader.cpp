// The buffered reader against a model: a string of all bytes that were sent and not yet read.
#include "fuzz.hpp"

#include <rouse/rouse.hpp>

#include <sys/socket.h>

#include <optional>
#include <string>
#include <system_error>

namespace {

using namespace std::chrono_literals;
using fuzz::require;
using scheduler = rouse::callbacks;

class session {
public:
  explicit session(fuzz::input& in) : in_(in), most_(1 + in.byte() * 5) {
    int ends[2];
    require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "there are sockets");
    writer_ = ends[0];
    socket_ = rouse::socket<scheduler>::adopt(sched_, ends[1]);
    reader_.emplace(socket_, most_);
  }
  ~session() { ::close(writer_); }

  void run() {
    for (int steps = 0; steps != 200 && !in_.empty(); ++steps) step();
  }

private:
  void step() {
    switch (in_.byte() % 4) {
    case 0:
      return write();
    case 1:
      return read_until();
    case 2:
      return read_exactly();
    default:
      if (in_.byte() % 8 != 0) return read_until("\n");
      ::shutdown(writer_, SHUT_WR);
      ended_ = true;
    }
  }

  void write() {
    const std::string_view bytes = in_.take(in_.byte());
    if (ended_ || bytes.empty() || sent_.size() > 60'000) return;
    require(::send(writer_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL) ==
                static_cast<ssize_t>(bytes.size()),
            "the queue has room");
    sent_ += bytes;
  }

  void read_until() { read_until(std::string(in_.take(1 + in_.byte() % 3))); }
  void read_until(const std::string& delimiter) {
    if (delimiter.empty()) return;
    const std::size_t at = sent_.substr(0, most_).find(delimiter);
    const std::size_t end = at == std::string::npos ? 0 : at + delimiter.size();
    expect(end, [&](auto done) { reader_->read_until(delimiter, 0s, done); });
  }

  void read_exactly() {
    const std::size_t n = in_.byte() * 4;
    const bool sane = n != 0 && n <= most_;
    expect(
        sane && n <= sent_.size() ? n : 0, [&](auto done) { reader_->read_exactly(n, 0s, done); },
        sane     ? std::errc{}
        : n == 0 ? std::errc::invalid_argument
                 : std::errc::message_size);
  }

  // @param found  the number of bytes that must be returned; 0: the call must fail.
  template <class Call>
  void expect(std::size_t found, Call call, std::errc refused = {}) {
    int called = 0;
    std::error_code ec;
    std::string_view got;
    call([&](std::error_code error, std::string_view piece) {
      ++called;
      ec = error;
      got = piece;
    });
    sched_.run();
    require(called == 1, "the handler is called once");
    if (refused != std::errc{})
      require(ec == refused && got.empty(), "a senseless call is refused");
    else if (found != 0)
      require(!ec && got == std::string_view(sent_).substr(0, found),
              "what was asked for is given");
    else if (sent_.size() >= most_)
      require(ec == std::errc::message_size && got.empty(), "a piece that is too long is refused");
    else if (ended_)
      require(!ec && got == sent_, "at the end the rest is given");
    else
      require(ec == std::errc::timed_out && got.empty(), "what is not there is waited for");
    sent_.erase(0, got.size());
  }

  fuzz::input& in_;
  const std::size_t most_;
  scheduler sched_;
  rouse::socket<scheduler> socket_;
  std::optional<rouse::reader<scheduler>> reader_;
  int writer_ = -1;
  std::string sent_; // and not yet read
  bool ended_ = false;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in(data, size);
  session(in).run();
  return 0;
}

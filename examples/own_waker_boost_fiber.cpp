// Fibers of another library, Boost.Fiber: a parker of two functions, and a scheduling algorithm
// that runs the engine when no fiber is ready. (Needs libboost-fiber-dev.)
#include <rouse/rouse.hpp>

#include <boost/fiber/all.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <system_error>
#include <utility>

namespace fibers = boost::fibers;

class parker {
public:
  void park() {
    waits_ = true;
    while (!told_) me_->suspend();
  }
  void unpark() noexcept {
    told_ = true;
    if (waits_) fibers::context::active()->schedule(me_);
  }

private:
  fibers::context* const me_ = fibers::context::active();
  bool waits_ = false, told_ = false;
};

using scheduler = rouse::basic_scheduler<rouse::native_engine, rouse::parking_waker<parker>>;

// Where Boost would let the thread sleep, the engine waits, no longer than the fibers' timers
// allow.
class io_algorithm : public fibers::algo::round_robin {
public:
  explicit io_algorithm(scheduler& s) noexcept : sched_(s) {}

  fibers::context* pick_next() noexcept override {
    if (++picked_ % 64 == 0)
      sched_.turn((rouse::clock::time_point::min)()); // some fibers are always ready
    return round_robin::pick_next();
  }
  void suspend_until(const std::chrono::steady_clock::time_point& when) noexcept override {
    sched_.turn(when);
  }
  void notify() noexcept override { sched_.engine().wake(); } // from any thread

private:
  scheduler& sched_;
  unsigned picked_ = 0;
};

void echo(rouse::socket<scheduler> conn) {
  std::array<char, 4096> buf;
  try {
    while (auto n = conn.recv(buf)) conn.send_all({buf.data(), n});
  } catch (const std::system_error&) {
  } // ends this connection only
}

int main(int argc, char** argv) {
  const auto port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 0);
  static scheduler sched; // the thread's algorithm outlives main's variables
  fibers::use_scheduling_algorithm<io_algorithm>(sched);
  rouse::socket listener{sched};
  listener.bind({"127.0.0.1", port});
  listener.listen();
  std::cout << "listening on 127.0.0.1:" << listener.local_endpoint().port()
            << ", engine: " << sched.engine_report() << std::endl;
  for (;;) {
    fibers::fiber([conn = listener.accept()]() mutable { echo(std::move(conn)); }).detach();
  }
}

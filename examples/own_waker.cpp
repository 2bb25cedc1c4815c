// A wake-up of your own: with these two functions every socket call works. This one blocks threads.
#include <rouse/rouse.hpp>

#include <array>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

struct my_parker {
  void park() { // sleeps until unpark(), which may come first
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return woken_; });
  }
  void unpark() noexcept { // on the thread that runs the engine
    std::lock_guard lock(mutex_);
    woken_ = true;
    wake_.notify_one(); // under the lock: the woken thread destroys this object
  }

private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool woken_ = false;
};

using scheduler =
    rouse::basic_scheduler<rouse::shared_native_engine, rouse::parking_waker<my_parker>>;

void echo(rouse::socket<scheduler> conn) {
  std::array<char, 4096> buf;
  try {
    while (auto n = conn.recv(buf)) conn.send_all({buf.data(), n});
  } catch (const std::system_error&) {
  } // ends this connection only
}

void serve(rouse::socket<scheduler>& listener) {
  for (;;) std::thread([conn = listener.accept()]() mutable { echo(std::move(conn)); }).detach();
}

int main(int argc, char** argv) {
  const auto port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 0);
  scheduler sched;
  rouse::socket listener{sched};
  listener.bind({"127.0.0.1", port});
  listener.listen();
  std::cout << "listening on 127.0.0.1:" << listener.local_endpoint().port()
            << ", engine: " << sched.engine_report() << std::endl;
  std::thread([&] { serve(listener); }).detach();
  for (;;) sched.run(); // returns when nothing waits, as before the first accept
}

// rouse after <windows.h>, with its macros min, max, near, small and others.
#if defined(_WIN32)
#include <windows.h>
#endif
#include <rouse/rouse.hpp>

#include <array>

#include "shared.hpp"

namespace odr {

sizes second() {
  return {size_of<rouse::socket<rouse::coroutines>>,
          size_of<rouse::socket<rouse::fibers>>,
          size_of<rouse::socket<rouse::threads>>,
          size_of<rouse::socket<rouse::callbacks>>,
          size_of<rouse::fibers>,
          &rouse::os_category()};
}

bool round_trip(rouse::fibers& sched, rouse::socket<rouse::fibers>& listener) {
  std::array<char, 4> answer{};
  sched.spawn([&] {
    auto connection = listener.accept();
    connection.send_all("pong");
  });
  rouse::socket client{sched};
  client.connect(listener.local_endpoint());
  return client.recv_exactly(answer) == 4;
}

bool all_wakers() {
  int slept = 0;
  rouse::coroutines coroutines;
  coroutines.spawn([&]() -> rouse::task<> {
    co_await coroutines.yield();
    ++slept;
  });
  coroutines.run();
  rouse::threads threads;
  threads.spawn([&] { threads.yield(); });
  threads.run();
  rouse::callbacks callbacks;
  callbacks.yield([&](std::error_code) { ++slept; });
  callbacks.run();
  return slept == 2;
}

} // namespace odr

// A shared library with its own copy of rouse, which waits for a signal.
#include <rouse/rouse.hpp>

#include <chrono>
#include <system_error>
#include <thread>

namespace {

struct waiting {
  explicit waiting(int n) : caught{sched, {n}} {}
  rouse::callbacks sched;
  rouse::signals<rouse::callbacks> caught;
};

} // namespace

#if defined(_WIN32)
#define EXPORTED extern "C" __declspec(dllexport)
#else
#define EXPORTED extern "C" __attribute__((visibility("default")))
#endif

EXPORTED void* copy_open(int n) { return new waiting(n); }
EXPORTED void copy_close(void* w) { delete static_cast<waiting*>(w); }

// The next signal, or 0 if none arrives in time. On a thread that ends, because rouse's
// thread-local objects would keep the library in memory.
EXPORTED int copy_next(void* p, int milliseconds) {
  auto& w = *static_cast<waiting*>(p);
  int n = 0;
  std::thread([&] {
    w.caught.wait(std::chrono::milliseconds(milliseconds),
                  [&](std::error_code ec, int number) { n = ec ? 0 : number; });
    w.sched.run();
  }).join();
  return n;
}

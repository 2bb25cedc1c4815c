// Measures requests that a server delays, made with a library's blocking calls: first one, then
// many at a time, in fibers of one thread.
#pragma once
#include <rouse/install.hpp>
#include <rouse/rouse.hpp>

#include <chrono>
#include <cstdio>
#include <functional>
#include <string>

namespace measure {

using seconds = std::chrono::duration<double>;
inline constexpr int many = 100;

/// The time that `n` requests take, each in a fiber of its own.
inline seconds in_fibers(rouse::fibers& sched, int n, const std::function<void(int)>& request) {
  const auto begun = rouse::clock::now();
  for (int i = 0; i != n; ++i) sched.spawn([&request, i] { request(i); });
  sched.run();
  return rouse::clock::now() - begun;
}

/// Prints the time of one request and of many together. @returns the result of main.
///
/// @param prepare  called for each number before, also in a fiber.
/// @param request  takes a number and returns whether the reply was right.
inline int compare(const char* library, const std::function<void(int)>& prepare,
                   const std::function<bool(int)>& request) {
  rouse::fibers sched{rouse::stack_size{std::size_t{512} << 10}};
  rouse::install(sched);
  int right = 0;
  const auto counted = [&](int i) { right += request(i); };
  (void)in_fibers(sched, many, prepare);
  const seconds one = in_fibers(sched, 1, counted);
  const seconds all = in_fibers(sched, many, counted);
  rouse::uninstall();

  const double serial = one.count() * many, times = serial / all.count();
  std::printf(
      "%-10s %-8.8s one %.3f s, %d in turn would be %.1f s, together %.3f s: %.1f times one, "
      "%.0f times faster; %d of %d right\n",
      library, sched.engine_report().c_str(), one.count(), many, serial, all.count(),
      all.count() / one.count(), times, right, many + 1);
  if (all.count() > 3 * one.count()) std::printf("%s: above the goal of 3 times one\n", library);
  // Blocking calls would give 1; the margin is for busy machines.
  return right == many + 1 && times > 4 ? 0 : 1;
}

} // namespace measure

// hiredis' own test program, unchanged, as a fiber; its main is renamed to hiredis_tests.
#include <rouse/install.hpp>
#include <rouse/rouse.hpp>

#include <cstdio>

extern "C" int hiredis_tests(int count, char** arguments);

int main(int count, char** arguments) {
  rouse::fibers sched{rouse::stack_size{std::size_t{8} << 20}};
  rouse::install(sched);
  int result = 1;
  long turns = 0;
  auto tests = sched.spawn([&] { result = hiredis_tests(count, arguments); });
  sched.spawn([&] { // runs whenever the tests are parked
    while (!tests.ended()) {
      sched.sleep_for(std::chrono::milliseconds(1));
      ++turns;
    }
  });
  sched.run();
  std::printf("another fiber ran %ld times meanwhile\n", turns);
  return result != 0 || turns < 100;
}

// main() of each test program. It refuses to run on another engine than ROUSE_PROMISED_ENGINE
// names, and ends with a line that counts the tests by result and by waker.
#define CATCH_CONFIG_RUNNER
#define TESTING_MAIN
#include <support/testing.hpp>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <string>

namespace {

/// Catch names a test's run for the second type of a list "name - every_scheduler - 1";
/// TEMPLATE_TEST_CASE ends the name with the type itself.
class waker_names {
public:
  waker_names() {
#define ADD_LIST(list) add(" - " #list " - ", static_cast<testing::list*>(nullptr))
    ADD_LIST(every_scheduler);
    ADD_LIST(every_flowing);
    ADD_LIST(every_single);
    ADD_LIST(every_stacked);
#undef ADD_LIST
    for (const char* waker : all) wakers_[std::string(" - rouse::") + waker] = waker;
  }

  /// "coroutines", "fibers", "threads" or "callbacks"; "no waker" for any other test.
  [[nodiscard]] std::string of(const std::string& test) const {
    for (const auto& [end, waker] : wakers_)
      if (test.ends_with(end)) return waker;
    return all[4];
  }

  static constexpr const char* all[] = {"coroutines", "fibers", "threads", "callbacks", "no waker"};

private:
  template <class... S>
  void add(const std::string& list, std::tuple<S...>*) {
    int position = 0;
    ((wakers_[list + std::to_string(position++)] = name_of<S>()), ...);
  }
  template <class S>
  static const char* name_of() {
    if constexpr (std::is_same_v<S, rouse::coroutines>) return all[0];
    if constexpr (std::is_same_v<S, rouse::fibers>) return all[1];
    if constexpr (std::is_same_v<S, rouse::threads>) return all[2];
    if constexpr (std::is_same_v<S, rouse::callbacks>) return all[3];
    return all[4];
  }

  std::map<std::string, std::string> wakers_; // by the end of the test's name
};

/// "counted: 10 passed, 0 failed; 4 coroutines, 2 fibers, 2 threads, 1 callbacks, 1 no waker"
class counter : public Catch::TestEventListenerBase {
public:
  using TestEventListenerBase::TestEventListenerBase;

  void testCaseEnded(const Catch::TestCaseStats& test) override {
    ++tests_[names_.of(test.testInfo.name)];
  }
  void testRunEnded(const Catch::TestRunStats& run) override {
    const auto& tests = run.totals.testCases;
    std::cout << "counted: " << tests.passed + tests.failedButOk << " passed, " << tests.failed
              << " failed";
    const char* separator = "; ";
    for (const char* waker : waker_names::all) {
      std::cout << separator << tests_[waker] << ' ' << waker;
      separator = ", ";
    }
    std::cout << std::endl;
  }

private:
  waker_names names_;
  std::map<std::string, int> tests_;
};
CATCH_REGISTER_LISTENER(counter)

} // namespace

int main(int argc, char** argv) {
  const std::string report = rouse::callbacks{}.engine_report();
  std::fprintf(stderr, "engine: %s\n", report.c_str());
  if (const char* promised = std::getenv("ROUSE_PROMISED_ENGINE");
      promised && report.rfind(promised, 0) != 0) {
    std::fprintf(stderr, "promised: %s\n", promised);
    return 1;
  }
  std::cout << std::unitbuf; // so that the last line names the test before one that hangs
  return Catch::Session().run(argc, argv);
}

// Runs one hidden test case in another process, to see how the process ends and what it prints.
//
// The process executes this program anew: on Windows too, with threads, and with a main() that
// returns. A child that is a copy of the running test is in <support/child_process.hpp>.
#pragma once
#include <catch2/catch.hpp>
#include <rouse/rouse.hpp>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#if ROUSE_WINDOWS
#include <windows.h>
#else
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace testing {

struct process_end {
  int status = -1; ///< the argument of exit()
  bool aborted = false; ///< the process called abort() instead
  std::string said; ///< the text of both outputs
};

/// In a child: ends the process with status 99 after a minute, in case it hangs.
inline void end_if_it_hangs() {
  std::thread([] {
    std::this_thread::sleep_for(std::chrono::seconds(60));
    std::_Exit(99);
  }).detach();
}

/// Runs a test case of this program, tagged `[.child]`, in another process.
/// @param name  without quotes and commas
inline process_end run_test_case(const std::string& name) {
  process_end e;
#if ROUSE_WINDOWS
  std::array<char, 1024> path{};
  ::GetModuleFileNameA(nullptr, path.data(), static_cast<DWORD>(path.size() - 1));
  const std::string command = "\"\"" + std::string(path.data()) + "\" \"" + name + "\" 2>&1\"";
  std::FILE* const out = ::_popen(command.c_str(), "r");
#else
  std::array<char, 1024> path{};
  REQUIRE(::readlink("/proc/self/exe", path.data(), path.size() - 1) > 0);
  // exit() on a fiber's stack: LeakSanitizer does not scan main's, and would change the status.
  const std::string command = "ASAN_OPTIONS=\"$ASAN_OPTIONS:detect_leaks=0\" exec '" +
                              std::string(path.data()) + "' '" + name + "' 2>&1";
  std::FILE* const out = ::popen(command.c_str(), "r");
#endif
  REQUIRE(out);
  std::array<char, 256> piece;
  while (std::fgets(piece.data(), static_cast<int>(piece.size()), out)) e.said += piece.data();
#if ROUSE_WINDOWS
  e.status = ::_pclose(out);
  e.aborted = e.status == 3;
#else
  const int how = ::pclose(out);
  if (WIFEXITED(how)) e.status = WEXITSTATUS(how);
  e.aborted = WIFSIGNALED(how) && WTERMSIG(how) == SIGABRT;
#endif
  return e;
}

} // namespace testing

// The number of this process's file descriptors, to find leaks. Linux.
#pragma once
#include <rouse/rouse.hpp>

#if ROUSE_LINUX
#include <catch2/catch.hpp>

#include <cstddef>
#include <filesystem>
#include <iterator>

namespace testing {

inline std::ptrdiff_t open_descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
}

/// Checks that as many descriptors are open at its end as at its beginning. Declared first in a
/// test, so that it ends last.
class no_leak {
public:
  no_leak() : before_(open_descriptors()) {}
  no_leak(const no_leak&) = delete;
  ~no_leak() { CHECK(open_descriptors() == before_); }

private:
  std::ptrdiff_t before_;
};

} // namespace testing
#endif

#include <rouse/core/error.hpp>

#include <catch2/catch.hpp>

#include <cerrno>
#include <string>
#include <system_error>

using rouse::failure;

namespace {
const rouse::detail::windows_category windows; // whose table is the same wherever it is read
} // namespace

TEST_CASE("failure: nothing is no failure", "[error]") {
  CHECK(!failure());
  CHECK(!failure::from_os(0));
  CHECK(!failure().code());
}

TEST_CASE("failure: a std::errc keeps its meaning and has no number of the system", "[error]") {
  const failure f(std::errc::timed_out);
  CHECK(f.os_number() == 0);
  CHECK(f.code() == std::errc::timed_out);
  CHECK(f.code().category() == std::generic_category());
}

TEST_CASE("failure: a number of the system keeps its category", "[error]") {
  CHECK(failure::from_os(5).os_number() == 5);
  CHECK(failure::from_os(5).code() == std::error_code(5, rouse::os_category()));
}

TEST_CASE("windows_category: the numbers of Winsock and Win32 mean the same std::errc", "[error]") {
  CHECK(std::error_code(10061, windows) == std::errc::connection_refused);
  CHECK(std::error_code(1225, windows) == std::errc::connection_refused);
  CHECK(std::error_code(10054, windows) == std::errc::connection_reset);
  CHECK(std::error_code(64, windows) == std::errc::connection_reset);
}

TEST_CASE("windows_category: a number without a meaning equals only itself", "[error]") {
  CHECK(std::error_code(21, windows) == std::error_condition(21, windows));
  CHECK(std::error_code(21, windows) != std::error_condition(21, std::generic_category()));
}

TEST_CASE("windows_category: a number that has a meaning has its words", "[error]") {
  const std::string refused = std::generic_category().message(ECONNREFUSED);
  CHECK(windows.message(10061) == refused);
  CHECK(windows.message(1225) == refused);
}

TEST_CASE("windows_category: a number without a meaning has the words of the system", "[error]") {
  CHECK(windows.message(21) == std::system_category().message(21));
}

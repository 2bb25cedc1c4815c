// Files: read as a whole, and appended to.
#include <rouse/tls.hpp>
#include <support/testing.hpp>

#include <cstdio>
#include <filesystem>
#include <random>
#include <string>

namespace os = rouse::os;

namespace {

/// The name of a file that does not exist; one that exists by then is removed at the end.
struct new_name {
  ~new_name() { std::remove(text.c_str()); }
  std::string text = "rouse_file_" + std::to_string(std::random_device()());
};

std::string content_of(const std::string& path) {
  std::string text;
  CHECK(!os::read_file(path, text));
  return text;
}

} // namespace

TEST_CASE("file: what is appended is at the end, also of an existing file", "[unit]") {
  const new_name path;
  rouse::failure why;
  CHECK(!std::filesystem::exists(path.text));
  {
    const os::file first = os::file::to_append(path.text, why);
    REQUIRE(!why);
    CHECK(std::filesystem::exists(path.text));
    CHECK(content_of(path.text).empty());
    CHECK(first.append("one\n"));
    const os::file second = os::file::to_append(path.text, why);
    REQUIRE(!why);
    CHECK(second.append("two\n"));
    CHECK(first.append("three\n"));
  }
  CHECK(content_of(path.text) == "one\ntwo\nthree\n");
}

TEST_CASE("file: what is longer than a piece is read as a whole", "[unit]") {
  const new_name path;
  rouse::failure why;
  const std::string text(10000, 'x');
  CHECK(os::file::to_append(path.text, why).append(text));
  CHECK(content_of(path.text) == text);
}

TEST_CASE("file: one that is missing is an error", "[unit]") {
  std::string text;
  CHECK(os::read_file("rouse_missing/file", text).code() == std::errc::no_such_file_or_directory);
  rouse::failure why;
  (void)os::file::to_append("rouse_missing/file", why);
  CHECK(why.code() == std::errc::no_such_file_or_directory);
}

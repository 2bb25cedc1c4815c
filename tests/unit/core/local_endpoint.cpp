// Endpoints of Unix-domain sockets: their names, and the text of these.
#include <rouse/rouse.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_set>
#include <vector>

using namespace std::string_view_literals;
using rouse::endpoint;

namespace {

struct form {
  std::string_view name, bytes, written;
};

// The argument of `local`, the bytes that the kernel gets, and the text of `to_string`.
constexpr form forms[] = {
    {"/run/x.sock", "/run/x.sock", "unix:/run/x.sock"},
    {"x", "x", "unix:x"},
    {"./@x", "./@x", "unix:./@x"},
    {"a@b", "a@b", "unix:a@b"},
    {"C:\\temp\\x y", "C:\\temp\\x y", "unix:C:\\temp\\x y"},
    {"/1.2.3.4:80", "/1.2.3.4:80", "unix:/1.2.3.4:80"},
    {"unix:x", "unix:x", "unix:unix:x"},
    {"/caf\xc3\xa9", "/caf\xc3\xa9", "unix:/caf\xc3\xa9"},
    {"/100%\n\x7f", "/100%\n\x7f", "unix:/100%25%0A%7F"},
    {"@name", "\0name"sv, "unix:@name"},
    {"\0name"sv, "\0name"sv, "unix:@name"},
    {"@", "\0"sv, "unix:@"},
    {"@@", "\0@"sv, "unix:@@"},
    {"@a\0b\0"sv, "\0a\0b\0"sv, "unix:@a%00b%00"},
};

std::string bytes_of(const endpoint& ep) { return {ep.bytes().begin(), ep.bytes().end()}; }

} // namespace

TEST_CASE("local endpoint: has a family, bytes and a text that reads back", "[endpoint][P01]") {
  for (const auto& [name, bytes, written] : forms) {
    INFO(written);
    const endpoint ep = endpoint::local(name);
    CHECK(ep.family() == rouse::family_local);
    CHECK(ep.port() == 0);
    CHECK(bytes_of(ep) == bytes);
    CHECK(to_string(ep) == written);
    CHECK(endpoint::parse(written) == ep);
    CHECK(endpoint::local(ep.address()) == ep);
    CHECK(endpoint::named(bytes) == ep);
    CHECK(std::hash<endpoint>()(endpoint::named(bytes)) == std::hash<endpoint>()(ep));
    std::ostringstream out;
    out << ep;
    CHECK(out.str() == written);
  }
}

TEST_CASE("local endpoint: may have no name", "[endpoint][P01]") {
  const endpoint unnamed = endpoint::local();
  CHECK(unnamed.family() == rouse::family_local);
  CHECK(unnamed.bytes().empty());
  CHECK(unnamed.address() == "");
  CHECK(to_string(unnamed) == "unix:");
  CHECK(unnamed != endpoint());
  constexpr endpoint constant = endpoint::local();
  STATIC_REQUIRE(constant.family() == rouse::family_local);
}

TEST_CASE("local endpoint: a file name that begins with '@' is not written as an abstract name",
          "[endpoint][P01]") {
  const endpoint ep = endpoint::named("@x"); // as from a kernel
  CHECK(to_string(ep) == "unix:./@x");
  CHECK(ep != endpoint::local("@x"));
}

TEST_CASE("local endpoint: refuses names that are too long, empty or contain a NUL",
          "[endpoint][P01]") {
  std::error_code ec;
  const std::string path(107, 'x'), abstract = '@' + path;
  CHECK(endpoint::local(path).bytes().size() == 107);
  CHECK(endpoint::local(abstract).bytes().size() == 108);
  CHECK(endpoint::parse("unix:" + abstract) == endpoint::local(abstract));
  for (const std::string& name : {path + 'x', abstract + 'x', std::string(10'000, 'x')}) {
    CHECK(endpoint::local(name, ec) == endpoint());
    CHECK(ec == std::errc::filename_too_long);
    CHECK(endpoint::parse("unix:" + name, ec) == endpoint());
    CHECK(ec == std::errc::filename_too_long);
    CHECK_THROWS_AS(endpoint::local(name), std::system_error);
  }
  for (const std::string_view name : {""sv, "/a\0b"sv, "a\0"sv}) {
    CHECK(endpoint::local(name, ec) == endpoint());
    CHECK(ec == std::errc::invalid_argument);
    CHECK_THROWS_AS(endpoint::local(name), std::system_error);
  }
  CHECK(endpoint::local("/good", ec) == endpoint::local("/good"));
  CHECK(!ec);
}

TEST_CASE("local endpoint: parse refuses text that to_string never writes", "[endpoint][P01]") {
  std::error_code ec;
  for (const std::string_view text :
       {"unix:"sv, "unix"sv, "Unix:/x"sv, "/run/x.sock"sv, "@name"sv, "unix:%"sv, "unix:%4"sv,
        "unix:%4x"sv, "unix:%+4"sv, "unix:/a%00"sv, "unix:/a\0"sv, " unix:/x"sv}) {
    INFO(text);
    CHECK(endpoint::parse(text, ec) == endpoint());
    CHECK(ec == std::errc::invalid_argument);
  }
  // Other spellings of the same name are accepted.
  CHECK(endpoint::parse("unix:%2fx") == endpoint::local("/x"));
  CHECK(endpoint::parse("unix:%00name") == endpoint::local("@name"));
}

TEST_CASE("local endpoint: the exception quotes the name", "[endpoint][P01]") {
  try {
    (void)endpoint::local("/" + std::string(200, 'y'));
    FAIL("nothing thrown");
  } catch (const std::system_error& e) {
    CHECK(e.code() == std::errc::filename_too_long);
    CHECK_THAT(e.what(), Catch::Contains("/yyyy") && Catch::Contains("107"));
  }
}

TEST_CASE("local endpoint: is ordered after the others, by name", "[endpoint][P01]") {
  const std::vector<endpoint> ascending = {endpoint(),
                                           {"255.255.255.255", 65535},
                                           {"ffff::", 65535},
                                           endpoint::local(),
                                           endpoint::local("@"),
                                           endpoint::local("@\0"sv),
                                           endpoint::local("@a"),
                                           endpoint::local("/"),
                                           endpoint::local("/a"),
                                           endpoint::local("/aa"),
                                           endpoint::local("/b"),
                                           endpoint::local("\xff")};
  for (std::size_t i = 0; i != ascending.size(); ++i)
    for (std::size_t j = 0; j != ascending.size(); ++j) {
      INFO(ascending[i] << " and " << ascending[j]);
      CHECK((ascending[i] <=> ascending[j]) == (i <=> j));
      CHECK((ascending[i] == ascending[j]) == (i == j));
    }
  const std::unordered_set<endpoint> set(ascending.begin(), ascending.end());
  CHECK(set.size() == ascending.size());
  std::set<std::size_t> hashes;
  for (const endpoint& ep : ascending) hashes.insert(std::hash<endpoint>()(ep));
  CHECK(hashes.size() == ascending.size());
}

TEST_CASE("local endpoint: any bytes from a kernel are written and read back", "[endpoint][P01]") {
  std::mt19937 random{1};
  for (int i = 0; i != 3000; ++i) {
    std::string bytes(1 + random() % 107, ' ');
    for (char& c : bytes) c = static_cast<char>(random() % 256);
    if (random() % 2 == 0) bytes[0] = '\0';
    if (bytes[0] != '\0') std::ranges::replace(bytes, '\0', '/');
    if (bytes[0] == '@') bytes[0] = '/';
    const endpoint ep = endpoint::named(bytes);
    CHECK(endpoint::parse(to_string(ep)) == ep);
  }
}

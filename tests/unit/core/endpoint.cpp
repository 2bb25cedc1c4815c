#include <rouse/rouse.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <unordered_set>
#include <vector>
#if ROUSE_LINUX
#include <net/if.h>
#endif

using namespace std::string_view_literals;
using rouse::endpoint;

namespace {

struct reading {
  std::string_view text, written;
};

// An address, and the text that address() writes.
constexpr reading addresses[] = {
    {"0.0.0.0", "0.0.0.0"},
    {"1.2.3.4", "1.2.3.4"},
    {"255.255.255.255", "255.255.255.255"},
    {"::", "::"},
    {"::1", "::1"},
    {"1::", "1::"},
    {"1::8", "1::8"},
    {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
    {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
    {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
    {"0001:0020:0300:4000:0:0:0:0", "1:20:300:4000::"},
    {"ABCD:EF01:2345:6789:abcd:ef01:2345:6789", "abcd:ef01:2345:6789:abcd:ef01:2345:6789"},
    {"::ffff:1.2.3.4", "::ffff:1.2.3.4"},
    {"::255.255.255.255", "::ffff:ffff"},
    {"1::1.2.3.4", "1::102:304"},
    {"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"},
    {"1:2:3:4:5::1.2.3.4", "1:2:3:4:5:0:102:304"},
    {"::2:3:4:5:6:1.2.3.4", "0:2:3:4:5:6:102:304"},
    {"fe80::1%2", "fe80::1%2"},
    {"fe80::1%0", "fe80::1"},
    {"fe80::1%007", "fe80::1%7"},
    {"fe80::1%4294967295", "fe80::1%4294967295"},
    {"::ffff:1.2.3.4%5", "::ffff:1.2.3.4%5"},
    {"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255%4294967295",
     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295"},
};

constexpr std::string_view no_addresses[] = {
    // nothing, names, characters around an address
    "", " ", "x", "localhost", "example.com", "/run/x.sock", "*", "-1.2.3.4", "+1.2.3.4",
    " 1.2.3.4", "1.2.3.4 ", "\t::1", "::1\n", "1.2.3.4x", "::1x", "1.2.3.4/24", "::1/64", "::1,::2",
    // IPv4: its parts
    ".", "...", "1", "1.2", "1.2.3", "1.2.3.", "1.2.3.4.", ".1.2.3.4", "1.2.3.4.5", "1..3.4",
    "1.2..4", "16909060", "0x1020304",
    // IPv4: numbers
    "01.2.3.4", "1.02.3.4", "1.2.3.04", "00.0.0.0", "1.2.3.00", "256.2.3.4", "1.2.3.256",
    "1.2.3.1000", "1.2.3.4294967296", "1.2.3.18446744073709551617", "0x1.2.3.4", "1.2.3.a",
    "1.2.-3.4", "1.2.+3.4", "1. 2.3.4",
    // IPv4: a NUL, a scope
    "1.2.3.4\0"sv, "1.2\0.3.4"sv, "1.2.3.4%1",
    // IPv6: groups
    ":", "1:", ":1", "1:2", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:", ":1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:", ":1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8:9:10:11:12:13:14",
    "12345::", "::12345", "::00001", "::g", "::0x1", "::-1", "::+1", ":: 1",
    // IPv6: "::"
    ":::", "::::", "1:::2", ":::1", "1:::", ":1::", "::1:", "1::2::3",
    "::1::", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "1:2:3:4::5:6:7:8", "1:2:3:4:5:6:7::8:9",
    // IPv6: an IPv4 part that is too early, too long or wrong
    "1.2.3.4::", "1.2.3.4::1", "1::1.2.3.4:5", "::1.2.3.4:5", "1:2:3:4:5:6:7:1.2.3.4",
    "1:2:3:4:5:1.2.3.4", "1:2:3:4:5:6::1.2.3.4", "1:2:3:4:5:6:1.2.3.4::", "::1.2.3", "::1.2.3.4.5",
    "::01.2.3.4", "::1.2.3.256", "::.1.2.3", "::1.2.3.", "::ffff1.2.3.4",
    // IPv6: a NUL, scopes
    "::1\0"sv, "::\0"sv, "::1%1\0"sv, "::1%", "::1%no-interface!", "::1%1x", "::1%x1", "::1%-1",
    "::1%+1", "::1% 1", "::1%1%2", "::1%4294967296", "::1%00000000001", "%1", "%::1", "::%1:2",
    "::1%1::",
    // too long
    "000000000000000000000000000000001.2.3.4", "0000:0000:0000:0000:0000:0000:0000:0000:0000",
    "11111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111"};

constexpr std::string_view no_ports[] = {
    // not only digits
    "", " ", "-1", "+1", " 1", "1 ", "1x", "x", "0x50", "http", "80:", ":80", "8\0"sv, "\0"sv,
    // too large, too long
    "65536", "99999", "000080", "4294967296", "18446744073709551617"};

constexpr std::string_view bad_brackets[] = {
    // brackets and the colon after them
    "[", "]", "[]", "[]:80", "[::1", "::1]", "[::1]", "[::1]80", "[::1].80", "[::1]::80",
    "[::1] :80", " [::1]:80", "[[::1]]:80", "[[::1]:80", "[::1]]:80", "[::1:80]", "[::1]:80]",
    "[::1]:80]:80", "::1]:80", "[::1]%1:80",
    // their contents
    "[1.2.3.4]", "[1.2.3.4]:80", "[localhost]:80", "[::1%]:80", "[::1\0]:80"sv, "[ ::1]:80",
    "[::1 ]:80"};

std::string with_port(std::string_view address, std::string_view port) {
  const bool six = address.find(':') != address.npos;
  return std::string(six ? "[" : "").append(address).append(six ? "]:" : ":").append(port);
}

// Every form refuses it: the value, the code, the exception.
void check_refused(std::string_view text) {
  INFO('"' << text << '"');
  std::error_code ec;
  CHECK(endpoint::parse(text, ec) == endpoint());
  CHECK(ec == std::errc::invalid_argument);
  CHECK_THROWS_AS(endpoint::parse(text), std::system_error);
}

// Half of the bytes are 0, so that runs of zero groups and small numbers are common.
endpoint any_endpoint(std::mt19937& random) {
  std::array<unsigned char, 16> bytes{};
  for (auto& byte : bytes) byte = static_cast<unsigned char>(random() % 2 == 0 ? 0 : random());
  const auto port = static_cast<std::uint16_t>(random());
  if (random() % 4 == 0) return endpoint::ipv4({bytes[0], bytes[1], bytes[2], bytes[3]}, port);
  if (random() % 8 == 0) std::fill_n(bytes.begin(), 10, 0), bytes[10] = bytes[11] = 0xff;
  return endpoint::ipv6(bytes, port, random() % 2 == 0 ? 0 : static_cast<std::uint32_t>(random()));
}

std::string what_of(auto&& call) {
  try {
    call();
  } catch (const std::system_error& e) {
    CHECK(e.code() == std::errc::invalid_argument);
    return e.what();
  }
  return "nothing thrown";
}

} // namespace

// ---- reading

TEST_CASE("endpoint: reads every form of an address and writes the canonical one",
          "[endpoint][N01]") {
  for (const auto& [text, written] : addresses) {
    INFO(text);
    CHECK(endpoint(text, 80).address() == written);
  }
}

TEST_CASE("endpoint: refuses every other text as an address", "[endpoint][N01]") {
  for (const std::string_view text : no_addresses) {
    INFO('"' << text << '"');
    std::error_code ec;
    CHECK(endpoint(text, 80, ec) == endpoint());
    CHECK(ec == std::errc::invalid_argument);
    CHECK_THROWS_AS(endpoint(text, 80), std::system_error);
  }
}

TEST_CASE("endpoint: the constructor takes neither brackets nor a port in the text",
          "[endpoint][N01]") {
  std::error_code ec;
  for (const std::string_view text : {"1.2.3.4:80"sv, "[::1]"sv, "[::1]:80"sv}) {
    INFO(text);
    CHECK(endpoint(text, 80, ec) == endpoint());
    CHECK(ec == std::errc::invalid_argument);
  }
}

TEST_CASE("endpoint: parse gives port 0 to an address without a port", "[endpoint][N01]") {
  for (const auto& [text, written] : addresses) {
    INFO(text);
    CHECK(endpoint::parse(text) == endpoint(text, 0));
  }
}

TEST_CASE("endpoint: parse reads any address with a port, IPv6 in brackets", "[endpoint][N01]") {
  for (const auto& [text, written] : addresses) {
    for (const int port : {0, 1, 80, 443, 65535}) {
      const std::string whole = with_port(text, std::to_string(port));
      INFO(whole);
      CHECK(endpoint::parse(whole) == endpoint(text, port));
    }
  }
}

TEST_CASE("endpoint: parse refuses invalid addresses without a port", "[endpoint][N01]") {
  for (const std::string_view text : no_addresses) check_refused(text);
}

TEST_CASE("endpoint: parse refuses invalid addresses with a port", "[endpoint][N01]") {
  for (const std::string_view text : no_addresses) check_refused(with_port(text, "80"));
}

TEST_CASE("endpoint: parse refuses invalid ports", "[endpoint][N01]") {
  for (const std::string_view port : no_ports) {
    check_refused(with_port("::1", port));
    check_refused(with_port("1.2.3.4", port));
  }
}

TEST_CASE("endpoint: parse accepts brackets only around an IPv6 address with a port",
          "[endpoint][N01]") {
  for (const std::string_view text : bad_brackets) check_refused(text);
}

TEST_CASE("endpoint: parse never takes a port from an IPv6 address without brackets",
          "[endpoint][N01]") {
  CHECK(endpoint::parse("::1:80") == endpoint("::1:80", 0));
}

TEST_CASE("endpoint: a port may have leading zeros up to five digits", "[endpoint][N01]") {
  CHECK(endpoint::parse("1.2.3.4:00080") == endpoint("1.2.3.4", 80));
}

TEST_CASE("endpoint: a text of a megabyte is refused", "[endpoint][N01]") {
  for (const char c : "01:.[]%f"sv)
    for (const auto& [before, after] : {std::pair(""sv, ""sv), std::pair("1.2.3.4:"sv, "80"sv),
                                        std::pair("[::1%"sv, "1]:80"sv)}) {
      const std::string text = std::string(before).append(1 << 20, c).append(after);
      std::error_code ec;
      CHECK((endpoint::parse(text, ec) == endpoint() && ec == std::errc::invalid_argument));
    }
}

TEST_CASE("endpoint: a null view is refused like an empty text", "[endpoint][N01]") {
  check_refused(std::string_view());
}

TEST_CASE("endpoint: characters after the end of the view are not read", "[endpoint][N01]") {
  CHECK(endpoint::parse("1.2.3.45:8080"sv.substr(0, 7)) == endpoint("1.2.3.4", 0));
  CHECK(endpoint::parse("[::1]:8080"sv.substr(0, 8)) == endpoint("::1", 80));
}

TEST_CASE("endpoint: the bytes read are in network order", "[endpoint][N01]") {
  const endpoint four("1.2.3.4", 0), six("102:304:506:708:90a:b0c:d0e:f10", 0);
  CHECK(std::ranges::equal(four.bytes(), std::array{1, 2, 3, 4}));
  CHECK(std::ranges::equal(six.bytes(),
                           std::array{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}));
}

TEST_CASE("endpoint: a scope is read into scope_id", "[endpoint][N01]") {
  CHECK(endpoint::parse("[fe80::1%12]:80").scope_id() == 12);
}

#if ROUSE_LINUX
TEST_CASE("endpoint: a scope may be the name of an interface, and is written as that name",
          "[endpoint][N01][N02]") {
  const std::uint32_t index = if_nametoindex("lo");
  REQUIRE(index != 0);
  const endpoint named = endpoint::parse("[fe80::1%lo]:80");
  CHECK(named.scope_id() == index);
  CHECK(to_string(named) == "[fe80::1%lo]:80");
  CHECK(endpoint("fe80::1%lo", 80).address() == "fe80::1%lo");
  CHECK(endpoint::parse(to_string(named)) == named);

  const endpoint numbered = endpoint("fe80::1%" + std::to_string(index), 80);
  CHECK(numbered == named);
  CHECK(std::hash<endpoint>{}(numbered) == std::hash<endpoint>{}(named));
  CHECK(to_string(numbered) == "[fe80::1%" + std::to_string(index) + "]:80");
  CHECK(std::ranges::equal(numbered.bytes(), named.bytes()));
}

TEST_CASE("endpoint: interface names of 16 characters or with a NUL are refused",
          "[endpoint][N01]") {
  std::error_code ec;
  for (const auto text : {"fe80::1%lo34567890123456"sv, "fe80::1%lo\0"sv, "fe80::1%lo "sv}) {
    (void)endpoint(text, 80, ec);
    CHECK(ec == std::errc::invalid_argument);
  }
}
#endif

TEST_CASE("endpoint: a number outside of a port's range is refused, never truncated",
          "[endpoint][N01]") {
  for (const long long port : {-1LL, 65536LL, 65536LL + 80, (1LL << 32) + 80, -(1LL << 48) + 80}) {
    INFO(port);
    std::error_code ec;
    CHECK(endpoint("127.0.0.1", port, ec) == endpoint());
    CHECK(ec == std::errc::invalid_argument);
    CHECK_THROWS_AS(endpoint("127.0.0.1", port), std::system_error);
  }
}

TEST_CASE("endpoint: the smallest and the largest port are accepted", "[endpoint][N01]") {
  CHECK(endpoint("127.0.0.1", 0).port() == 0);
  CHECK(endpoint("127.0.0.1", 65535).port() == 65535);
}

TEST_CASE("endpoint: can be made from braces as an argument", "[endpoint][N01]") {
  const auto port_of = [](const endpoint& ep) { return ep.port(); };
  CHECK(port_of({"127.0.0.1", 3000}) == 3000);
  CHECK(port_of({std::string("::1"), std::uint16_t{3000}}) == 3000);
}

TEST_CASE("endpoint: the forms with an error_code are noexcept", "[endpoint][N01]") {
  std::error_code ec;
  STATIC_REQUIRE(noexcept(endpoint(""sv, 0, ec)));
  STATIC_REQUIRE(noexcept(endpoint::parse(""sv, ec)));
}

TEST_CASE("endpoint: success clears the error_code", "[endpoint][N01]") {
  std::error_code parsing = std::make_error_code(std::errc::timed_out), making = parsing;
  CHECK(endpoint::parse("1.2.3.4:5", parsing) == endpoint("1.2.3.4", 5, making));
  CHECK_FALSE(parsing);
  CHECK_FALSE(making);
}

TEST_CASE("endpoint: random text is refused, or written and read back unchanged",
          "[endpoint][N01]") {
  std::mt19937 random{1};
  const std::string_view letters = "0123456789afF::::::....[]%x \0"sv;
  int taken = 0;
  for (int i = 0; i != 200000; ++i) {
    std::string text(random() % 12, ' ');
    for (char& c : text) c = letters[random() % letters.size()];
    std::error_code ec;
    const endpoint ep = endpoint::parse(text, ec);
    if (!ec) ++taken;
    if (ec ? ep != endpoint() : endpoint::parse(to_string(ep)) != ep)
      FAIL('"' << text << "\" as " << ep);
  }
  CHECK(taken > 100); // otherwise the letters are badly chosen
}

// ---- the text of the exception

TEST_CASE("endpoint: the exception of parse quotes the text", "[endpoint][N01]") {
  CHECK_THAT(what_of([] { (void)endpoint::parse("localhost:80"); }),
             Catch::StartsWith("rouse: \"localhost:80\": "));
}

TEST_CASE("endpoint: the exception of the constructor quotes address and port", "[endpoint][N01]") {
  CHECK_THAT(what_of([] { endpoint("127.0.0.1", 70000); }),
             Catch::StartsWith("rouse: \"127.0.0.1\", 70000: "));
}

TEST_CASE("endpoint: the exception quotes up to 60 characters", "[endpoint][N01]") {
  const std::string text(60, 'x');
  CHECK_THAT(what_of([&] { (void)endpoint::parse(text); }), Catch::Contains('"' + text + '"'));
}

TEST_CASE("endpoint: the exception quotes no more than 60 characters", "[endpoint][N01]") {
  const std::string text(61, 'x');
  CHECK_THAT(what_of([&] { (void)endpoint::parse(text); }),
             Catch::Contains('"' + text.substr(1) + "...\""));
}

TEST_CASE("endpoint: the exception shows unprintable characters as question marks",
          "[endpoint][N01]") {
  CHECK_THAT(what_of([] { (void)endpoint::parse("a\0b\nc\x7f\xff"sv); }),
             Catch::Contains("\"a?b?c??\""));
}

// ---- writing

TEST_CASE("endpoint: to_string gives address and port, IPv6 in brackets", "[endpoint][N02]") {
  CHECK(to_string(endpoint("1.2.3.4", 80)) == "1.2.3.4:80");
  CHECK(to_string(endpoint("::1", 65535)) == "[::1]:65535");
  CHECK(to_string(endpoint("fe80::1%2", 0)) == "[fe80::1%2]:0");
}

TEST_CASE("endpoint: rouse::to_string is found by its full name too", "[endpoint][N02]") {
  CHECK(rouse::to_string(endpoint("1.2.3.4", 80)) == "1.2.3.4:80");
}

TEST_CASE("endpoint: :: replaces the first longest run of two or more zero groups",
          "[endpoint][N02]") {
  for (const auto& [text, written] :
       {reading{"0:0:1:0:0:0:1:0", "0:0:1::1:0"}, reading{"1:0:0:0:1:0:0:0", "1::1:0:0:0"},
        reading{"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
        reading{"0:0:1:0:0:1:0:0", "::1:0:0:1:0:0"}, reading{"1:0:0:1:0:0:0:0", "1:0:0:1::"},
        reading{"0:1:0:1:0:1:0:1", "0:1:0:1:0:1:0:1"},
        reading{"1:0:1:1:1:1:1:0", "1:0:1:1:1:1:1:0"}, reading{"0:0:1:1:1:1:1:1", "::1:1:1:1:1:1"},
        reading{"1:1:1:1:1:1:0:0", "1:1:1:1:1:1::"}, reading{"1:0:0:0:0:0:0:1", "1::1"}}) {
    INFO(text);
    CHECK(endpoint(text, 0).address() == written);
  }
}

TEST_CASE("endpoint: only ::ffff:0:0/96 is written with dots", "[endpoint][N02]") {
  for (const auto& [text, written] :
       {reading{"::ffff:102:304", "::ffff:1.2.3.4"}, reading{"::ffff:0:0", "::ffff:0.0.0.0"},
        reading{"::fffe:102:304", "::fffe:102:304"}, reading{"::1.2.3.4", "::102:304"},
        reading{"1::ffff:102:304", "1::ffff:102:304"},
        reading{"::1:2:3:ffff:102:304", "::1:2:3:ffff:102:304"},
        reading{"::ffff:0:102:304", "::ffff:0:102:304"},
        reading{"64:ff9b::1.2.3.4", "64:ff9b::102:304"}}) {
    INFO(text);
    CHECK(endpoint(text, 0).address() == written);
  }
}

TEST_CASE("endpoint: a written endpoint reads back equal", "[endpoint][N02]") {
  std::mt19937 random{2};
  for (int i = 0; i != 50000; ++i) {
    const endpoint ep = any_endpoint(random);
    if (endpoint::parse(to_string(ep)) != ep) FAIL(ep);
    if (endpoint(ep.address(), ep.port()) != ep) FAIL(ep.address());
  }
}

TEST_CASE("endpoint: every octet is written and read", "[endpoint][N02]") {
  for (int i = 0; i != 256; ++i) {
    const auto byte = static_cast<unsigned char>(i);
    const std::string n = std::to_string(i);
    const endpoint ep = endpoint::ipv4({byte, byte, byte, byte}, 1);
    CHECK(ep.address() == n + '.' + n + '.' + n + '.' + n);
    CHECK(endpoint(ep.address(), 1) == ep);
  }
}

TEST_CASE("endpoint: a stream writes the text of to_string, with width and fill",
          "[endpoint][N02]") {
  std::stringstream out;
  out.width(10);
  out.fill('*');
  out << endpoint("::1", 1) << endpoint() << endpoint("1.2.3.4", 5);
  CHECK(out.str() == "***[::1]:11.2.3.4:5");
}

TEST_CASE("endpoint: a stream of wide characters writes it too", "[endpoint][N02]") {
  std::wostringstream out;
  out << endpoint("::1", 1);
  CHECK(out.str() == L"[::1]:1");
}

#if defined(__cpp_lib_format)
TEST_CASE("endpoint: std::format formats it as a string", "[endpoint][N02]") {
  CHECK(std::format("{}|{:>10}", endpoint("1.2.3.4", 5), endpoint("::1", 1)) ==
        "1.2.3.4:5|   [::1]:1");
}
#endif

// ---- the value

TEST_CASE("endpoint: is trivially copyable and small", "[endpoint][N02]") {
  STATIC_REQUIRE(std::is_trivially_copyable_v<endpoint>);
  STATIC_REQUIRE(sizeof(endpoint) == (ROUSE_DARWIN ? 112 : 116));
}

TEST_CASE("endpoint: a default-constructed endpoint is unspecified", "[endpoint][N02]") {
  const endpoint ep;
  CHECK(ep.family() == rouse::family_unspecified);
  CHECK(ep.port() == 0);
  CHECK(ep.scope_id() == 0);
  CHECK(ep.bytes().empty());
}

TEST_CASE("endpoint: an unspecified endpoint is written as an empty text", "[endpoint][N02]") {
  CHECK(endpoint().address() == "");
  CHECK(to_string(endpoint()) == "");
}

TEST_CASE("endpoint: bytes and text make equal endpoints", "[endpoint][N02]") {
  CHECK(endpoint::ipv4({127, 0, 0, 1}, 80) == endpoint("127.0.0.1", 80));
  CHECK(endpoint::ipv6({0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 80, 7) ==
        endpoint("fe80::1%7", 80));
}

TEST_CASE("endpoint: can be made from bytes and compared in constant expressions",
          "[endpoint][N02]") {
  constexpr endpoint loopback = endpoint::ipv4({127, 0, 0, 1}, 80);
  STATIC_REQUIRE(loopback.port() == 80);
  STATIC_REQUIRE(loopback.bytes().size() == 4);
  STATIC_REQUIRE(loopback < endpoint::ipv6({}, 80));
}

TEST_CASE("endpoint: the family is that of the address", "[endpoint][N02]") {
  CHECK(endpoint("1.2.3.4", 0).family() == rouse::family_ipv4);
  CHECK(endpoint("::1", 0).family() == rouse::family_ipv6);
  CHECK(endpoint("::ffff:1.2.3.4", 0).family() == rouse::family_ipv6);
}

TEST_CASE("endpoint: port(p) changes the port only", "[endpoint][N02]") {
  endpoint ep("fe80::1%2", 80);
  ep.port(81);
  CHECK(ep == endpoint("fe80::1%2", 81));
}

TEST_CASE("endpoint: an IPv4 address and the same one mapped into IPv6 differ", "[endpoint][N02]") {
  CHECK(endpoint("1.2.3.4", 80) != endpoint("::ffff:1.2.3.4", 80));
}

TEST_CASE("endpoint: the order is by family, address, scope, port", "[endpoint][N02]") {
  const std::vector<endpoint> ascending = {endpoint(),
                                           {"1.2.3.4", 1},
                                           {"1.2.3.4", 2},
                                           {"1.2.3.4", 256},
                                           {"1.2.3.5", 0},
                                           {"1.2.4.0", 0},
                                           {"200.0.0.0", 0},
                                           {"::", 9},
                                           {"::1", 1},
                                           {"::1", 2},
                                           {"::1%1", 0},
                                           {"::1%256", 0},
                                           {"::ffff:1.2.3.4", 0},
                                           {"1::", 0},
                                           {"fe80::1", 0}};
  for (std::size_t i = 0; i != ascending.size(); ++i)
    for (std::size_t j = 0; j != ascending.size(); ++j) {
      INFO(ascending[i] << " and " << ascending[j]);
      CHECK((ascending[i] <=> ascending[j]) == (i <=> j));
      CHECK((ascending[i] == ascending[j]) == (i == j));
    }
}

TEST_CASE("endpoint: sorting random endpoints gives one order from any start", "[endpoint][N02]") {
  std::mt19937 random{3};
  std::vector<endpoint> a;
  for (int i = 0; i != 2000; ++i) a.push_back(any_endpoint(random));
  std::vector<endpoint> b(a.rbegin(), a.rend());
  std::ranges::sort(a);
  std::ranges::sort(b);
  CHECK(a == b);
}

TEST_CASE("endpoint: can be the key of a map", "[endpoint][N02]") {
  std::map<endpoint, int> map = {{{"::1", 1}, 3}, {{"1.2.3.4", 2}, 2}, {{"1.2.3.4", 1}, 1}};
  CHECK(map.at(endpoint::parse("1.2.3.4:2")) == 2);
  CHECK(map.begin()->second == 1);
  CHECK_FALSE(map.contains({"1.2.3.4", 3}));
}

TEST_CASE("endpoint: can be the key of a hash table", "[endpoint][N02]") {
  const std::unordered_set<endpoint> set = {
      {"1.2.3.4", 1}, {"1.2.3.4", 2}, {"::1", 1}, {"::1%1", 1}, {"1.2.3.4", 1}};
  CHECK(set.size() == 4);
  CHECK(set.contains(endpoint::parse("[::1%1]:1")));
  CHECK_FALSE(set.contains({"::1%2", 1}));
}

TEST_CASE("endpoint: equal endpoints have equal hashes, however they were made",
          "[endpoint][N02]") {
  std::mt19937 random{4};
  for (int i = 0; i != 1000; ++i) {
    const endpoint ep = any_endpoint(random);
    CHECK(std::hash<endpoint>()(endpoint::parse(to_string(ep))) == std::hash<endpoint>()(ep));
  }
}

TEST_CASE("endpoint: the hash depends on family, address, scope and port", "[endpoint][N02]") {
  std::set<std::size_t> hashes;
  for (const endpoint& ep : {endpoint(), endpoint("0.0.0.0", 0), endpoint("::", 0),
                             endpoint("::", 1), endpoint("::", 256), endpoint("::%1", 0),
                             endpoint("::1", 0), endpoint("1::", 0), endpoint("1.0.0.0", 0)})
    hashes.insert(std::hash<endpoint>()(ep));
  CHECK(hashes.size() == 9);
}

TEST_CASE("endpoint: the ports of one address spread over the hash's low bits", "[endpoint][N02]") {
  std::set<std::size_t> low;
  for (int port = 32768; port != 32768 + 4096; ++port)
    low.insert(std::hash<endpoint>()({"127.0.0.1", port}) & 1023);
  CHECK(low.size() > 900); // of 1024; chance gives 1005
}

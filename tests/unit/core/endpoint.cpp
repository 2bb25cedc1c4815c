#include <rouse/core/endpoint.hpp>

#include <catch2/catch.hpp>

#include <map>
#include <random>
#include <sstream>
#include <unordered_set>

using rouse::endpoint;

TEST_CASE("an endpoint reads addresses with and without a port, and writes them canonically",
          "[endpoint][N01]") {
  const std::pair<const char*, const char*> accepted[] = {
      {"1.2.3.4:80", "1.2.3.4:80"},
      {"0.0.0.0", "0.0.0.0:0"},
      {"255.255.255.255:65535", "255.255.255.255:65535"},
      {"[::1]:80", "[::1]:80"},
      {"::1", "[::1]:0"},
      {"::", "[::]:0"},
      {"[fe80::1%2]:7", "[fe80::1%2]:7"},
      {"2001:DB8:0:0:1:0:0:1", "[2001:db8::1:0:0:1]:0"},
      {"1:0:0:2:0:0:0:3", "[1:0:0:2::3]:0"},
      {"1:2:3:4:5:6:7:8", "[1:2:3:4:5:6:7:8]:0"},
      {"1:2:3:4:5:6:7::", "[1:2:3:4:5:6:7:0]:0"},
      {"::ffff:1.2.3.4", "[::ffff:1.2.3.4]:0"},
      {"::1.2.3.4", "[::102:304]:0"},
      {"1:2:3:4:5:6:1.2.3.4", "[1:2:3:4:5:6:102:304]:0"},
      {"0:1::", "[0:1::]:0"},
  };
  for (const auto& [text, canonical] : accepted) {
    INFO(text);
    CHECK(to_string(endpoint::parse(text)) == canonical);
    CHECK(endpoint::parse(canonical) == endpoint::parse(text));
  }
}

TEST_CASE("an endpoint refuses everything else, by an error that quotes it", "[endpoint][N01]") {
  using namespace std::string_view_literals;
  for (const auto text : {""sv,
                          "1.2.3"sv,
                          "1.2.3.4.5"sv,
                          "01.2.3.4"sv,
                          "256.1.1.1"sv,
                          "1.2.3.4:"sv,
                          "1.2.3.4:65536"sv,
                          "1.2.3.4:-1"sv,
                          "1.2.3.4:+1"sv,
                          " 1.2.3.4"sv,
                          "1.2.3.4 "sv,
                          "1.2.3.4\0"sv,
                          "1.2.3.a"sv,
                          "1..3.4"sv,
                          "localhost"sv,
                          "localhost:80"sv,
                          ":::"sv,
                          "1::2::3"sv,
                          "1:2:3:4:5:6:7"sv,
                          "1:2:3:4:5:6:7:8:9"sv,
                          "1:2:3:4:5:6:7:8::"sv,
                          "::12345"sv,
                          "::g"sv,
                          "1:2:3:4:5:6:7:1.2.3.4"sv,
                          "::1.2.3.4:5"sv,
                          "1.2.3.4::"sv,
                          "[::1"sv,
                          "::1]"sv,
                          "[::1]"sv,
                          "[::1]:"sv,
                          "[::1]80"sv,
                          "[1.2.3.4]:80"sv,
                          "fe80::1%eth0"sv,
                          "fe80::1%"sv,
                          ":"sv,
                          ":1"sv,
                          "1:"sv,
                          "[]:80"sv,
                          "-1.2.3.4"sv,
                          "0x1.2.3.4"sv,
                          "1.2.3.4%1"sv}) {
    INFO(text);
    std::error_code ec;
    CHECK(endpoint::parse(text, ec) == endpoint());
    CHECK(ec == std::errc::invalid_argument);
    CHECK_THROWS_AS(endpoint::parse(text), std::system_error);
  }
  const std::string too_long(10000, '1');
  CHECK_THROWS_WITH(endpoint::parse(too_long), Catch::Contains(too_long.substr(0, 60)) &&
                                                   !Catch::Contains(too_long.substr(0, 61)));
}

TEST_CASE("an endpoint of an address and a port: a port out of range is an error, never cut off",
          "[endpoint][N01]") {
  CHECK(endpoint("127.0.0.1", 3000).port() == 3000);
  CHECK(endpoint("::1", 0).family() == rouse::family_ipv6);
  for (const int port : {-1, 65536, 1 << 20})
    CHECK_THROWS_AS(endpoint("127.0.0.1", port), std::system_error);
  CHECK_THROWS_AS(endpoint("127.0.0.1:80", 80), std::system_error);
}

TEST_CASE("an endpoint that was printed reads back equal", "[endpoint][N02]") {
  std::mt19937 random{5};
  for (int i = 0; i != 20000; ++i) {
    std::array<unsigned char, 16> bytes{};
    for (auto& b : bytes) b = static_cast<unsigned char>(random() % 3 == 0 ? random() : 0);
    const auto port = static_cast<std::uint16_t>(random());
    const endpoint six =
        endpoint::ipv6(bytes, port, random() % 2 ? static_cast<std::uint32_t>(random()) : 0);
    const endpoint four = endpoint::ipv4({bytes[0], bytes[1], bytes[2], bytes[3]}, port);
    REQUIRE(endpoint::parse(to_string(six)) == six);
    REQUIRE(endpoint::parse(to_string(four)) == four);
    REQUIRE(endpoint(six.address(), six.port()) == six);
  }
}

TEST_CASE("endpoints are ordered, hashed and printed", "[endpoint][N02]") {
  const endpoint a("1.2.3.4", 1), b("1.2.3.4", 2), c("1.2.3.5", 1), d("::1", 1);
  CHECK(endpoint() < a);
  CHECK(a < b);
  CHECK(b < c);
  CHECK(c < d);
  std::map<endpoint, int> map{{d, 4}, {a, 1}, {b, 2}};
  CHECK(map.at(endpoint::parse("1.2.3.4:2")) == 2);
  std::unordered_set<endpoint> set{a, b, c, d, a};
  CHECK(set.size() == 4);
  std::ostringstream out;
  out << d;
  CHECK(out.str() == "[::1]:1");
  CHECK(to_string(endpoint()).empty());
}

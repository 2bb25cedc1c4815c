#include <support/testing.hpp>

#include <algorithm>
#include <limits>

using namespace testing;

namespace {

// The bytes that the kernel gets, and those that it returns.
template <class O>
int raw(const O& option) {
  int value = -1;
  REQUIRE(option.size() == sizeof value);
  std::memcpy(&value, option.data(), sizeof value);
  return value;
}
template <class O>
O written(int value) {
  O option;
  std::memcpy(option.data(), &value, option.size());
  return option;
}

// An option of the user's type: level, name, and the kernel's form of the value.
struct owners_option {
  static constexpr int level = SOL_SOCKET, name = SO_KEEPALIVE;
  int value = 0;
  const void* data() const { return &value; }
  void* data() { return &value; }
  std::size_t size() const { return sizeof value; }
};

struct sizeless_option {
  static constexpr int level = SOL_SOCKET, name = SO_KEEPALIVE;
  int value = 0;
  const void* data() const { return &value; }
  void* data() { return &value; }
};

} // namespace

TEST_CASE("options: the kernel gets a flag as 1 or 0", "[unit][options]") {
  CHECK(raw(rouse::tcp_no_delay{true}) == 1);
  CHECK(raw(rouse::tcp_no_delay{false}) == 0);
  CHECK(raw(rouse::tcp_no_delay{}) == 0);
}

TEST_CASE("options: a flag is on if the kernel returns any number but 0", "[unit][options]") {
  CHECK(written<rouse::keep_alive>(1).value());
  CHECK(written<rouse::keep_alive>(8).value()); // as some kernels do
  CHECK(!written<rouse::keep_alive>(0).value());
}

TEST_CASE("options: a flag is set with the number that the kernel wants for it",
          "[unit][options]") {
  using option = rouse::flag_option<IPPROTO_UDP, 1, 65527>;
  CHECK(raw(option{true}) == 65527);
  CHECK(raw(option{false}) == 0);
  CHECK(option{true}.value());
}

TEST_CASE("options: a flag converts to bool", "[unit][options]") {
  CHECK(static_cast<bool>(rouse::v6_only{true}));
  CHECK(!static_cast<bool>(rouse::v6_only{false}));
}

TEST_CASE("options: the kernel gets a number unchanged", "[unit][options]") {
  CHECK(raw(rouse::receive_buffer_size{65536}) == 65536);
  CHECK(raw(rouse::time_to_live{}) == 0);
  CHECK(written<rouse::send_buffer_size>(4096).value() == 4096);
}

TEST_CASE("options: linger is the system's struct", "[unit][options]") {
  const rouse::linger option(true, 7s);
  ::linger seen{};
  REQUIRE(option.size() == sizeof seen);
  std::memcpy(&seen, option.data(), sizeof seen);
  CHECK(seen.l_onoff == 1);
  CHECK(seen.l_linger == 7);
}

TEST_CASE("options: linger takes any duration, in whole seconds, within the system's range",
          "[unit][options]") {
  using longest = std::numeric_limits<decltype(::linger{}.l_linger)>;
  CHECK(rouse::linger(true, 1ms).time() == 1s); // 0 would reset the connection
  CHECK(rouse::linger(true, std::chrono::duration<double>(1.5)).time() == 2s);
  CHECK(rouse::linger(true, -1h).time() == 0s);
  CHECK(rouse::linger(true, std::chrono::hours::max()).time().count() == longest::max());
  CHECK(rouse::linger(true, std::chrono::seconds::max()).time().count() == longest::max());
}

TEST_CASE("options: linger keeps its value and is off by default", "[unit][options]") {
  CHECK(rouse::linger(true, 0s).on());
  CHECK(rouse::linger(true, 1min).time() == 60s);
  CHECK(!rouse::linger(false, 1s).on());
  CHECK(!rouse::linger().on());
}

TEST_CASE("options: each option has its own level and name", "[unit][options]") {
  std::vector<std::pair<int, int>> places;
  const auto add = [&](auto option) { places.emplace_back(option.level, option.name); };
  add(rouse::reuse_address{});
  add(rouse::tcp_no_delay{});
  add(rouse::keep_alive{});
  add(rouse::receive_buffer_size{});
  add(rouse::send_buffer_size{});
  add(rouse::v6_only{});
  add(rouse::broadcast{});
  add(rouse::time_to_live{});
  add(rouse::type_of_service{});
  add(rouse::reuse_port{});
  add(rouse::linger{});
  add(rouse::udp_segment{});
  add(rouse::udp_gro{});
  std::sort(places.begin(), places.end());
  CHECK(std::adjacent_find(places.begin(), places.end()) == places.end());
}

TEST_CASE(
    "options: the concept socket_option accepts a user's type, and refuses one without a size",
    "[unit][options]") {
  STATIC_REQUIRE(rouse::socket_option<owners_option>);
  STATIC_REQUIRE(!rouse::socket_option<sizeless_option>);
  STATIC_REQUIRE(!rouse::socket_option<int>);
}

TEST_CASE("options: an option of the user's type is set and read like any other",
          "[unit][options]") {
  rouse::callbacks sched;
  rouse::socket s{sched};
  s.set_option(owners_option{1});
  CHECK(s.get_option<owners_option>().value != 0);
  CHECK(s.get_option<rouse::keep_alive>().value());
}

TEST_CASE("options: of a closed socket are errors", "[unit][options]") {
  rouse::socket<rouse::callbacks> none;
  std::error_code ec;
  none.set_option(rouse::tcp_no_delay{true}, ec);
  CHECK(ec == std::errc::bad_file_descriptor);
  ec.clear();
  (void)none.get_option<rouse::tcp_no_delay>(ec);
  CHECK(ec == std::errc::bad_file_descriptor);
}

TEST_CASE("options: reuse_port works, or fails with no_protocol_option", "[unit][options]") {
  rouse::callbacks sched;
  rouse::socket s{sched};
  std::error_code ec;
  s.set_option(rouse::reuse_port{true}, ec);
#if ROUSE_WINDOWS
  CHECK(ec == std::errc::no_protocol_option);
#else
  CHECK(!ec);
  CHECK(s.get_option<rouse::reuse_port>().value());
#endif
}

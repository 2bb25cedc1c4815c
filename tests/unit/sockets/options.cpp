#include <support/testing.hpp>

#include <algorithm>
#include <limits>

using namespace testing;

namespace {

// What the kernel would see, and write.
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

// One of a user's own: level, name, and the kernel's form of the value.
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

TEST_CASE("options: a flag is 1 or 0 to the kernel", "[unit][options]") {
  CHECK(raw(rouse::tcp_no_delay{true}) == 1);
  CHECK(raw(rouse::tcp_no_delay{false}) == 0);
  CHECK(raw(rouse::tcp_no_delay{}) == 0);
}

TEST_CASE("options: a flag is on whatever number the kernel writes but 0", "[unit][options]") {
  CHECK(written<rouse::keep_alive>(1).value());
  CHECK(written<rouse::keep_alive>(8).value()); // as some kernels do
  CHECK(!written<rouse::keep_alive>(0).value());
}

TEST_CASE("options: a flag is on by the number that the kernel wants for it", "[unit][options]") {
  using option = rouse::flag_option<IPPROTO_UDP, 1, 65527>;
  CHECK(raw(option{true}) == 65527);
  CHECK(raw(option{false}) == 0);
  CHECK(option{true}.value());
}

TEST_CASE("options: a flag is a condition", "[unit][options]") {
  CHECK(static_cast<bool>(rouse::v6_only{true}));
  CHECK(!static_cast<bool>(rouse::v6_only{false}));
}

TEST_CASE("options: a number is itself to the kernel", "[unit][options]") {
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

TEST_CASE("options: linger takes any duration, in whole seconds, as long as the system can say",
          "[unit][options]") {
  using longest = std::numeric_limits<decltype(::linger{}.l_linger)>;
  CHECK(rouse::linger(true, 1ms).time() == 1s); // 0 would reset the connection
  CHECK(rouse::linger(true, std::chrono::duration<double>(1.5)).time() == 2s);
  CHECK(rouse::linger(true, -1h).time() == 0s);
  CHECK(rouse::linger(true, std::chrono::hours::max()).time().count() == longest::max());
  CHECK(rouse::linger(true, std::chrono::seconds::max()).time().count() == longest::max());
}

TEST_CASE("options: linger keeps what it was given, and is off by default", "[unit][options]") {
  CHECK(rouse::linger(true, 0s).on());
  CHECK(rouse::linger(true, 1min).time() == 60s);
  CHECK(!rouse::linger(false, 1s).on());
  CHECK(!rouse::linger().on());
}

TEST_CASE("options: each has its own place", "[unit][options]") {
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

TEST_CASE("options: socket_option is met by a user's own, not by what lacks a size",
          "[unit][options]") {
  STATIC_REQUIRE(rouse::socket_option<owners_option>);
  STATIC_REQUIRE(!rouse::socket_option<sizeless_option>);
  STATIC_REQUIRE(!rouse::socket_option<int>);
}

TEST_CASE("options: a user's own is set and got like any", "[unit][options]") {
  rouse::callbacks sched;
  rouse::socket s{sched};
  s.set_option(owners_option{1});
  CHECK(s.get_option<owners_option>().value != 0);
  CHECK(s.get_option<rouse::keep_alive>().value());
}

TEST_CASE("options: of a socket without a handle are errors", "[unit][options]") {
  rouse::socket<rouse::callbacks> none;
  std::error_code ec;
  none.set_option(rouse::tcp_no_delay{true}, ec);
  CHECK(ec == std::errc::bad_file_descriptor);
  ec.clear();
  (void)none.get_option<rouse::tcp_no_delay>(ec);
  CHECK(ec == std::errc::bad_file_descriptor);
}

TEST_CASE("options: reuse_port is the system's, or no_protocol_option", "[unit][options]") {
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

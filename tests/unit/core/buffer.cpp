#include <rouse/rouse.hpp>

#include <catch2/catch.hpp>

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

using rouse::const_buffer;
using rouse::mutable_buffer;

namespace {

template <class Buffer, class R>
void check_views(R& range) {
  const Buffer b = range;
  CHECK(b.data() == std::data(range));
  CHECK(b.size() == std::size(range));
}

} // namespace

TEST_CASE("buffer: a default-constructed buffer is empty", "[unit][buffer]") {
  CHECK(mutable_buffer().data() == nullptr);
  CHECK(mutable_buffer().size() == 0);
  CHECK(const_buffer().data() == nullptr);
  CHECK(const_buffer().size() == 0);
}

TEST_CASE("mutable_buffer: views any contiguous range of writable bytes", "[unit][buffer]") {
  char chars[4] = {};
  unsigned char unsigned_chars[5] = {};
  std::byte bytes[6] = {};
  std::array<std::byte, 7> array{};
  std::vector<unsigned char> vector(8);
  std::string string(9, 'x');
  std::span<char> span(chars, 2);
  check_views<mutable_buffer>(chars);
  check_views<mutable_buffer>(unsigned_chars);
  check_views<mutable_buffer>(bytes);
  check_views<mutable_buffer>(array);
  check_views<mutable_buffer>(vector);
  check_views<mutable_buffer>(string);
  check_views<mutable_buffer>(span);
}

TEST_CASE("mutable_buffer: takes an array of char whole, whatever its contents", "[unit][buffer]") {
  char text[] = "four";
  CHECK(mutable_buffer(text).size() == 5);
}

TEST_CASE("const_buffer: views any contiguous range of bytes", "[unit][buffer]") {
  const unsigned char unsigned_chars[5] = {};
  std::byte bytes[6] = {};
  const std::array<std::byte, 7> array{};
  const std::vector<unsigned char> vector(8);
  const std::string string(9, 'x');
  const std::string_view view(string.data() + 1, 3);
  const std::span<const char> span(string.data() + 2, 2);
  check_views<const_buffer>(unsigned_chars);
  check_views<const_buffer>(bytes);
  check_views<const_buffer>(array);
  check_views<const_buffer>(vector);
  check_views<const_buffer>(string);
  check_views<const_buffer>(view);
  check_views<const_buffer>(span);
}

TEST_CASE("const_buffer: leaves out the terminating zero of a string literal", "[unit][buffer]") {
  CHECK(const_buffer("four").size() == 4);
  CHECK(const_buffer("").size() == 0);
}

TEST_CASE("const_buffer: leaves out only the last zero of a string literal", "[unit][buffer]") {
  CHECK(const_buffer("a\0b").size() == 3);
  CHECK(const_buffer("a\0").size() == 2);
}

TEST_CASE("const_buffer: takes an array of const char without a zero at its end whole",
          "[unit][buffer]") {
  const char letters[] = {'a', 'b', 'c'};
  CHECK(const_buffer(letters).size() == 3);
}

TEST_CASE("const_buffer: takes an array of char that is not const whole", "[unit][buffer]") {
  char text[] = "four";
  CHECK(const_buffer(text).size() == 5);
}

TEST_CASE("const_buffer: views the same bytes as the mutable_buffer it is made from",
          "[unit][buffer]") {
  std::string string = "text";
  const mutable_buffer writable = string;
  const const_buffer readable = writable;
  CHECK(readable.data() == string.data());
  CHECK(readable.size() == 4);
}

TEST_CASE("buffer: is made from a pointer, typed or void, and a size", "[unit][buffer]") {
  char chars[8] = {};
  const auto is_first_four = [&](auto b) { return b.data() == chars && b.size() == 4; };
  CHECK(is_first_four(mutable_buffer{chars, 4}));
  CHECK(is_first_four(mutable_buffer{static_cast<void*>(chars), 4}));
  CHECK(is_first_four(const_buffer{chars, 4}));
  CHECK(is_first_four(const_buffer{static_cast<const void*>(chars), 4}));
}

TEST_CASE("buffer: takes a temporary view, because it borrows its bytes", "[unit][buffer]") {
  std::string string = "text";
  CHECK(mutable_buffer(std::span(string).first(2)).size() == 2);
  CHECK(const_buffer(std::string_view(string).substr(1)).data() == string.data() + 1);
}

TEST_CASE("buffer: a mutable_buffer is not made from a pointer to const", "[unit][buffer]") {
  STATIC_REQUIRE(!std::is_constructible_v<mutable_buffer, const char*, std::size_t>);
  STATIC_REQUIRE(!std::is_constructible_v<mutable_buffer, const void*, std::size_t>);
}

TEST_CASE("buffer: can be made in a constant expression", "[unit][buffer]") {
  STATIC_REQUIRE(const_buffer("four").size() == 4);
  STATIC_REQUIRE(mutable_buffer().size() == 0);
}

TEST_CASE("buffer_list: is made from an array, a vector or a span of buffers", "[unit][buffer]") {
  char one[3] = {}, two[4] = {};
  const std::array<mutable_buffer, 2> array{one, two};
  const std::vector<mutable_buffer> vector{one, two};
  for (const rouse::mutable_buffers list :
       {rouse::mutable_buffers(array), rouse::mutable_buffers(vector),
        rouse::mutable_buffers(std::span(vector))}) {
    REQUIRE(list.size() == 2);
    CHECK(list[0].data() == one);
    CHECK(list[1].size() == 4);
  }
  CHECK(rouse::const_buffers().size() == 0);
  STATIC_REQUIRE(!std::is_constructible_v<mutable_buffer, const std::array<mutable_buffer, 2>&>);
  STATIC_REQUIRE(!std::is_constructible_v<const_buffer, const std::vector<const_buffer>&>);
  // A mutable_buffer is not made from bytes that are const.
  STATIC_REQUIRE(
      !std::is_constructible_v<rouse::mutable_buffers, const std::vector<const_buffer>&>);
}

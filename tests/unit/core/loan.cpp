#include <rouse/rouse.hpp>

#include <catch2/catch.hpp>

#include <cstring>
#include <set>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using rouse::loan;
using pool = rouse::detail::buffer_pool;
using owned_pool = std::unique_ptr<pool, pool::closer>;

static_assert(!std::is_copy_constructible_v<loan>);
static_assert(std::is_nothrow_move_constructible_v<loan>);
static_assert(std::ranges::contiguous_range<const loan>);

namespace {
loan filled(pool& from, const char* text) {
  std::byte* bytes = from.lend();
  std::memcpy(bytes, text, std::strlen(text));
  return {bytes, std::strlen(text)};
}
} // namespace

TEST_CASE("loan: gives its bytes as bytes and as text", "[unit][loan]") {
  const owned_pool from(new pool);
  const loan l = filled(*from, "hello");
  CHECK(l);
  CHECK(l.size() == 5);
  CHECK(l.text() == "hello");
  CHECK(l.end() - l.begin() == 5);
  CHECK(rouse::const_buffer(l).size() == 5);
}

TEST_CASE("loan: a move leaves an empty loan, and an assignment returns the old buffer",
          "[unit][loan]") {
  const owned_pool from(new pool);
  loan a = filled(*from, "a"), b = filled(*from, "b");
  std::byte* const of_b = b.data();
  b = std::move(a);
  CHECK(!a);
  CHECK(b.text() == "a");
  CHECK(from->lend() == of_b);
  pool::give_back(of_b);
  loan c = std::move(b);
  CHECK(b.data() == nullptr);
  CHECK(c.text() == "a");
}

TEST_CASE("loan: a loan without bytes holds no buffer", "[unit][loan]") {
  const owned_pool from(new pool);
  std::byte* const bytes = from->lend();
  const loan none(bytes, 0);
  CHECK(!none);
  CHECK(none.text().empty());
  std::byte* const again = from->lend();
  CHECK(again == bytes);
  pool::give_back(again);
}

TEST_CASE("buffer pool: buffers do not overlap, and the last returned is lent first",
          "[unit][loan]") {
  struct size {
    std::byte* (pool::*lend)() noexcept;
    std::size_t room, kept;
  };
  const owned_pool from(new pool);
  for (const auto& [lend, room, kept] :
       {size{&pool::lend, pool::room, pool::kept},
        size{&pool::lend_large, pool::large_room, pool::large_kept}}) {
    std::set<std::byte*> out;
    for (std::size_t i = 0; i != kept + 10; ++i) {
      std::byte* bytes = ((*from).*lend)();
      REQUIRE(bytes);
      std::memset(bytes, static_cast<int>(i), room); // AddressSanitizer checks the bounds
      CHECK(out.insert(bytes).second);
    }
    std::byte* last = nullptr;
    std::size_t back = 0;
    for (std::byte* bytes : out) {
      pool::give_back(bytes);
      if (back++ < kept) last = bytes;
    }
    std::byte* const first = ((*from).*lend)();
    CHECK(first == last);
    pool::give_back(first);
  }
  std::byte *const small = from->lend(), *const large = from->lend_large();
  pool::give_back(small);
  pool::give_back(large); // came back last, but is of the other size
  CHECK(from->lend() == small);
  pool::give_back(small);
}

TEST_CASE("buffer pool: is destroyed with its last buffer, on any thread", "[unit][loan]") {
  loan kept, large;
  {
    const owned_pool from(new pool);
    kept = filled(*from, "kept");
    large = loan(from->lend_large(), pool::large_room);
  }
  CHECK(kept.text() == "kept");
  CHECK(large.size() == pool::large_room);
  std::thread([l = std::move(kept)]() mutable { l.reset(); }).join();
  std::memset(large.data(), 1, large.size());
}

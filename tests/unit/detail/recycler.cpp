#include <rouse/rouse.hpp>

#include <catch2/catch.hpp>

#include <cstdint>
#include <cstring>
#include <new>
#include <thread>
#include <utility>
#include <vector>

using rouse::detail::recycler;

namespace {

// The last size of each class and the first of the next; then sizes beyond the largest class.
const std::vector<std::size_t> sizes{0,     1,     8,     9,     64,    72,     73,
                                     2039,  2040,  2041,  4088,  4089,  8192,   16384,
                                     32760, 32761, 65527, 65528, 65529, 100000, 1000000};

// Each test has a thread of its own, hence a cache of its own.
template <class F>
void in_a_thread(F f) {
  std::thread(f).join();
}

// Releases a block when the thread ends, after its cache is destroyed.
struct late_release {
  void* block = nullptr;
  ~late_release() {
    if (block) recycler::release(block, 100);
  }
};

} // namespace

TEST_CASE("recycler: a block has the requested size, aligned", "[unit][recycler]") {
  for (const std::size_t size : sizes) {
    INFO(size);
    void* p = recycler::allocate(size);
    CHECK(reinterpret_cast<std::uintptr_t>(p) % __STDCPP_DEFAULT_NEW_ALIGNMENT__ == 0);
    std::memset(p, 0xa5, size); // AddressSanitizer checks the bounds
    recycler::release(p, size);
    // A smaller block of the same class that is reused must still have this size.
    p = recycler::allocate(size - (size > 1));
    recycler::release(p, size - (size > 1));
    p = recycler::allocate(size);
    std::memset(p, 0x5a, size);
    recycler::release(p, size);
  }
}

TEST_CASE("recycler: released blocks are reused, the latest first", "[unit][recycler]") {
  void *a = nullptr, *b = nullptr, *first = nullptr, *second = nullptr;
  in_a_thread([&] {
    a = recycler::allocate(200);
    b = recycler::allocate(200);
    recycler::release(a, 200);
    recycler::release(b, 200);
    first = recycler::allocate(200);
    second = recycler::allocate(200);
    recycler::release(first, 200);
    recycler::release(second, 200);
  });
  CHECK(first == b);
  CHECK(second == a);
}

TEST_CASE("recycler: sizes of one class share their blocks", "[unit][recycler]") {
  for (const auto& [released, wanted] : {std::pair<std::size_t, std::size_t>{1, 8},
                                         {57, 72},
                                         {2025, 2040},
                                         {2041, 4088},
                                         {4089, 8184},
                                         {32761, 65528}}) {
    INFO(released << " and " << wanted);
    bool same = false;
    in_a_thread([&, from = released, to = wanted] {
      void* a = recycler::allocate(from);
      recycler::release(a, from);
      void* b = recycler::allocate(to);
      same = a == b;
      recycler::release(b, to);
    });
    CHECK(same);
  }
}

TEST_CASE("recycler: a larger size never gets a block of a smaller class", "[unit][recycler]") {
  for (const std::size_t size : {72u, 136u, 1976u, 2040u, 4088u, 32760u}) {
    INFO(size);
    bool same = true;
    in_a_thread([&, size] {
      void* small_one = recycler::allocate(size);
      recycler::release(small_one, size);
      void* large_one = recycler::allocate(size + 1);
      same = small_one == large_one;
      std::memset(large_one, 0xa5, size + 1);
      recycler::release(large_one, size + 1);
    });
    CHECK(!same);
  }
}

TEST_CASE("recycler: a block serves the thread that released it", "[unit][recycler]") {
  void* block = recycler::allocate(300);
  void* again = nullptr;
  in_a_thread([&] {
    recycler::release(block, 300);
    again = recycler::allocate(300);
    recycler::release(again, 300);
  });
  CHECK(again == block);
}

#if !ROUSE_EMULATED_TLS // which frees a thread's objects before their destructors run
TEST_CASE("recycler: a block released by a thread's last destructors is not lost",
          "[unit][recycler]") {
  in_a_thread([] {
    static thread_local late_release late; // made before the cache, destroyed after it
    late.block = recycler::allocate(100);
  });
  SUCCEED("the sanitizer reports a block that is lost or freed twice");
}
#endif

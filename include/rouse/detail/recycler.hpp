// Memory for blocks that come and go at a high rate: coroutine frames, pending handlers.
#pragma once
#include <rouse/config.hpp>

#include <bit>
#include <cstddef>
#include <new>
#include <utility>
#if ROUSE_EMULATED_TLS
#include <cxxabi.h>
#endif

namespace rouse::inline ROUSE_ABI::detail {

/// A thread's free blocks, by size. After warm-up neither allocates nor frees.
///
/// A block may be freed by another thread than the one that allocated it: it then serves that one.
class recycler {
public:
  // Inlined: where the size is known, its class is.
  ROUSE_ALWAYS_INLINE static void* allocate(std::size_t size) {
    const std::size_t c = class_of(size);
    if (c >= classes) return fresh(size);
    cache& mine = local();
    if (block* b = mine.free[c]) [[likely]] {
      mine.free[c] = b->next;
      ++mine.room[c];
      return b;
    }
    return fresh(size_of(c));
  }

  ROUSE_ALWAYS_INLINE static void release(void* p, std::size_t size) noexcept {
    const std::size_t c = class_of(size);
    cache& mine = local();
    if (c >= classes || mine.room[c] == 0) [[unlikely]] {
      drop(p);
      return;
    }
    auto* b = ::new (p) block{mine.free[c]};
    mine.free[c] = b;
    --mine.room[c];
  }

private:
  // Out of line: g++ takes an operator of a class that calls these for another pair than they are.
  ROUSE_NOINLINE static void* fresh(std::size_t size) { return ::operator new(size); }
  ROUSE_NOINLINE static void drop(void* p) noexcept { ::operator delete(p); }

  // Up to 2 KiB in steps of 16, then in powers of two up to 64 KiB. The steps are those of common
  // allocators, whose blocks are a multiple of 16 bytes with 8 of their own.
  static constexpr std::size_t grain = 16, fine = 128, classes = fine + 5, own = 8;
  static constexpr std::size_t keep = std::size_t{8} << 20; // bytes of one size that a thread keeps
  struct block {
    block* next;
  };
  struct cache {
    block* free[classes] = {};
    std::size_t room[classes] = {}; // how many more it keeps
    constexpr cache() {
      for (std::size_t c = 0; c != classes; ++c) room[c] = keep / size_of(c);
    }
    // Blocks may still be released while the thread's other objects die: none is kept then.
    void close() noexcept {
      for (block*& b : free) {
        while (b) ::operator delete(std::exchange(b, b->next));
      }
      for (std::size_t& r : room) r = 0;
    }
  };

  struct closer {
    cache& what;
    ~closer() { what.close(); }
  };

  static constexpr std::size_t class_of(std::size_t size) noexcept {
    const std::size_t step = size <= own ? 0 : (size + own - 1) / grain;
    return step < fine ? step : fine - 1 + static_cast<std::size_t>(std::bit_width(step / fine));
  }
  static constexpr std::size_t size_of(std::size_t c) noexcept {
    return (c < fine ? (c + 1) * grain : grain * fine << (c + 1 - fine)) - own;
  }
  // Not inlined: a fiber may go on in another thread, whose cache this then must be.
  ROUSE_NOINLINE static cache& local() noexcept {
#if ROUSE_EMULATED_TLS
    static thread_local cache* c = nullptr;
    if (!c) {
      c = new cache;
      const auto end = [](void* mine) noexcept {
        static_cast<cache*>(mine)->close();
        delete static_cast<cache*>(mine);
      };
      abi::__cxa_thread_atexit(end, c, nullptr);
    }
    return *c;
#else
    // Two objects: what a destructor stores in its own, the compiler leaves out.
    static thread_local cache c;
    static thread_local const closer at_end{c};
    return c;
#endif
  }
};

} // namespace rouse::inline ROUSE_ABI::detail

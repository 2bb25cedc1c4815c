// Memory for blocks that come and go at a high rate: coroutine frames, pending handlers.
#pragma once
#include <rouse/config.hpp>

#include <cstddef>
#include <new>
#if ROUSE_EMULATED_TLS
#include <cxxabi.h>
#endif

namespace rouse::inline ROUSE_ABI::detail {

/// A thread's free blocks, by size. After warm-up neither allocates nor frees.
///
/// A block may be freed by another thread than the one that allocated it: it then serves that one.
class recycler {
public:
  static void* allocate(std::size_t size) {
    const std::size_t c = class_of(size);
    if (c >= classes) return ::operator new(size);
    cache& mine = local();
    if (block* b = mine.free[c]) {
      mine.free[c] = b->next;
      --mine.count[c];
      return b;
    }
    return ::operator new((c + 1) * grain);
  }

  static void release(void* p, std::size_t size) noexcept {
    const std::size_t c = class_of(size);
    cache& mine = local();
    if (c >= classes || mine.gone || mine.count[c] == keep) {
      ::operator delete(p);
      return;
    }
    auto* b = ::new (p) block{mine.free[c]};
    mine.free[c] = b;
    ++mine.count[c];
  }

private:
  static constexpr std::size_t grain = 64, classes = 32; // up to 2 KiB
  static constexpr unsigned keep = 4096; // blocks of one size that a thread keeps
  struct block {
    block* next;
  };
  struct cache {
    block* free[classes] = {};
    unsigned count[classes] = {};
    bool gone = false; // blocks may still be released while the thread's other objects die
    ~cache() {
      for (block* b : free) {
        while (b) {
          block* next = b->next;
          ::operator delete(b);
          b = next;
        }
      }
      gone = true;
    }
  };

  static std::size_t class_of(std::size_t size) noexcept {
    return size == 0 ? 0 : (size - 1) / grain;
  }
  // Not inlined: a fiber may go on in another thread, whose cache this then must be.
  ROUSE_NOINLINE static cache& local() noexcept {
#if ROUSE_EMULATED_TLS
    static thread_local cache* c = nullptr;
    if (!c) {
      c = new cache;
      abi::__cxa_thread_atexit([](void* mine) noexcept { delete static_cast<cache*>(mine); }, c,
                               nullptr);
    }
    return *c;
#else
    static thread_local cache c;
    return c;
#endif
  }
};

} // namespace rouse::inline ROUSE_ABI::detail

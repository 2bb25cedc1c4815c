// Memory for blocks that come and go at a high rate: coroutine frames, pending handlers.
#pragma once
#include <rouse/config.hpp>
#include <rouse/detail/thread_exit.hpp>

#include <bit>
#include <cstddef>
#include <new>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

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
    if (c >= classes || mine.room[c] == 0) [[unlikely]]
      return keep_or_drop(p, c);
    mine.keep(p, c);
  }

private:
  // Out of line: g++ takes an operator of a class that calls these for another pair than they are.
  ROUSE_COLD static void* fresh(std::size_t size) { return ::operator new(size); }
  ROUSE_COLD static void keep_or_drop(void* p, std::size_t c) noexcept {
    if (c >= classes || !opened()) return ::operator delete(p);
    local().keep(p, c);
  }

  // Up to 2 KiB in steps of 16, then in powers of two up to 64 KiB. The steps are those of common
  // allocators, whose blocks are a multiple of 16 bytes with 8 of their own.
  static constexpr std::size_t grain = 16, fine = 128, classes = fine + 5, own = 8;
  static constexpr std::size_t most = std::size_t{8} << 20; // bytes of one size that a thread keeps
  struct block {
    block* next;
  };
  struct cache {
    block* free[classes] = {};
    std::size_t room[classes] = {}; // how many more it keeps
    void open() noexcept {
      for (std::size_t c = 0; c != classes; ++c) room[c] = most / size_of(c);
    }
    ROUSE_ALWAYS_INLINE void keep(void* p, std::size_t c) noexcept {
      free[c] = ::new (p) block{free[c]};
      --room[c];
    }
    // Blocks may still be released while the thread's other objects die: none is kept then.
    void close() noexcept {
      for (block*& b : free) {
        while (b) ::operator delete(std::exchange(b, b->next));
      }
      for (std::size_t& r : room) r = 0;
    }
  };

  // A thread's first release opens its cache; its end closes it, for good.
  struct opener {
    cache& what = local();
    opener() noexcept { what.open(); }
    opener(const opener&) = delete;
    ~opener() { what.close(); }
  };
  // True: only now.
  static bool opened() noexcept {
    static thread_local bool was = false;
    if (&local() == &none() || std::exchange(was, true)) return false;
    return thread_object<opener>(std::nothrow) != nullptr;
  }

  static constexpr std::size_t class_of(std::size_t size) noexcept {
    const std::size_t step = size <= own ? 0 : (size + own - 1) / grain;
    return step < fine ? step : fine - 1 + static_cast<std::size_t>(std::bit_width(step / fine));
  }
  static constexpr std::size_t size_of(std::size_t c) noexcept {
    return (c < fine ? (c + 1) * grain : grain * fine << (c + 1 - fine)) - own;
  }
  // The cache of a thread that could not allocate its own: it keeps nothing and is never written to.
  static cache& none() noexcept {
    static constinit cache empty;
    return empty;
  }
  ROUSE_HOT ROUSE_NEVER_INLINE static cache& local() noexcept {
    cache* const mine = thread_object<cache>(std::nothrow);
    return mine ? *mine : none();
  }
};

}}} // namespace rouse::ROUSE_ABI::detail

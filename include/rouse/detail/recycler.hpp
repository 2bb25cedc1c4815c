// Memory for blocks that are allocated and freed at a high rate: coroutine frames and pending
// handlers.
#pragma once
#include <rouse/config.hpp>
#include <rouse/detail/thread_exit.hpp>

#include <bit>
#include <cstddef>
#include <new>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// Allocates blocks from the calling thread's cache of free blocks, which has one list per size
/// class. After warm-up neither function calls the global allocator.
///
/// A block may be released on another thread than the one that allocated it. It then goes into the
/// cache of the releasing thread.
///
/// Threads: any.
class recycler {
public:
  // Inlined, so that a constant size gives a constant class. An echo with callbacks then takes 11 %
  // fewer instructions.
  ROUSE_ALWAYS_INLINE static void* allocate(std::size_t size) {
    const std::size_t c = class_of(size);
    if (c >= classes) return fresh(size);
    cache& mine = local();
    if (block* b = mine.free[c]) {
      mine.free[c] = b->next;
      ++mine.room[c];
      return b;
    }
    return fresh(size_of(c));
  }

  ROUSE_ALWAYS_INLINE static void release(void* p, std::size_t size) noexcept {
    const std::size_t c = class_of(size);
    cache& mine = local();
    if (c >= classes || mine.room[c] == 0) return keep_or_drop(p, c);
    mine.keep(p, c);
  }

private:
  // Out of line: otherwise GCC warns of mismatched new and delete in classes that implement their
  // operators by this one.
  ROUSE_COLD static void* fresh(std::size_t size) { return ::operator new(size); }
  ROUSE_COLD static void keep_or_drop(void* p, std::size_t c) noexcept {
    if (c >= classes || !opened()) return ::operator delete(p);
    local().keep(p, c);
  }

  // Size classes: steps of 16 bytes up to 2 KiB, then powers of two up to 64 KiB. The steps match
  // common allocators: their blocks are multiples of 16 bytes with 8 bytes of bookkeeping.
  static constexpr std::size_t grain = 16, fine = 128, classes = fine + 5, own = 8;
  static constexpr std::size_t most = std::size_t{8} << 20; // bytes kept per class and thread
  struct block {
    block* next;
  };
  struct cache {
    block* free[classes] = {};
    std::size_t room[classes] = {}; // how many more blocks are kept
    void open() noexcept {
      for (std::size_t c = 0; c != classes; ++c) room[c] = most / size_of(c);
    }
    void keep(void* p, std::size_t c) noexcept {
      free[c] = ::new (p) block{free[c]};
      --room[c];
    }
    // Other objects of the thread may release blocks after this. None is kept then.
    void close() noexcept {
      for (block*& b : free) {
        while (b) ::operator delete(std::exchange(b, b->next));
      }
      for (std::size_t& r : room) r = 0;
    }
  };

  // A thread's first release makes one, which opens the thread's cache. The cache itself has no
  // destructor, so that access to it needs no check; this object closes it as the thread exits.
  struct opener {
    cache& what = local();
    opener() noexcept { what.open(); }
    opener(const opener&) = delete;
    ~opener() { what.close(); }
  };
  // Returns true if this call opened the cache.
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
  // Stands for the cache of a thread that could not allocate one (emulated thread_local only). It
  // has no room, so it is never written to.
  static cache& none() noexcept {
    static constinit cache empty;
    return empty;
  }
  ROUSE_NEVER_INLINE static cache& local() noexcept {
    cache* const mine = thread_object<cache>(std::nothrow);
    return mine ? *mine : none();
  }
};

}}} // namespace rouse::ROUSE_ABI::detail

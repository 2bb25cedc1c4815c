// Buffers of one size, lent out one at a time.
#pragma once
#include <rouse/config.hpp>

#include <cstddef>
#include <mutex>
#include <new>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// Its owner lends, whoever has a buffer gives it back; the one that came back last goes out first,
/// since it is in the cache. Closed by its owner, the pool is gone once all buffers are back.
///
/// Threads: any. Cost: no allocation while fewer than `kept` buffers are out beyond those that were
/// before.
class buffer_pool {
  struct block {
    buffer_pool* owner;
    block* next;
  };

public:
  static constexpr std::size_t block_size = std::size_t{16} << 10;
  static constexpr std::size_t room = block_size - sizeof(block); ///< bytes of a buffer
  static constexpr std::size_t kept = 64; ///< free buffers that are not given back to the system

  buffer_pool() noexcept = default;
  buffer_pool(const buffer_pool&) = delete;
  buffer_pool& operator=(const buffer_pool&) = delete;

  /// `room` bytes; null when memory is short.
  [[nodiscard]] std::byte* lend() noexcept {
    const std::lock_guard lock(mutex_);
    block* b = free_;
    if (b) {
      free_ = b->next;
      --spare_;
    } else {
      void* p = ::operator new(block_size, std::nothrow);
      if (!p) return nullptr;
      b = ::new (p) block{this, nullptr};
    }
    ++lent_;
    return reinterpret_cast<std::byte*>(b + 1);
  }

  /// To whichever pool it is from.
  static void give_back(std::byte* bytes) noexcept {
    block* b = reinterpret_cast<block*>(bytes) - 1;
    buffer_pool& from = *b->owner;
    if (from.take(b)) delete &from;
  }

  /// In a forked child: a thread that does not exist there may have locked it.
  void renew_lock() noexcept { ::new (&mutex_) std::mutex; }

  struct closer {
    void operator()(buffer_pool* p) const noexcept {
      if (p->close()) delete p;
    }
  };

private:
  ~buffer_pool() = default;

  // True: it was the last one of a closed pool.
  bool take(block* b) noexcept {
    const std::lock_guard lock(mutex_);
    --lent_;
    if (closed_ || spare_ == kept) {
      ::operator delete(b);
    } else {
      b->next = free_;
      free_ = b;
      ++spare_;
    }
    return closed_ && lent_ == 0;
  }

  bool close() noexcept {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    while (block* b = free_) {
      free_ = b->next;
      ::operator delete(b);
    }
    return lent_ == 0;
  }

  std::mutex mutex_;
  block* free_ = nullptr;
  std::size_t spare_ = 0; // in free_
  std::size_t lent_ = 0;
  bool closed_ = false;
};

}}} // namespace rouse::ROUSE_ABI::detail

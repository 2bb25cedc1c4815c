// A pool of buffers, which are lent out one at a time.
#pragma once
#include <rouse/config.hpp>

#include <cstddef>
#include <memory>
#include <mutex>
#include <new>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// The owner lends buffers of two sizes, and the holder of a buffer gives it back. The buffer that
/// came back last is lent first, since it is still in the cache. After the owner has closed the
/// pool, the pool is deleted when the last buffer comes back.
///
/// Threads: any. Cost: a mutex (two for a large buffer); an allocation if no free buffer is left.
/// At most `kept` free buffers stay allocated, unless `keep` says otherwise, and `large_kept` large
/// ones.
class buffer_pool {
  struct block {
    buffer_pool* owner;
    block* next;
  };

public:
  // 16 KiB, and as much more as TLS adds to them, so that one buffer holds the longest record.
  static constexpr std::size_t block_size = (std::size_t{16} << 10) + 304;
  static constexpr std::size_t room = block_size - sizeof(block); ///< bytes of one buffer
  /// The most free buffers that stay allocated: what the receives of one turn may hold at once.
  static constexpr std::size_t kept = 256;
  static constexpr std::size_t large_room = std::size_t{64} << 10; ///< bytes of a large buffer
  static constexpr std::size_t large_kept = 16; ///< most free large buffers that stay allocated

  buffer_pool() noexcept = default;
  buffer_pool(const buffer_pool&) = delete;
  buffer_pool& operator=(const buffer_pool&) = delete;

  /// Returns `large_room` bytes, or null when memory is short.
  [[nodiscard]] std::byte* lend_large() noexcept {
    {
      const std::lock_guard lock(mutex_);
      if (!large_) large_.reset(new (std::nothrow) buffer_pool(large_room, large_kept));
      if (!large_) return nullptr;
    }
    return large_->lend();
  }

  /// Returns `room` bytes, or null when memory is short.
  [[nodiscard]] std::byte* lend() noexcept {
    const std::lock_guard lock(mutex_);
    block* b = free_;
    if (b) {
      free_ = b->next;
      --spare_;
    } else {
      void* p = ::operator new(sizeof(block) + room_, std::nothrow);
      if (!p) return nullptr;
      b = ::new (p) block{this, nullptr};
    }
    ++lent_;
    return reinterpret_cast<std::byte*>(b + 1);
  }

  /// Returns a buffer to the pool that lent it, which may already be closed.
  static void give_back(std::byte* bytes) noexcept {
    block* b = reinterpret_cast<block*>(bytes) - 1;
    buffer_pool& from = *b->owner;
    if (from.take(b)) delete &from;
  }

  /// From now on, at most `n` free buffers stay allocated.
  void keep(std::size_t n) noexcept {
    const std::lock_guard lock(mutex_);
    kept_ = n;
    while (spare_ > kept_) free_one();
  }

  /// For a forked child, where the mutex may be locked by a thread that exists in the parent only.
  void renew_lock() noexcept {
    ::new (&mutex_) std::mutex;
    if (large_) large_->renew_lock();
  }

  struct closer {
    void operator()(buffer_pool* p) const noexcept {
      if (p->close()) delete p;
    }
  };

private:
  buffer_pool(std::size_t bytes, std::size_t keep) noexcept : room_(bytes), kept_(keep) {}
  ~buffer_pool() = default;

  // Returns true for the last buffer of a closed pool: the caller deletes the pool.
  bool take(block* b) noexcept {
    const std::lock_guard lock(mutex_);
    --lent_;
    if (closed_ || spare_ >= kept_) {
      ::operator delete(b);
    } else {
      b->next = free_;
      free_ = b;
      ++spare_;
    }
    return closed_ && lent_ == 0;
  }

  bool close() noexcept {
    large_.reset();
    const std::lock_guard lock(mutex_);
    closed_ = true;
    while (free_) free_one();
    return lent_ == 0;
  }

  void free_one() noexcept {
    block* const b = free_;
    free_ = b->next;
    --spare_;
    ::operator delete(b);
  }

  const std::size_t room_ = room; // bytes of each buffer
  std::mutex mutex_;
  std::unique_ptr<buffer_pool, closer> large_; // a pool of the large ones, made when first needed
  block* free_ = nullptr;
  std::size_t spare_ = 0; // length of free_
  std::size_t kept_ = kept; // greatest length of free_
  std::size_t lent_ = 0;
  bool closed_ = false;
};

}}} // namespace rouse::ROUSE_ABI::detail

// A queue in one block of memory, which doubles when it is full and never shrinks.
#pragma once
#include <rouse/config.hpp>
#include <rouse/detail/guarded.hpp>

#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// A first-in, first-out queue of values. The first `push` allocates; later ones only to grow.
template <class T>
class ring {
  static_assert(std::is_nothrow_move_constructible_v<T>);

public:
  ring() noexcept = default;
  ring(const ring&) = delete;
  ring& operator=(const ring&) = delete;
  ~ring() {
    while (size_ != 0) pop();
    std::allocator<T>().deallocate(slots_, capacity_);
  }

  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// Appends a value. Returns false if memory is short; `value` is then unchanged.
  [[nodiscard]] bool push(T&& value) noexcept {
    if (size_ == capacity_ && !grow()) return false;
    std::construct_at(&at(size_++), std::move(value));
    return true;
  }
  [[nodiscard]] T& front() noexcept { return at(0); }
  void pop() noexcept {
    std::destroy_at(&at(0));
    first_ = (first_ + 1) & (capacity_ - 1);
    --size_;
  }

private:
  T& at(std::size_t n) noexcept { return slots_[(first_ + n) & (capacity_ - 1)]; }

  bool grow() noexcept {
    const std::size_t capacity = capacity_ == 0 ? 8 : capacity_ * 2;
    T* const slots =
        guarded([&] { return std::allocator<T>().allocate(capacity); }, [] { return nullptr; });
    if (!slots) return false;
    for (std::size_t n = 0; n != size_; ++n) {
      std::construct_at(slots + n, std::move(at(n)));
      std::destroy_at(&at(n));
    }
    std::allocator<T>().deallocate(slots_, capacity_);
    slots_ = slots;
    capacity_ = capacity;
    first_ = 0;
    return true;
  }

  T* slots_ = nullptr;
  std::size_t capacity_ = 0; // a power of two
  std::size_t first_ = 0;
  std::size_t size_ = 0;
};

}}} // namespace rouse::ROUSE_ABI::detail

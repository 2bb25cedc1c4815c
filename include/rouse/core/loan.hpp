// A loan: what was received, in a buffer that the engine lends.
#pragma once
#include <rouse/config.hpp>
#include <rouse/detail/buffer_pool.hpp>

#include <cstddef>
#include <string_view>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {

/// Bytes that `receive` gave: a contiguous range, yours to read and to change until the loan is
/// destroyed, when the buffer goes back to the engine. Empty at the end of the stream.
///
/// Move-only. May outlive its socket and its scheduler. Threads: any. A loan kept is a buffer of
/// 16 KiB kept.
class [[nodiscard]] loan {
public:
  loan() noexcept = default;
  /// Takes over a buffer of a pool with `size` bytes in it, or null.
  loan(std::byte* buffer, std::size_t size) noexcept : data_(buffer), size_(size) {
    if (size_ == 0) reset();
  }
  loan(loan&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  loan& operator=(loan&& other) noexcept {
    if (this != &other) {
      reset();
      data_ = std::exchange(other.data_, nullptr);
      size_ = std::exchange(other.size_, 0);
    }
    return *this;
  }
  ~loan() { reset(); }

  /// Gives the buffer back.
  void reset() noexcept {
    if (data_) detail::buffer_pool::give_back(std::exchange(data_, nullptr));
    size_ = 0;
  }

  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::byte* begin() const noexcept { return data_; }
  [[nodiscard]] std::byte* end() const noexcept { return data_ + size_; }
  /// Whether there are bytes: `while (auto bytes = co_await s.receive())` ends with the stream.
  explicit operator bool() const noexcept { return size_ != 0; }
  /// The bytes as text, of the loan's lifetime.
  [[nodiscard]] std::string_view text() const& noexcept {
    return {reinterpret_cast<const char*>(data_), size_};
  }
  std::string_view text() const&& = delete;

private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}} // namespace rouse::ROUSE_ABI

// A loan: received bytes in a buffer that the engine lends.
#pragma once
#include <rouse/config.hpp>
#include <rouse/detail/buffer_pool.hpp>

#include <cstddef>
#include <string_view>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {

/// The bytes that `receive` returned: a contiguous range, which you may read and change until the
/// loan is destroyed. Its buffer then returns to the engine. Empty at the end of the stream.
///
/// Move-only. May outlive its socket and its scheduler. Threads: any. Cost: a loan holds a buffer
/// of a little more than 16 KiB, or of 64 KiB while a stream fills its buffers.
class [[nodiscard]] loan {
public:
  loan() noexcept = default;
  /// Takes over a buffer of the pool that contains `size` bytes; or null.
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

  /// Returns the buffer to the engine.
  void reset() noexcept {
    if (data_) detail::buffer_pool::give_back(std::exchange(data_, nullptr));
    size_ = 0;
  }

  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::byte* begin() const noexcept { return data_; }
  [[nodiscard]] std::byte* end() const noexcept { return data_ + size_; }
  /// Whether it has bytes: `while (auto bytes = co_await s.receive())` ends with the stream.
  explicit operator bool() const noexcept { return size_ != 0; }
  /// The bytes as text, valid as long as the loan.
  [[nodiscard]] std::string_view text() const& noexcept {
    return {reinterpret_cast<const char*>(data_), size_};
  }
  std::string_view text() const&& = delete;

private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}} // namespace rouse::ROUSE_ABI

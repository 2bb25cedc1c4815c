// How far a call has come in its buffers.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/buffer.hpp>

#include <cstddef>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// A single buffer, as a list of one.
template <class Buffer>
class one_buffer {
public:
  explicit one_buffer(Buffer b) noexcept : buffer_(b) {}
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 1; }
  [[nodiscard]] const Buffer& operator[](std::size_t) const noexcept { return buffer_; }

private:
  Buffer buffer_;
};

/// A position in several buffers. Empty buffers are skipped.
///
/// @tparam Buffers  `some_buffers` or `one_buffer`.
template <class Buffer, class Buffers>
class buffer_cursor {
public:
  explicit buffer_cursor(const Buffers& b) noexcept : buffers_(b) { skip_done(); }

  /// All buffers are done.
  [[nodiscard]] bool complete() const noexcept { return current_ == buffers_.size(); }
  /// Bytes that are done.
  [[nodiscard]] std::size_t moved() const noexcept { return moved_; }
  /// The rest of the first unfinished buffer.
  [[nodiscard]] Buffer current() const noexcept { return rest_of(current_, offset_); }
  /// Whether no buffer follows the current one.
  [[nodiscard]] bool last() const noexcept { return current_ + 1 >= buffers_.size(); }

  /// A call has moved so many bytes.
  void add(std::size_t bytes) noexcept {
    moved_ += bytes;
    while (!complete()) {
      const std::size_t left = buffers_[current_].size() - offset_;
      if (bytes < left) {
        offset_ += bytes;
        return;
      }
      bytes -= left;
      ++current_;
      offset_ = 0;
    }
  }

  /// Calls `f(Buffer)` for each piece that is left, as long as it returns true.
  template <class F>
  void for_each_piece(F f) const noexcept {
    std::size_t offset = offset_;
    for (std::size_t i = current_; i != buffers_.size(); ++i, offset = 0) {
      const Buffer piece = rest_of(i, offset);
      if (piece.size() != 0 && !f(piece)) return;
    }
  }

private:
  [[nodiscard]] Buffer rest_of(std::size_t i, std::size_t offset) const noexcept {
    const Buffer& b = buffers_[i];
    auto* const data = static_cast<const std::byte*>(b.data()) + offset;
    return {const_cast<std::byte*>(data), b.size() - offset}; // const again if it is a const_buffer
  }
  void skip_done() noexcept { add(0); }

  Buffers buffers_;
  std::size_t current_ = 0; // the first unfinished buffer
  std::size_t offset_ = 0; // bytes of it that are done
  std::size_t moved_ = 0;
};

}}} // namespace rouse::ROUSE_ABI::detail

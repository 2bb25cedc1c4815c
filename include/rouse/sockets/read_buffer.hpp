// The memory of a reader, and what one of its calls looks for in it.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/buffer.hpp>
#include <rouse/core/error.hpp>

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>
#include <system_error>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

// The unread bytes, contiguous in memory:
//
//    0      begin_                                end_   size_
//    | free | returned by the last call | unread  | room |
//            `------ handed_out_ ------'
class read_buffer {
public:
  explicit read_buffer(std::size_t most) noexcept : most_(most == 0 ? 1 : most) {}

  [[nodiscard]] std::string_view bytes() const noexcept {
    return {data_.get() + begin_, end_ - begin_};
  }
  [[nodiscard]] std::size_t most() const noexcept { return most_; }

  // Returns the first `n` bytes. They stay in place until `begin_call`.
  std::string_view hand_out(std::size_t n) noexcept {
    handed_out_ = n;
    return bytes().substr(0, n);
  }
  // Discards the bytes that the last call returned.
  void begin_call() noexcept {
    begin_ += std::exchange(handed_out_, 0);
    searched_ = 0;
    if (begin_ == end_) begin_ = end_ = 0;
  }

  // The position after `delimiter`, or 0. Bytes are searched only once.
  std::size_t find(std::string_view delimiter) noexcept {
    const std::size_t at = bytes().find(delimiter, searched_);
    if (at != std::string_view::npos) return at + delimiter.size();
    const std::size_t unread = bytes().size(), overlap = delimiter.size() - 1;
    searched_ = unread > overlap ? unread - overlap : 0;
    return 0;
  }

  // Makes room for at least one byte. message_size: there are `most` unread bytes.
  failure make_room() noexcept {
    if (end_ != size_) return {};
    const std::size_t unread = end_ - begin_;
    if (unread >= most_) return std::errc::message_size;
    const std::size_t twice = size_ == 0 ? smallest : size_ * 2;
    // Moves the bytes to the front if that frees half of the memory; otherwise doubles the memory.
    if (size_ != 0 && (unread <= size_ / 2 || size_ == most_)) return move_to(nullptr, size_);
    const std::size_t size = twice < most_ ? twice : most_;
    auto* const larger = new (std::nothrow) char[size];
    return larger ? move_to(larger, size) : failure(std::errc::not_enough_memory);
  }
  [[nodiscard]] mutable_buffer room() noexcept {
    const std::size_t left = size_ - end_, allowed = most_ - (end_ - begin_);
    return {data_.get() + end_, left < allowed ? left : allowed};
  }
  void add(std::size_t n) noexcept { end_ += n; }

private:
  static constexpr std::size_t smallest = 4096;

  failure move_to(char* larger, std::size_t size) noexcept {
    const std::size_t unread = end_ - begin_;
    char* const to = larger ? larger : data_.get();
    if (unread != 0) std::memmove(to, data_.get() + begin_, unread);
    if (larger) data_.reset(larger);
    size_ = size;
    begin_ = 0;
    end_ = unread;
    return {};
  }

  const std::size_t most_;
  std::unique_ptr<char[]> data_;
  std::size_t size_ = 0, begin_ = 0, end_ = 0;
  std::size_t handed_out_ = 0; // from begin_
  std::size_t searched_ = 0; // from begin_, without the delimiter
};

// What a call returns: the bytes up to a delimiter, or a number of bytes if the delimiter is empty.
class wanted_piece {
public:
  wanted_piece(read_buffer& b, std::string_view delimiter, std::size_t wanted) noexcept
      : buffer_(&b), delimiter_(delimiter), wanted_(wanted) {}

  // The call begins, which discards what the last one returned. It may be refused.
  failure begin() noexcept {
    buffer_->begin_call();
    if (!delimiter_.empty() || (wanted_ != 0 && wanted_ <= buffer_->most())) return {};
    return wanted_ == 0 ? std::errc::invalid_argument : std::errc::message_size;
  }
  // Whether the piece is in the buffer.
  bool complete() noexcept {
    if (!delimiter_.empty())
      found_ = buffer_->find(delimiter_);
    else if (buffer_->bytes().size() >= wanted_)
      found_ = wanted_;
    return found_ != 0;
  }
  // At the end of the stream: all that is left.
  void be_the_rest() noexcept { found_ = buffer_->bytes().size(); }

  [[nodiscard]] read_buffer& buffer() noexcept { return *buffer_; }
  [[nodiscard]] std::string_view value() noexcept { return buffer_->hand_out(found_); }

private:
  read_buffer* buffer_;
  std::string_view delimiter_;
  std::size_t wanted_;
  std::size_t found_ = 0; // size of the result
};

}}} // namespace rouse::ROUSE_ABI::detail

// A buffered reader: lines, delimited pieces and exact numbers of bytes of a stream.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/buffer.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/sockets/socket.hpp>
#include <rouse/sockets/stream_calls.hpp>

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

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

// Reads up to a delimiter, or a number of bytes if the delimiter is empty.
struct read_call {
  using value_type = std::string_view;
  static constexpr const char* name = "rouse: read";
  static constexpr const char* misuse = "no bytes are requested";
  socket_state* socket;
  read_buffer* buffer;
  std::string_view delimiter;
  std::size_t wanted = 0;
  std::size_t found = 0; // size of the result

  bool prepare(operation& op) noexcept {
    buffer->begin_call();
    if (delimiter.empty() && (wanted == 0 || wanted > buffer->most())) {
      op.error = wanted == 0 ? std::errc::invalid_argument : std::errc::message_size;
      return false;
    }
    return !has_result() && fetch(op);
  }

  bool advance(operation& op) noexcept {
    buffer->add(op.bytes);
    if (op.error || has_result()) return true;
    if (op.bytes != 0) return !fetch(op);
    found = buffer->bytes().size(); // the end: the rest
    return true;
  }

  std::string_view value(operation&) noexcept { return buffer->hand_out(found); }

private:
  bool has_result() noexcept {
    if (!delimiter.empty())
      found = buffer->find(delimiter);
    else if (buffer->bytes().size() >= wanted)
      found = wanted;
    return found != 0;
  }
  // False: no room; `op.error` says why.
  bool fetch(operation& op) noexcept {
    op.error = buffer->make_room();
    if (!op.error) request_recv(op, socket, buffer->room());
    return !op.error;
  }
};

} // namespace detail

/// Reads a socket's stream in pieces: lines, up to a delimiter, or a number of bytes.
///
///     rouse::reader in{conn};
///     while (!(line = co_await in.read_line()).empty()) ...
///
/// A call returns a view into the reader, valid until its next call. No byte is lost: bytes that
/// came before an error, a limit or a cancel, or beyond what a call returns, are there for the next
/// call. (`buffered()` shows them; the socket's own `recv` does not return them.)
///
/// Borrows the socket, which must not be moved. One call at a time. Threads: the scheduler's own.
/// Cost: that of `recv`; the memory grows with the longest piece, by doubling.
template <class Scheduler>
class reader {
  using call_site = detail::call_site;
  using location = detail::location;
  using nothing = detail::nothing;

public:
  /// @param most  the maximum size of a piece, in bytes. A longer one is message_size, and stays.
  explicit reader(socket<Scheduler>& s, std::size_t most = std::size_t{1} << 20) noexcept
      : socket_(&s), buffer_(most) {}
  reader(const reader&) = delete;
  reader& operator=(const reader&) = delete;

  /// Reads up to and including `delimiter`, which is borrowed until the call has completed. The
  /// returned piece lacks the delimiter only at the end of the stream: then it is the rest, and
  /// empty from then on.
  ///
  /// Errors: those of `recv`; message_size (no delimiter in `most` bytes), not_enough_memory.
  template <class...>
  decltype(auto) read_until(std::string_view delimiter, location at = location::current()) {
    return start(delimiter, 0, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) read_until(std::string_view delimiter, First&& first, How&& how = How(),
                            call_site at = location::current()) {
    return start(delimiter, 0, at, std::forward<First>(first), std::forward<How>(how));
  }

  /// Reads a line, including its "\n". Otherwise like `read_until`.
  template <class...>
  decltype(auto) read_line(location at = location::current()) {
    return start("\n", 0, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) read_line(First&& first, How&& how = How(), call_site at = location::current()) {
    return start("\n", 0, at, std::forward<First>(first), std::forward<How>(how));
  }

  /// Reads `n` bytes; fewer only at the end of the stream. Otherwise like `read_until`;
  /// invalid_argument if `n` is 0.
  template <class...>
  decltype(auto) read_exactly(std::size_t n, location at = location::current()) {
    return start({}, n, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) read_exactly(std::size_t n, First&& first, How&& how = How(),
                              call_site at = location::current()) {
    return start({}, n, at, std::forward<First>(first), std::forward<How>(how));
  }

  /// The bytes that the last call returned, and after them those that no call has returned yet.
  [[nodiscard]] std::string_view buffered() const noexcept { return buffer_.bytes(); }

private:
  template <class... Rest>
  decltype(auto) start(std::string_view delimiter, std::size_t n, const location& at,
                       Rest&&... rest) {
    return socket_->start(detail::read_call{socket_->record_, &buffer_, delimiter, n}, at,
                          std::forward<Rest>(rest)...);
  }

  socket<Scheduler>* socket_;
  detail::read_buffer buffer_;
};

}} // namespace rouse::ROUSE_ABI

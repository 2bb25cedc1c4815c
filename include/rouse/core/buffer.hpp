// Buffers: views of the bytes to receive into or to send. They own nothing.
#pragma once
#include <rouse/config.hpp>

#include <concepts>
#include <cstddef>
#include <span> // the range concepts without the views of <ranges>
#include <type_traits>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

template <class T>
inline constexpr bool is_byte = std::is_same_v<std::remove_cv_t<T>, char> ||
                                std::is_same_v<std::remove_cv_t<T>, unsigned char> ||
                                std::is_same_v<std::remove_cv_t<T>, std::byte>;

template <class R>
using element_of = std::remove_reference_t<std::ranges::range_reference_t<R>>;

template <class R>
concept byte_range =
    std::ranges::contiguous_range<R> && std::ranges::sized_range<R> && is_byte<element_of<R>>;

// A temporary container, which would be destroyed before the kernel has finished with its bytes.
template <class R>
concept dying_range = byte_range<R> && !std::ranges::borrowed_range<R>;

template <class>
inline constexpr bool always_false = false;

template <class R, class Buffer>
concept range_of = std::ranges::contiguous_range<R> && std::ranges::sized_range<R> &&
                   std::same_as<std::ranges::range_value_t<R>, Buffer>;

} // namespace detail

class mutable_buffer;
class const_buffer;

namespace detail {

// A list of buffers, which is not a buffer itself.
template <class R>
concept list_of_buffers = range_of<R, mutable_buffer> || range_of<R, const_buffer>;

} // namespace detail

/// Bytes to receive into: any contiguous range of `char`, `unsigned char` or `std::byte`, or a
/// pointer and a size.
///
/// Borrowed: the range must live, and stay where it is, until the call that uses it has completed.
class mutable_buffer {
public:
  constexpr mutable_buffer() noexcept = default;
  template <class Byte>
    requires(detail::is_byte<Byte> && !std::is_const_v<Byte>)
  constexpr mutable_buffer(Byte* data, std::size_t size) noexcept : data_(data), size_(size) {}
  constexpr mutable_buffer(void* data, std::size_t size) noexcept : data_(data), size_(size) {}

  template <class R>
    requires(!std::derived_from<std::remove_cvref_t<R>, mutable_buffer> &&
             !detail::list_of_buffers<R>)
  constexpr mutable_buffer(R&& range) noexcept {
    static_assert(detail::byte_range<R>,
                  "rouse: a buffer is a contiguous range of char, unsigned char or std::byte "
                  "(an array, a vector, a string, a span), or {pointer, size}");
    if constexpr (detail::byte_range<R>) {
      static_assert(
          !detail::dying_range<R>,
          "rouse: this buffer is a temporary: it would be destroyed before the kernel has "
          "finished with its bytes; give it a name first");
      constexpr bool writable = !std::is_const_v<detail::element_of<R>>;
      static_assert(writable,
                    "rouse: recv writes into its buffer, which is const: give it one that is not");
      if constexpr (writable) {
        data_ = std::ranges::data(range);
        size_ = std::ranges::size(range);
      }
    }
  }

  [[nodiscard]] constexpr void* data() const noexcept { return data_; }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }

private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Bytes to send: any contiguous range of `char`, `unsigned char` or `std::byte`, or a pointer and
/// a size.
///
/// An array of `const char` is taken for a string literal: its terminating zero is left out.
/// Borrowed: the range must live, and stay unchanged, until the call that uses it has completed.
class const_buffer {
public:
  constexpr const_buffer() noexcept = default;
  template <class Byte>
    requires detail::is_byte<Byte>
  constexpr const_buffer(const Byte* data, std::size_t size) noexcept : data_(data), size_(size) {}
  constexpr const_buffer(const void* data, std::size_t size) noexcept : data_(data), size_(size) {}
  constexpr const_buffer(const mutable_buffer& b) noexcept : data_(b.data()), size_(b.size()) {}

  template <std::size_t N>
  constexpr const_buffer(const char (&literal)[N]) noexcept
      : data_(literal), size_(literal[N - 1] == '\0' ? N - 1 : N) {}
  template <std::size_t N>
  constexpr const_buffer(char (&array)[N]) noexcept : data_(array), size_(N) {}

  template <class R>
    requires(!std::derived_from<std::remove_cvref_t<R>, const_buffer> &&
             !std::derived_from<std::remove_cvref_t<R>, mutable_buffer> &&
             !std::is_array_v<std::remove_reference_t<R>> && !detail::list_of_buffers<R>)
  constexpr const_buffer(R&& range) noexcept {
    static_assert(detail::byte_range<R>,
                  "rouse: a buffer is a contiguous range of char, unsigned char or std::byte "
                  "(an array, a vector, a string, a span), or {pointer, size}");
    if constexpr (detail::byte_range<R>) {
      static_assert(
          !detail::dying_range<R>,
          "rouse: this buffer is a temporary: it would be destroyed before the kernel has "
          "finished with its bytes; give it a name first");
      data_ = std::ranges::data(range);
      size_ = std::ranges::size(range);
    }
  }
  template <class Byte, std::size_t N>
    requires(detail::is_byte<Byte> && !std::is_same_v<std::remove_cv_t<Byte>, char>)
  constexpr const_buffer(Byte (&array)[N]) noexcept : data_(array), size_(N) {}

  [[nodiscard]] constexpr const void* data() const noexcept { return data_; }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }

private:
  const void* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Several buffers that are used in order, as if they were one (scatter/gather): an array, a vector
/// or a span of `mutable_buffer` (to receive) or of `const_buffer` (to send). Empty buffers are
/// skipped.
///
/// Borrowed: the list and the bytes that it refers to must live until the call has completed.
template <class Buffer>
class buffer_list {
public:
  constexpr buffer_list() noexcept = default;
  template <detail::range_of<Buffer> R>
  constexpr buffer_list(R&& range) noexcept
      : first_(std::ranges::data(range)), count_(std::ranges::size(range)) {
    static_assert(std::is_lvalue_reference_v<R> || std::ranges::borrowed_range<R>,
                  "rouse: this list of buffers is a temporary: it would be destroyed before the "
                  "kernel has finished with it; give it a name first");
  }

  [[nodiscard]] constexpr const Buffer* data() const noexcept { return first_; }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return count_; }
  [[nodiscard]] constexpr const Buffer& operator[](std::size_t i) const noexcept {
    return first_[i];
  }

private:
  const Buffer* first_ = nullptr;
  std::size_t count_ = 0;
};

using mutable_buffers = buffer_list<mutable_buffer>;
using const_buffers = buffer_list<const_buffer>;

namespace detail {

// The parameters of a call that returns only when it is complete: the bytes or the list may be a
// temporary, which lives until the end of the full expression that contains the call.

template <class Buffer>
class passed_buffer : public Buffer {
public:
  using Buffer::Buffer;
  constexpr passed_buffer(const Buffer& b) noexcept : Buffer(b) {}
  template <dying_range R>
    requires std::constructible_from<Buffer, std::add_pointer_t<element_of<R>>, std::size_t>
  constexpr passed_buffer(R&& range) noexcept
      : Buffer(std::ranges::data(range), std::ranges::size(range)) {}
};

template <class Buffer>
class passed_list : public buffer_list<Buffer> {
  using list = buffer_list<Buffer>;

public:
  template <range_of<Buffer> R>
  constexpr passed_list(R&& range) noexcept : list(std::span<const Buffer>(range)) {}
  constexpr passed_list(const list& l) noexcept : list(l) {}
};

/// Several buffers: a list that the caller keeps, or up to eight that were written in braces, which
/// are copied.
template <class Buffer>
class some_buffers {
public:
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  [[nodiscard]] constexpr const Buffer& operator[](std::size_t i) const noexcept {
    return list_ ? list_[i] : few_[i];
  }

protected:
  constexpr explicit some_buffers(buffer_list<Buffer> list) noexcept
      : list_(list.data()), size_(list.size()) {}
  template <std::same_as<Buffer>... Few>
  constexpr explicit some_buffers(const Few&... few) noexcept
      : size_(sizeof...(Few)), few_{few...} {}

private:
  const Buffer* list_ = nullptr;
  std::size_t size_;
  Buffer few_[8];
};

// One of several: what is a buffer without doubt, so that {data, size} is no list of two.
//
// `One` is the parameter of a call on one buffer.
template <class One>
class piece : public One {
public:
  constexpr piece() noexcept : One(nullptr, 0) {}
  template <class R>
    requires(byte_range<R> || std::derived_from<std::remove_cvref_t<R>, const_buffer> ||
             std::derived_from<std::remove_cvref_t<R>, mutable_buffer>)
  constexpr piece(R&& range) noexcept : One(std::forward<R>(range)) {}
  template <class Data>
    requires std::constructible_from<One, Data*, std::size_t>
  constexpr piece(Data* data, std::size_t size) noexcept : One(data, size) {}
};

/// The parameter of a call on several buffers: `send_all(list)`, `send_all({head, body})`.
///
/// @tparam One  the parameter of a call on one buffer.  @tparam List  that of a list.
template <class Buffer, class One, class List>
class buffers_parameter : public some_buffers<Buffer> {
  using base = some_buffers<Buffer>;
  using one = piece<One>;

public:
  template <std::convertible_to<List> L>
  constexpr buffers_parameter(L&& list) noexcept : base(List(std::forward<L>(list))) {}
  constexpr buffers_parameter(one a, one b, one c = {}, one d = {}, one e = {}, one f = {},
                              one g = {}, one h = {}) noexcept
      : base(Buffer(a), Buffer(b), Buffer(c), Buffer(d), Buffer(e), Buffer(f), Buffer(g),
             Buffer(h)) {}
};

} // namespace detail

}} // namespace rouse::ROUSE_ABI

// Batches: several datagrams that one call receives or sends.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/buffer.hpp>
#include <rouse/core/endpoint.hpp>

#include <concepts>
#include <cstddef>
#include <span>
#include <type_traits>

namespace rouse { inline namespace ROUSE_ABI {

/// A slot for one received datagram: `rouse::incoming slot{buffer};`
///
/// The caller sets the buffer; `recv_batch` writes the other members of the slots that it returns
/// the number of. A slot may be reused.
struct incoming {
  mutable_buffer buffer; ///< receives the bytes
  std::size_t bytes = 0; ///< bytes received; 0: an empty datagram
  endpoint from = {}; ///< the sender
  /// As `bytes`. With `udp_gro`, the size of each of the datagrams that the kernel merged into this
  /// one; the last may be shorter.
  std::size_t segment = 0;
  bool truncated = false; ///< larger than the buffer; the rest is lost
};

/// One datagram to be sent: `rouse::outgoing item{"text", to};`
struct outgoing {
  const_buffer buffer; ///< its bytes; none: an empty datagram
  endpoint to = {}; ///< unspecified: the connected peer
};

/// A view of several datagrams: of an array, a vector or a span of `incoming` (to receive) or of
/// `outgoing` (to send).
///
/// Borrowed: the viewed slots and the buffers in them must live until the call has completed.
template <class Item>
class batch {
  using value = std::remove_const_t<Item>;

public:
  template <class R>
    requires(!std::derived_from<std::remove_cvref_t<R>, batch>)
  constexpr batch(R&& range) noexcept {
    static_assert(detail::range_of<R, value>,
                  "rouse: a batch is an array, a vector or a span of rouse::incoming to receive, "
                  "of rouse::outgoing to send");
    if constexpr (detail::range_of<R, value>) {
      static_assert(std::is_lvalue_reference_v<R> || std::ranges::borrowed_range<R>,
                    "rouse: this batch is a temporary: it would be destroyed before the kernel has "
                    "finished with it; give it a name first");
      constexpr bool may_write = std::is_const_v<Item> || !std::is_const_v<detail::element_of<R>>;
      static_assert(
          may_write,
          "rouse: recv_batch writes into its slots, which are const: give it ones that are not");
      if constexpr (may_write) items_ = {std::ranges::data(range), std::ranges::size(range)};
    }
  }

  [[nodiscard]] constexpr std::span<Item> items() const noexcept { return items_; }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return items_.size(); }

private:
  std::span<Item> items_;
};

using incoming_batch = batch<incoming>;
using outgoing_batch = batch<const outgoing>;

namespace detail {

// The parameter of a call that returns only when it is complete: the items may be a temporary.
class passed_batch : public outgoing_batch {
public:
  using outgoing_batch::batch;
  constexpr passed_batch(const outgoing_batch& b) noexcept : outgoing_batch(b) {}
  template <range_of<outgoing> R>
    requires(!std::ranges::borrowed_range<R>)
  constexpr passed_batch(R&& range) noexcept : outgoing_batch(std::span<const outgoing>(range)) {}
};

} // namespace detail

}} // namespace rouse::ROUSE_ABI

// Limits in time: a hierarchical hashed timer wheel over intrusive nodes.
// After G. Varghese and T. Lauck, "Hashed and Hierarchical Timing Wheels" (1987), scheme 7.
#pragma once
#include <rouse/config.hpp>
#include <rouse/detail/chrono.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <ratio>
#include <type_traits>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// A place in a circular list: a slot's head, or what is in the slot.
struct timer_links {
  timer_links* prev; // of one that has a place
  timer_links* next = nullptr;
};

/// Part of whatever has a limit. Borrowed by the wheel while armed: disarm it before it dies.
class timer_node : timer_links {
public:
  timer_node() noexcept {}
  timer_node(const timer_node&) = delete;
  timer_node& operator=(const timer_node&) = delete;

  [[nodiscard]] bool armed() const noexcept { return next != nullptr; }

private:
  friend class timer_wheel;
  std::uint64_t tick_; // of one that is armed: when it is due
};

/// Which limits have run out, and how long one may sleep until the next one does.
///
/// Time is counted in ticks of 2^16 ns (65.5 us), written as eight digits of base 64: all that the
/// clock can say. Each digit has a level of 64 slots. A node is in the level of the highest digit
/// in which its tick differs from now, in the slot of that digit; when now comes to the slot, its
/// nodes move to lower levels. Thus
///  - a slot of level 0 is one tick; what is due already is in the slot of now itself;
///  - the lowest occupied slot of a level comes first in time, for none is behind now;
///  - all that is in a level is due before anything in the levels above it.
///
/// Threads: one at a time. Cost: no allocation, no system call, no reading of the clock. `arm` and
/// `disarm` are the same with one timer and with a million; a node moves at most seven times;
/// `expire` jumps over time in which nothing is due.
class timer_wheel {
public:
  using clock = std::chrono::steady_clock;
  using time_point = clock::time_point;

  explicit timer_wheel(time_point now) : now_(tick_at(now)) {
    for (std::size_t i = 0; i <= due_slot; ++i) heads_[i].prev = heads_[i].next = &heads_[i];
  }
  timer_wheel(const timer_wheel&) = delete;
  timer_wheel& operator=(const timer_wheel&) = delete;

  /// A node that is armed already is disarmed first.
  ///
  /// @param due  rounded up to a tick, so never early. What is past, as far as the wheel was told,
  ///             is due at once.
  void arm(timer_node& n, time_point due) noexcept {
    disarm(n);
    const std::uint64_t tick = tick_not_before(due);
    n.tick_ = tick < now_ ? now_ : tick;
    insert(n);
    ++armed_;
  }

  /// Harmless when not armed.
  void disarm(timer_node& n) noexcept {
    if (!n.armed()) return;
    n.prev->next = n.next;
    n.next->prev = n.prev;
    if (n.prev == n.next) vacate(*n.next); // it was alone: both are the slot's head
    n.prev = n.next = nullptr;
    --armed_;
  }

  [[nodiscard]] bool empty() const noexcept { return armed_ == 0; }

  /// Until when one may sleep before calling `expire`: never later than the first timer is due,
  /// rounded up to a tick.
  ///
  /// May be earlier, where nodes move to lower levels (at most seven times on the way to a timer),
  /// and may be past, where something is due; either way `expire(next(), ...)` makes progress.
  ///
  /// @returns `time_point::max()` when empty.
  [[nodiscard]] time_point next() const noexcept {
    if (empty()) return (time_point::max)();
    if (occupied_[levels] != 0) return begin_of(now_);
    const place first = first_occupied();
    return first.tick == never ? (time_point::max)() : begin_of(first.tick);
  }

  /// Disarms each node that is due at or before `now`, then calls `fire(node)`; earlier ticks
  /// first.
  ///
  /// This is one round: what `fire` arms has its turn in a later `expire`, even if it is due
  /// already, so that a timer that is always late cannot keep this call from returning. If `fire`
  /// throws, the others stay armed, and due.
  ///
  /// @param now   one that is earlier than the last counts as the last.
  /// @param fire  may arm and disarm any node, also those that are due now, and may destroy the one
  ///              that it is given.
  /// @returns how many nodes fired.
  template <class F>
  std::size_t expire(time_point now, F&& fire) {
    collect(tick_at(now));
    std::size_t fired = 0;
    // From the head each time, for `fire` may disarm what would have been next.
    while (occupied_[levels] != 0) {
      auto& n = static_cast<timer_node&>(*heads_[due_slot].next);
      disarm(n);
      ++fired;
      fire(n);
    }
    return fired;
  }

private:
  static_assert(std::is_same_v<clock::period, std::nano> && sizeof(clock::rep) == 8,
                "rouse: the timer wheel covers the clock's range only in 64 bits of nanoseconds");
  static constexpr unsigned tick_bits = 16, digit_bits = 6, levels = 8; // 16 + 6 * 8 = 64
  static constexpr std::size_t level_size = std::size_t{1} << digit_bits;
  static constexpr std::uint64_t horizon = ~std::uint64_t{0} >> tick_bits;
  static constexpr std::uint64_t never = ~std::uint64_t{0};
  static constexpr std::uint64_t sign = std::uint64_t{1} << 63;

  // Slots are numbered through, level by level. One more holds what was taken out of the wheel and
  // has not fired yet, so that it can be disarmed like anything else.
  static constexpr std::size_t due_slot = levels * level_size;
  struct place {
    std::size_t slot;
    std::uint64_t tick; // the slot's first
  };

  // Time points in unsigned order, from time_point::min(): nothing that is done with them
  // overflows.
  static constexpr std::uint64_t unsigned_of(time_point t) noexcept {
    return static_cast<std::uint64_t>(t.time_since_epoch().count()) ^ sign;
  }
  static constexpr std::uint64_t tick_at(time_point t) noexcept {
    return unsigned_of(t) >> tick_bits;
  }
  // No tick begins after the last one, in which time_point::max() is: only there, 65 us before the
  // end of time, can a node be early. So max() is due in the end, and expire(max()) leaves nothing.
  static constexpr std::uint64_t tick_not_before(time_point t) noexcept {
    const std::uint64_t begun = tick_at(t);
    const bool inside = (unsigned_of(t) & ((std::uint64_t{1} << tick_bits) - 1)) != 0;
    return begun + (inside && begun != horizon);
  }
  static constexpr time_point begin_of(std::uint64_t tick) noexcept {
    return time_point(clock::duration(static_cast<clock::rep>((tick << tick_bits) ^ sign)));
  }

  void insert(timer_node& n) noexcept {
    const std::uint64_t differs = (n.tick_ ^ now_) | 1; // if nothing does: level 0
    const unsigned level = (static_cast<unsigned>(std::bit_width(differs)) - 1) / digit_bits;
    const std::size_t digit = (n.tick_ >> (level * digit_bits)) % level_size;
    occupied_[level] |= std::uint64_t{1} << digit;
    timer_links& head = heads_[level * level_size + digit];
    n.prev = head.prev;
    n.next = &head;
    head.prev->next = &n;
    head.prev = &n;
  }

  void vacate(timer_links& head) noexcept {
    const auto slot = static_cast<std::size_t>(&head - heads_.get());
    occupied_[slot / level_size] &= ~(std::uint64_t{1} << (slot % level_size));
    head.prev = head.next = &head;
  }

  // The first slot that something is in, other than `due_slot`; if there is none, at tick `never`.
  place first_occupied() const noexcept {
    for (unsigned level = 0; level != levels; ++level) {
      if (occupied_[level] == 0) continue;
      const auto digit = static_cast<unsigned>(std::countr_zero(occupied_[level]));
      const unsigned shift = level * digit_bits;
      const std::uint64_t above = now_ >> shift >> digit_bits << digit_bits; // as now has them
      return {level * level_size + digit, (above | digit) << shift};
    }
    return {due_slot, never};
  }

  // Moves now to `until`, and what is due by then to `due_slot`, in the order of its ticks.
  void collect(std::uint64_t until) noexcept {
    if (until < now_) until = now_;
    // From one occupied slot to the next: the time between them costs nothing.
    for (place first = first_occupied(); first.tick <= until; first = first_occupied()) {
      now_ = first.tick;
      timer_links& head = heads_[first.slot];
      if (first.slot < level_size)
        take_out(head);
      else
        move_down(head);
    }
    // Short of the first occupied slot, so every node still differs from now where it did.
    now_ = until;
  }

  void take_out(timer_links& head) noexcept {
    timer_links& end = heads_[due_slot];
    end.prev->next = head.next;
    head.next->prev = end.prev;
    head.prev->next = &end;
    end.prev = head.prev;
    occupied_[levels] = 1;
    vacate(head);
  }

  // Now has come to the slot: its nodes differ from now in a lower digit, or in none.
  void move_down(timer_links& head) noexcept {
    timer_links* n = head.next;
    vacate(head);
    while (n != &head) {
      timer_links* const after = n->next;
      insert(static_cast<timer_node&>(*n));
      n = after;
    }
  }

  std::uint64_t now_; // a tick
  std::size_t armed_ = 0; // nodes
  std::array<std::uint64_t, levels + 1> occupied_{};
  std::unique_ptr<timer_links[]> heads_ = std::make_unique<timer_links[]>(due_slot + 1);
};

}}} // namespace rouse::ROUSE_ABI::detail

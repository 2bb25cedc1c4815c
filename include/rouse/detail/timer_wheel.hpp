// A hierarchical timer wheel over intrusive nodes.
// Source: G. Varghese and T. Lauck, "Hashed and Hierarchical Timing Wheels" (1987), scheme 7.
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

/// A node of a circular list: the head of a slot, or a timer in the slot.
struct timer_links {
  timer_links* prev; // valid while in a list
  timer_links* next = nullptr;
};

/// The base class of an object with a limit in time. The wheel borrows it while it is armed: disarm
/// it before it is destroyed.
class timer_node : timer_links {
public:
  timer_node() noexcept {}
  timer_node(const timer_node&) = delete;
  timer_node& operator=(const timer_node&) = delete;

  [[nodiscard]] bool armed() const noexcept { return next != nullptr; }

  union {
    std::chrono::steady_clock::time_point due; ///< while it is armed, the wheel's
  };

private:
  friend class timer_wheel;
};

/// Finds the timers that are due, and how long a thread may sleep until the next one is.
///
/// Time is counted in ticks of 2^16 ns (65.5 us). A tick is written as eight digits of base 64,
/// which covers the whole range of the clock. Each digit has a level of 64 slots:
///
///     level 7 .. 1   slots of 64^level ticks; a slot's nodes move down when now reaches the slot
///     level 0        slots of one tick
///     due            nodes that `expire` has collected and not yet fired
///
/// A node is in the level of the highest digit in which its tick differs from now, in the slot of
/// that digit. Therefore
///  - a node that is due already is in the slot of now, in level 0;
///  - the lowest occupied slot of a level is the first in time, since no slot lies before now;
///  - all nodes of a level are due before any node of the levels above it.
///
/// Threads: one at a time. Cost: no allocation, no system call, no reading of the clock. `arm` and
/// `disarm` take constant time for any number of timers. A node moves at most seven times. `expire`
/// skips time in which nothing is due.
class timer_wheel {
public:
  using clock = std::chrono::steady_clock;
  using time_point = clock::time_point;

  explicit timer_wheel(time_point now) : now_(tick_at(now)) {
    for (std::size_t i = 0; i <= due_slot; ++i) heads_[i].prev = heads_[i].next = &heads_[i];
  }
  timer_wheel(const timer_wheel&) = delete;
  timer_wheel& operator=(const timer_wheel&) = delete;

  /// Arms a node, after disarming it if it is armed.
  ///
  /// @param due  rounded up to a tick, so that the node does not fire early. A time before the last
  ///             `expire` is due at once.
  void arm(timer_node& n, time_point due) noexcept {
    disarm(n);
    n.due = due;
    insert(n);
    ++armed_;
  }

  /// Does nothing if the node is not armed.
  void disarm(timer_node& n) noexcept {
    if (!n.armed()) return;
    n.prev->next = n.next;
    n.next->prev = n.prev;
    if (n.prev == n.next) vacate(*n.next); // both are the head: the slot is empty
    n.prev = n.next = nullptr;
    --armed_;
  }

  [[nodiscard]] bool empty() const noexcept { return armed_ == 0; }

  /// Returns until when a thread may sleep before it calls `expire`: at most until the first timer
  /// is due, rounded up to a tick.
  ///
  /// The result is earlier if nodes have to move to lower levels (at most seven times until a timer
  /// fires), and in the past if a timer is due. Either way `expire(next(), ...)` makes progress.
  ///
  /// @returns `time_point::max()` when no timer is armed.
  [[nodiscard]] time_point next() const noexcept {
    if (empty()) return (time_point::max)();
    if (occupied_[levels] != 0) return begin_of(now_);
    const place first = first_occupied();
    return first.tick == never ? (time_point::max)() : begin_of(first.tick);
  }

  /// Disarms each node that is due at or before `now` and calls `fire(node)`, earlier ticks first.
  ///
  /// This is one round: a node that `fire` arms fires in a later `expire` at the earliest, even if
  /// it is due already. So a timer that is always late cannot keep this call from returning. If
  /// `fire` throws, the remaining nodes stay armed and due.
  ///
  /// @param now   a time before the last `now` counts as the last `now`.
  /// @param fire  may arm and disarm any node, including those that are due, and may destroy the
  ///              node that it is called with.
  /// @returns the number of nodes that fired.
  template <class F>
  std::size_t expire(time_point now, F&& fire) {
    collect(tick_at(now));
    std::size_t fired = 0;
    // Starts at the head each time, since `fire` may disarm the next node.
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

  // Slots are numbered level by level. One more slot holds the nodes that are collected and have
  // not fired yet, so that they can be disarmed like the others.
  static constexpr std::size_t due_slot = levels * level_size;
  struct place {
    std::size_t slot;
    std::uint64_t tick; // first tick of the slot
  };

  // Counts from time_point::min() in unsigned numbers, so that no calculation overflows.
  static constexpr std::uint64_t unsigned_of(time_point t) noexcept {
    return static_cast<std::uint64_t>(t.time_since_epoch().count()) ^ sign;
  }
  static constexpr std::uint64_t tick_at(time_point t) noexcept {
    return unsigned_of(t) >> tick_bits;
  }
  // time_point::max() lies in the last tick, after which no tick begins: only there, in the last
  // 65 us of the clock's range, can a node fire early. So a node at max() does become due, and
  // expire(max()) leaves no node.
  static constexpr std::uint64_t tick_not_before(time_point t) noexcept {
    const std::uint64_t begun = tick_at(t);
    const bool inside = (unsigned_of(t) & ((std::uint64_t{1} << tick_bits) - 1)) != 0;
    return begun + (inside && begun != horizon);
  }
  static constexpr time_point begin_of(std::uint64_t tick) noexcept {
    return time_point(clock::duration(static_cast<clock::rep>((tick << tick_bits) ^ sign)));
  }

  void insert(timer_node& n) noexcept {
    const std::uint64_t begun = tick_not_before(n.due);
    const std::uint64_t tick = begun < now_ ? now_ : begun;
    const std::uint64_t differs = (tick ^ now_) | 1; // level 0 if equal
    const unsigned level = (static_cast<unsigned>(std::bit_width(differs)) - 1) / digit_bits;
    const std::size_t digit = (tick >> (level * digit_bits)) % level_size;
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

  // The first occupied slot other than `due_slot`. If there is none, its tick is `never`.
  place first_occupied() const noexcept {
    for (unsigned level = 0; level != levels; ++level) {
      if (occupied_[level] == 0) continue;
      const auto digit = static_cast<unsigned>(std::countr_zero(occupied_[level]));
      const unsigned shift = level * digit_bits;
      const std::uint64_t above = now_ >> shift >> digit_bits << digit_bits; // as in now
      return {level * level_size + digit, (above | digit) << shift};
    }
    return {due_slot, never};
  }

  // Advances now to `until` and moves the nodes due by then to `due_slot`, in the order of ticks.
  void collect(std::uint64_t until) noexcept {
    if (until < now_) until = now_;
    // Steps from one occupied slot to the next: the time between them costs nothing.
    for (place first = first_occupied(); first.tick <= until; first = first_occupied()) {
      now_ = first.tick;
      timer_links& head = heads_[first.slot];
      if (first.slot < level_size)
        take_out(head);
      else
        move_down(head);
    }
    // `until` is before the first occupied slot, so the level of every node stays right.
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

  // Now has reached the slot, so its nodes differ from now in a lower digit, or not at all.
  void move_down(timer_links& head) noexcept {
    timer_links* n = head.next;
    vacate(head);
    while (n != &head) {
      timer_links* const after = n->next;
      insert(static_cast<timer_node&>(*n));
      n = after;
    }
  }

  std::uint64_t now_; // in ticks
  std::size_t armed_ = 0; // number of nodes
  std::array<std::uint64_t, levels + 1> occupied_{};
  std::unique_ptr<timer_links[]> heads_ = std::make_unique<timer_links[]>(due_slot + 1);
};

}}} // namespace rouse::ROUSE_ABI::detail

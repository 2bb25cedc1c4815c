// Limits: when a waiting call gives up.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/clock.hpp>
#include <rouse/detail/chrono.hpp>

#include <concepts>
#include <ratio>
#include <source_location>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {

namespace detail {

// The clocks with the time points of rouse::clock.
template <class C>
concept monotonic_clock = std::same_as<C, std::chrono::steady_clock> || std::same_as<C, clock>;

// `d` in the unit of `To`, rounded up and clamped to the range of `To`. NaN becomes zero.
template <class To, class Rep, class Period>
constexpr To saturated(std::chrono::duration<Rep, Period> d) noexcept {
  using real = std::chrono::duration<double, typename To::period>;
  using factor = std::ratio_divide<Period, typename To::period>;
  const double count = real(d).count();
  if (count >= real((To::max)()).count()) return (To::max)();
  if (count <= real((To::min)()).count()) return (To::min)();
  if constexpr (std::chrono::treat_as_floating_point_v<Rep> ||
                (factor::num != 1 && factor::den != 1)) {
    if (!(count < 0 || count >= 0)) return To::zero();
    const auto whole = static_cast<typename To::rep>(count);
    return To(static_cast<typename To::rep>(whole + (static_cast<double>(whole) < count)));
  } else {
    return std::chrono::ceil<To>(d);
  }
}

// `t + d`, clamped to the last point in time, which means "never".
constexpr clock::time_point after(clock::time_point t, clock::duration d) noexcept {
  if (d > clock::duration::zero() && t > (clock::time_point::max)() - d)
    return (clock::time_point::max)();
  return t + d;
}

} // namespace detail

/// A point in time at which a call gives up.
///
/// Several calls may share one deadline: each gets the time that the calls before it left.
class deadline {
public:
  /// Never.
  constexpr deadline() noexcept = default;
  constexpr deadline(clock::time_point when) noexcept : when_(when) {}
  /// In any unit. A time beyond the clock's range is "never", one before it has passed already.
  template <detail::monotonic_clock Clock, class Duration>
  constexpr deadline(std::chrono::time_point<Clock, Duration> when) noexcept
      : when_(detail::saturated<clock::duration>(when.time_since_epoch())) {}
  /// From now on, in any unit, rounded up. A duration that is too long for the clock is "never"; a
  /// negative one, or NaN, has passed already.
  template <class Rep, class Period>
  deadline(std::chrono::duration<Rep, Period> from_now) noexcept
      : when_(of(detail::saturated<clock::duration>(from_now))) {}

  [[nodiscard]] constexpr clock::time_point when() const noexcept { return when_; }
  [[nodiscard]] constexpr bool never() const noexcept {
    return when_ == (clock::time_point::max)();
  }
  friend constexpr auto operator<=>(deadline, deadline) noexcept = default;

private:
  static clock::time_point of(clock::duration from_now) noexcept {
    const auto now = clock::now();
    return from_now > clock::duration::zero() ? detail::after(now, from_now) : now;
  }

  clock::time_point when_ = (clock::time_point::max)();
};

/// When a call gives up: at a deadline (`timed_out`), when a stop is requested
/// (`operation_canceled`), or both.
///
/// Written in place: `conn.recv(buf, 5s)`, `conn.recv(buf, token)`, `conn.recv(buf, {5s, token})`.
/// A call without a limit waits as long as the socket's `timeout()` allows, which is for ever until
/// it is set. Threads: any may request the stop. Cost: no allocation, no system call.
class limit {
public:
  using location = std::source_location;

  limit() noexcept = default;
  limit(deadline when, location at = location::current()) noexcept : limit(when, {}, at) {}
  template <detail::monotonic_clock Clock, class Duration>
  limit(std::chrono::time_point<Clock, Duration> when, location at = location::current()) noexcept
      : limit(when, {}, at) {}
  template <class Rep, class Period>
  limit(std::chrono::duration<Rep, Period> from_now, location at = location::current()) noexcept
      : limit(from_now, {}, at) {}
  limit(std::stop_token token, location at = location::current()) noexcept
      : limit(deadline(), std::move(token), at) {}
  limit(deadline when, std::stop_token token, location at = location::current()) noexcept
      : when_(when), token_(std::move(token)), at_(at) {}
  /// The same limit, of a call that stands elsewhere.
  limit(limit l, location at) noexcept : limit(l.when_, std::move(l.token_), at) {}

  [[nodiscard]] deadline when() const noexcept { return when_; }
  [[nodiscard]] const std::stop_token& token() const noexcept { return token_; }
  /// The source location where the limit was written; observers report it for the call.
  [[nodiscard]] const location& at() const noexcept { return at_; }

private:
  deadline when_;
  std::stop_token token_;
  location at_;
};

}} // namespace rouse::ROUSE_ABI

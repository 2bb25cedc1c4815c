// Limits: when a waiting call gives up.
#pragma once
#include <rouse/config.hpp>
#include <rouse/detail/chrono.hpp>

#include <concepts>
#include <ratio>
#include <source_location>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {

/// The clock of all limits and sleeps: monotonic, so that setting the wall clock ends no call.
using clock = std::chrono::steady_clock;

namespace detail {

// `d` in the unit of `To`, rounded up. What `To` cannot represent becomes its longest or its
// shortest; what is no number becomes zero.
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

// `d` after `t`; where that is no point in time, the last one, which is "never".
constexpr clock::time_point after(clock::time_point t, clock::duration d) noexcept {
  if (d > clock::duration::zero() && t > (clock::time_point::max)() - d)
    return (clock::time_point::max)();
  return t + d;
}

} // namespace detail

/// A point in time after which a call gives up.
///
/// One deadline may serve several calls: each then gets what time the others left.
class deadline {
public:
  /// Never.
  constexpr deadline() noexcept = default;
  constexpr deadline(clock::time_point when) noexcept : when_(when) {}
  /// In any unit. One that the clock cannot represent is "never", or has passed already.
  template <class Duration>
  constexpr deadline(std::chrono::time_point<clock, Duration> when) noexcept
      : when_(detail::saturated<clock::duration>(when.time_since_epoch())) {}
  /// From now on, in any unit, rounded up. A duration too long to be represented is "never"; a
  /// negative one, or one that is not a number, has passed already.
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

/// When to give up: at a deadline (`timed_out`), when a stop_token says so (`operation_canceled`),
/// or both.
///
/// Written in place: `conn.recv(buf, 5s)`, `conn.recv(buf, token)`, `conn.recv(buf, {5s, token})`.
/// A call without a limit waits as long as the socket's `timeout()` allows, which is for ever until
/// it is set. Threads: a stop may be requested from any. Cost: no allocation, no system call.
class limit {
public:
  using location = std::source_location;

  limit() noexcept = default;
  limit(deadline when, location at = location::current()) noexcept : limit(when, {}, at) {}
  template <class Duration>
  limit(std::chrono::time_point<clock, Duration> when, location at = location::current()) noexcept
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
  /// Where it was written: for calls, with an observer, where the call stands.
  [[nodiscard]] const location& at() const noexcept { return at_; }

private:
  deadline when_;
  std::stop_token token_;
  location at_;
};

}} // namespace rouse::ROUSE_ABI

// Limits: when a waiting call gives up.
#pragma once
#include <rouse/config.hpp>
#include <rouse/detail/chrono.hpp>

#include <concepts>
#include <source_location>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace rouse::inline ROUSE_ABI {

/// The clock of all limits and sleeps: monotonic, so that setting the wall clock ends no call.
using clock = std::chrono::steady_clock;

/// A point in time after which a call gives up.
///
/// One deadline may serve several calls: each then gets what time the others left.
class deadline {
public:
  /// Never.
  constexpr deadline() noexcept = default;
  constexpr deadline(clock::time_point when) noexcept : when_(when) {}
  /// From now on. One too long to be represented is "never"; a negative one has passed already.
  template <class Rep, class Period>
  deadline(std::chrono::duration<Rep, Period> from_now) noexcept : when_(after(from_now)) {}

  [[nodiscard]] constexpr clock::time_point when() const noexcept { return when_; }
  [[nodiscard]] constexpr bool never() const noexcept {
    return when_ == (clock::time_point::max)();
  }
  friend constexpr auto operator<=>(deadline, deadline) noexcept = default;

private:
  template <class Rep, class Period>
  static clock::time_point after(std::chrono::duration<Rep, Period> d) noexcept {
    using seconds = std::chrono::duration<double>;
    const auto now = clock::now();
    const auto room = std::chrono::duration_cast<seconds>((clock::time_point::max)() - now);
    if (std::chrono::duration_cast<seconds>(d) >= room) return (clock::time_point::max)();
    if (std::chrono::duration_cast<seconds>(d) <= seconds::zero()) return now;
    return now + std::chrono::ceil<clock::duration>(d);
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
  limit(clock::time_point when, location at = location::current()) noexcept : limit(when, {}, at) {}
  template <class Rep, class Period>
  limit(std::chrono::duration<Rep, Period> from_now, location at = location::current()) noexcept
      : limit(from_now, {}, at) {}
  limit(std::stop_token token, location at = location::current()) noexcept
      : limit(deadline(), std::move(token), at) {}
  limit(deadline when, std::stop_token token, location at = location::current()) noexcept
      : when_(when), token_(std::move(token)), at_(at) {}

  [[nodiscard]] deadline when() const noexcept { return when_; }
  [[nodiscard]] const std::stop_token& token() const noexcept { return token_; }
  /// Where it was written: for calls, with an observer, where the call stands.
  [[nodiscard]] const location& at() const noexcept { return at_; }

private:
  deadline when_;
  std::stop_token token_;
  location at_;
};

} // namespace rouse::inline ROUSE_ABI

// The arguments that may follow a call's own: its limit, and how it is completed.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/limit.hpp>

#include <concepts>
#include <source_location>
#include <system_error>
#include <type_traits>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {

/// The limit of a call without one: the socket's `timeout()` applies.
class no_limit {
public:
  no_limit() noexcept = default;
  explicit no_limit(const std::source_location& at) noexcept : at_(at) {}
  [[nodiscard]] const std::source_location& at() const noexcept { return at_; }

private:
  std::source_location at_;
};

/// The limit of a call that was given a point in time or a duration, but no stop_token.
class time_limit {
public:
  time_limit(deadline when, const std::source_location& at) noexcept : when_(when), at_(at) {}
  [[nodiscard]] deadline when() const noexcept { return when_; }
  [[nodiscard]] const std::source_location& at() const noexcept { return at_; }

private:
  deadline when_;
  std::source_location at_;
};

namespace detail {

using location = std::source_location;

// True if the first argument after a call's own is its limit.
template <class...>
inline constexpr bool limit_first = false;
template <class First, class... Rest>
inline constexpr bool limit_first<First, Rest...> = std::convertible_to<First, limit>;

// Arguments that no call takes there, whatever the waker, and the messages about them.
template <class... How>
inline constexpr bool further_limit = (std::convertible_to<How, limit> || ...);
template <class... How>
inline constexpr bool bare_number = (std::is_arithmetic_v<std::remove_reference_t<How>> || ...);
template <class... How>
inline constexpr bool misplaced = further_limit<How...> || bare_number<How...>;

template <class... How>
consteval void explain_misplaced() {
  static_assert(!further_limit<How...>,
                "rouse: a call takes one limit, before an error_code or a handler: write {5s, "
                "token} for a duration and a stop_token");
  static_assert(!bare_number<How...>,
                "rouse: a bare number is no limit: write 5s for a limit, {data, size} for a "
                "buffer");
}

template <class Further>
consteval void explain_further() {
  explain_misplaced<Further>();
  static_assert(misplaced<Further>, "rouse: one thing may follow the arguments of a call and its "
                                    "limit: a std::error_code variable, or a handler");
}

// Stands for an argument that was not given.
struct nothing {};

// The last parameter of every call: its place in the source, for observers. Any further argument
// would convert to it, which gives the message about it.
class call_site {
public:
  call_site(const location& at) noexcept : at_(at) {}
  template <class Further>
  call_site(const Further&) noexcept {
    explain_further<Further>();
  }
  operator const location&() const noexcept { return at_; }

private:
  location at_;
};

// How a call that returns its value may be completed: with nothing, or with an error_code variable.
template <class... How>
inline constexpr bool gives_back =
    sizeof...(How) == 0 || (sizeof...(How) == 1 && (std::same_as<How, std::error_code&> && ...));

// The variable for the error of such a call; null if it throws.
template <class... How>
std::error_code* error_of(How&&... how) noexcept {
  static_assert(gives_back<How...> || misplaced<How...>,
                "rouse: a call of this scheduler returns its value: it takes a std::error_code "
                "variable, or nothing; only callbacks take a handler");
  std::error_code* place = nullptr;
  if constexpr (gives_back<How...>) ((place = &how), ...);
  return place;
}

// The limit as a pending call takes it. Only a stop_token needs a stop_watch, which a call with a
// time_limit does without: `recv(buf, 5s)` is as small as `recv(buf)`.
template <class L>
auto limit_of(L&& given, const location& at) {
  if constexpr (std::convertible_to<L, deadline>)
    return time_limit(std::forward<L>(given), at);
  else
    return limit(limit(std::forward<L>(given)), at);
}

// Starts a call. Every call has two overloads:
//
//     template <class...> // not instantiated with its class: callbacks would lack the handler
//     decltype(auto) recv(buffer b, location at = location::current());
//     template <class First = limit, class How = nothing>
//     decltype(auto) recv(buffer b, First&& first, How&& how = How(),
//                         call_site at = location::current());
//
// `first` is the limit if it converts to one; otherwise it is the how, and nothing may follow.
// Braces such as {5s, token} have no type, so that the default `First = limit` applies to them.
template <class Scheduler, class Call>
ROUSE_ALWAYS_INLINE decltype(auto) begin_call(Scheduler* s, Call&& call, const location& at) {
  return Scheduler::initiate(s, std::forward<Call>(call), no_limit{at});
}
template <class Scheduler, class Call, class First, class How = nothing>
decltype(auto) begin_call(Scheduler* s, Call&& call, const location& at, First&& first,
                          How&& how = How()) {
  constexpr bool only_one = std::same_as<How, nothing>;
  if constexpr (!limit_first<First>) {
    if constexpr (!only_one) explain_further<How>();
    return Scheduler::initiate(s, std::forward<Call>(call), no_limit{at},
                               std::forward<First>(first));
  } else if constexpr (only_one) {
    return Scheduler::initiate(s, std::forward<Call>(call),
                               limit_of(std::forward<First>(first), at));
  } else {
    return Scheduler::initiate(s, std::forward<Call>(call),
                               limit_of(std::forward<First>(first), at), std::forward<How>(how));
  }
}

} // namespace detail
}} // namespace rouse::ROUSE_ABI

// What may follow the arguments of a call: its limit, and how it is completed.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/limit.hpp>

#include <concepts>
#include <source_location>
#include <system_error>
#include <type_traits>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {

/// The limit of a call that was given none: what `timeout()` of its socket says.
class no_limit {
public:
  no_limit() noexcept = default;
  explicit no_limit(const std::source_location& at) noexcept : at_(at) {}
  [[nodiscard]] const std::source_location& at() const noexcept { return at_; }

private:
  std::source_location at_;
};

/// The limit of a call that was given a deadline, and no stop_token.
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

// Whether the arguments that follow the others of a call begin with its limit.
template <class...>
inline constexpr bool limit_first = false;
template <class First, class... Rest>
inline constexpr bool limit_first<First, Rest...> = std::convertible_to<First, limit>;

// What can follow the others in no call, whatever the waker, and the words for it.
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
                "rouse: a bare number follows: write {data, size} for a buffer, 5s for a limit");
}

template <class Further>
consteval void explain_further() {
  explain_misplaced<Further>();
  static_assert(misplaced<Further>, "rouse: one thing may follow the arguments of a call and its "
                                    "limit: a std::error_code variable, or a handler");
}

// What follows the arguments of a call where nothing does.
struct nothing {};

// Where a call stands: the last parameter of each, given by the compiler.
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

// How a call may be completed that gives its value back: with nothing more, or with an error_code.
template <class... How>
inline constexpr bool gives_back =
    sizeof...(How) == 0 || (sizeof...(How) == 1 && (std::same_as<How, std::error_code&> && ...));

// Where such a call leaves its error; null: it throws.
template <class... How>
std::error_code* error_of(How&&... how) noexcept {
  static_assert(gives_back<How...> || misplaced<How...>,
                "rouse: a call of this scheduler gives its value back: let a std::error_code "
                "variable follow, or nothing; only callbacks take a handler");
  std::error_code* place = nullptr;
  if constexpr (gives_back<How...>) ((place = &how), ...);
  return place;
}

// The limit of a call, as what makes it wants it: only a stop_token needs a watch.
template <class L>
auto limit_of(L&& given, const location& at) {
  if constexpr (std::convertible_to<L, deadline>)
    return time_limit(std::forward<L>(given), at);
  else
    return limit(limit(std::forward<L>(given)), at);
}

// Begins a call. Each is written twice, without a limit or a how, and with:
//
//     template <class...> // so that an explicit instantiation of the class leaves it out
//     decltype(auto) recv(buffer b, location at = location::current());
//     template <class First = limit, class How = nothing>
//     decltype(auto) recv(buffer b, First&& first, How&& how = How(),
//                         call_site at = location::current());
//
// `first` is the limit, or else the how, and nothing follows. Braces, as in {5s, token}, have no
// type of their own: they take that of the default, and are a limit.
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

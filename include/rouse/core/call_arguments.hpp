// What may follow the arguments of a call: its limit, and how it is completed.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/limit.hpp>

#include <concepts>
#include <source_location>
#include <system_error>
#include <type_traits>

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

namespace detail {

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

// What follows the arguments of a call where nothing does.
struct nothing {};

// Where a call stands: the last parameter of each, given by the compiler.
class call_site {
public:
  call_site(const std::source_location& at) noexcept : at_(at) {}
  template <class Further>
  call_site(const Further&) noexcept {
    explain_misplaced<Further>();
    static_assert(misplaced<Further>, "rouse: one thing may follow the arguments of a call and its "
                                      "limit: a std::error_code variable, or a handler");
  }
  operator const std::source_location&() const noexcept { return at_; }

private:
  std::source_location at_;
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

} // namespace detail
}} // namespace rouse::ROUSE_ABI

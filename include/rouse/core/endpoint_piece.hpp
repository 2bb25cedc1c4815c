// Arguments that are mistaken for an endpoint, and the messages that explain how to write one.
#pragma once
#include <rouse/config.hpp>

#include <concepts>
#include <string_view>
#include <type_traits>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

// Text, or a port.
template <class T>
concept endpoint_piece = std::convertible_to<const T&, std::string_view> || std::is_arithmetic_v<T>;

// Explains by a static_assert how to write an endpoint.
template <class First, class... Rest>
consteval void explain_endpoint() {
  constexpr bool port_alone = std::is_arithmetic_v<First>;
  constexpr bool apart = !port_alone && (endpoint_piece<Rest> || ...);
  static_assert(!port_alone,
                "rouse: a port alone is no endpoint: write {\"127.0.0.1\", 3000}, or {\"0.0.0.0\", "
                "3000} for every interface");
  static_assert(!apart,
                "rouse: an address and its port are one argument: write {\"127.0.0.1\", 3000}; a "
                "name is looked up by rouse::connect(sched, \"host\", \"http\")");
  static_assert(port_alone || apart,
                "rouse: text is no endpoint yet: write rouse::endpoint::parse(\"127.0.0.1:3000\"), "
                "or {\"127.0.0.1\", 3000}");
}

}}} // namespace rouse::ROUSE_ABI::detail

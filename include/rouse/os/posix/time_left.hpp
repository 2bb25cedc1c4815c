// A point in time as the relative time that system calls take.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/clock.hpp>

#if !ROUSE_WINDOWS
#include <ctime>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// The time that is left until `until`; not negative.
inline timespec time_left(clock::time_point until) noexcept {
  const auto now = clock::now();
  const auto left = until > now ? std::chrono::nanoseconds(until - now).count() : 0;
  return {static_cast<time_t>(left / 1'000'000'000), static_cast<long>(left % 1'000'000'000)};
}

}}} // namespace rouse::ROUSE_ABI::os
#endif

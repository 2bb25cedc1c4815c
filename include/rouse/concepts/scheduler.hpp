// The concept of a scheduler, as sockets use it.
#pragma once
#include <rouse/concepts/driver.hpp>
#include <rouse/concepts/waker.hpp>
#include <rouse/config.hpp>

#include <concepts>
#include <cstddef>

namespace rouse { inline namespace ROUSE_ABI {

/// An engine, a waker, and `initiate`, which starts a call the way the waker does.
template <class S>
concept scheduler =
    engine<typename S::engine_type> && waker<typename S::waker_type> && requires(S& s) {
      { s.engine() } -> std::same_as<typename S::engine_type&>;
      { s.waker() } -> std::same_as<typename S::waker_type&>;
      { S::template accepts<std::size_t> } -> std::convertible_to<bool>;
    };

}} // namespace rouse::ROUSE_ABI

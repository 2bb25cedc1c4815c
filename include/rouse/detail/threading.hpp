// The threading policies of an engine.
#pragma once
#include <rouse/config.hpp>

#include <condition_variable>
#include <mutex>

namespace rouse::inline ROUSE_ABI {
namespace detail {

struct no_mutex {};
struct no_lock {
  explicit no_lock(no_mutex&) noexcept {}
  void lock() noexcept {}
  void unlock() noexcept {}
};
struct no_condition {
  void wait(no_lock&) noexcept {}
  void notify_all() noexcept {}
};

} // namespace detail

/// One thread at a time runs the engine and makes all calls on it: no locks, no atomics on the path
/// of a call.
struct one_thread {
  static constexpr bool shared = false;
  using mutex = detail::no_mutex;
  using lock = detail::no_lock;
  using condition = detail::no_condition;
};

/// Any thread may call at any time.
struct any_thread {
  static constexpr bool shared = true;
  using mutex = std::mutex;
  using lock = std::unique_lock<std::mutex>;
  using condition = std::condition_variable;
};

} // namespace rouse::inline ROUSE_ABI

// The policies of an engine: which threads use it, and who watches it.
#pragma once
#include <rouse/config.hpp>

#include <condition_variable>
#include <cstddef>
#include <mutex>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

/// Which thread calls: an address that no other one has while this one lives. (std::thread::id
/// costs a call of a shared library.) For code that stays in its thread.
ROUSE_ALWAYS_INLINE const void* this_thread() noexcept {
  static constinit thread_local char mark = 0;
  return &mark;
}

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

/// What an engine tells of its operations, with its lock held. This one, of every normal build,
/// keeps nothing and costs nothing; others derive from it, and define anew what they want to know.
struct no_observer {
  struct mark {}; ///< what each operation holds for the observer, as `op.mark`

  template <class Operation>
  void at_once(Operation&) noexcept {} ///< done within its call, which does not wait
  template <class Operation>
  void begun(Operation&) noexcept {} ///< the engine has it
  template <class Operation>
  void ended(Operation&) noexcept {} ///< it is told now, or was abandoned; its socket may be gone
  void turned(std::size_t) noexcept {} ///< a turn of the loop has told so many
};

/// One thread at a time runs the engine and makes all calls on it: no locks, no atomics on the path
/// of a call.
struct one_thread {
  static constexpr bool shared = false;
  using observer = no_observer;
  using mutex = detail::no_mutex;
  using lock = detail::no_lock;
  using condition = detail::no_condition;
};

/// Any thread may call at any time.
struct any_thread {
  static constexpr bool shared = true;
  using observer = no_observer;
  using mutex = std::mutex;
  using lock = std::unique_lock<std::mutex>;
  using condition = std::condition_variable;
};

/// The same threads, with an observer.
template <class Threading, class Observer>
struct observed_by : Threading {
  using observer = Observer;
};

}} // namespace rouse::ROUSE_ABI

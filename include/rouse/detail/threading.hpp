// Policies of an engine: which threads may use it, and what observes its operations.
#pragma once
#include <rouse/config.hpp>

#include <condition_variable>
#include <cstddef>
#include <mutex>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

/// Identifies the calling thread by an address that no other living thread has. (std::thread::id
/// costs a call into a shared library.) For code that does not run in a flow: a fiber may continue
/// on another thread.
inline const void* this_thread() noexcept {
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

/// What an engine reports about its operations, with the engine's lock held. This observer is the
/// default: it records nothing and costs nothing. Other observers derive from it and redefine the
/// functions that they need.
struct no_observer {
  struct mark {}; ///< the observer's data in each operation, `op.mark`

  template <class Operation>
  void at_once(Operation&) noexcept {} ///< completed at once; its call does not wait
  template <class Operation>
  void begun(Operation&) noexcept {} ///< the operation is now pending
  template <class Operation>
  void ended(Operation&) noexcept {} ///< completed or abandoned; its socket may be gone
  void turned(std::size_t) noexcept {} ///< completions of one turn of the loop
};

/// One thread at a time runs the engine and makes all calls on it. A call takes no lock and uses no
/// atomic operation.
struct one_thread {
  static constexpr bool shared = false;
  using observer = no_observer;
  using mutex = detail::no_mutex;
  using lock = detail::no_lock;
  using condition = detail::no_condition;
};

/// Any thread may call the engine at any time; a mutex guards it.
struct any_thread {
  static constexpr bool shared = true;
  using observer = no_observer;
  using mutex = std::mutex;
  using lock = std::unique_lock<std::mutex>;
  using condition = std::condition_variable;
};

/// The policy `Threading`, with an observer.
template <class Threading, class Observer>
struct observed_by : Threading {
  using observer = Observer;
};

}} // namespace rouse::ROUSE_ABI

// The interface by which blocking calls park the calling fiber. install.hpp implements it, so that
// the replacements of system calls depend on no scheduler.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/detail/chrono.hpp>
#include <rouse/install/linux/interruption.hpp>
#include <rouse/install/linux/watch_set.hpp>
#include <rouse/install/windows/interruption.hpp>
#include <rouse/install/windows/watch_set.hpp>
#include <rouse/os/socket.hpp>

#if ROUSE_LINUX || ROUSE_WINDOWS
#include <thread>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// Whether one of the files is `h`.
inline bool contains(const watched_file* files, file_count count, native_handle_type h) noexcept {
  for (file_count i = 0; i != count; ++i) {
    if (files[i].fd == h) return true;
  }
  return false;
}

/// Parks the fibers of a thread that call blocking functions. One per thread.
class call_parker {
public:
  /// Whether the caller runs in a fiber that may be parked.
  [[nodiscard]] virtual bool parks() noexcept = 0;
  /// Parks the caller until one of the files may be ready, or `until` has passed.
  /// @param files  handles and events as for poll(2) and WSAPoll; with none it is a sleep.
  /// @param ends   the signal handlers that end the wait.
  /// @returns 0 if the caller should try again, else the system's error number for its call.
  virtual int wait(const watched_file* files, file_count count, clock::time_point until,
                   const interruption& ends) noexcept = 0;
  /// Counts a call that did not wait. True if the caller has made so many of them in a row that
  /// other fibers should run.
  [[nodiscard]] virtual bool share_is_used_up() noexcept = 0;
  /// Lets other fibers run.
  virtual void give_way() noexcept = 0;
  /// Wakes the fibers that wait for the handle with the error `handle_closed`. Called before the
  /// handle is closed.
  virtual void closing(native_handle_type h) noexcept = 0;
  /// Called when a signal handler runs on this thread: interrupts the waits that the handler ends.
  /// Async-signal-safe.
  virtual void handler_runs() noexcept = 0;

  /// The calling thread's, or null.
  static constinit inline thread_local call_parker* here = nullptr;

protected:
  ~call_parker() = default;
};

namespace installed {

/// Whether a blocking call made now parks the calling fiber. Inside a signal handler it never does,
/// because the handler may have interrupted any code.
inline bool here() noexcept {
  return call_parker::here && !inside_handler() && call_parker::here->parks();
}

} // namespace installed

namespace parked {

/// Like `call_parker::wait` of the calling thread.
/// @returns 0, or the system's error number.
inline int wait(const watched_file* files, file_count count, clock::time_point until,
                const interruption& ends) noexcept {
  if (call_parker::here) return call_parker::here->wait(files, count, until, ends);
  // Uninstalled between two waits of one call: the thread sleeps for a moment, then tries again.
  const auto soon = clock::now() + std::chrono::milliseconds(2);
  std::this_thread::sleep_until(soon < until ? soon : until);
  return ends.is_due() ? call_interrupted : 0;
}

/// Lets other fibers run if the caller has made many calls in a row without waiting.
inline void give_way() noexcept {
  if (call_parker::here && call_parker::here->share_is_used_up()) call_parker::here->give_way();
}

/// Like `wait`. If it returns false, errno or the last error is that of the caller's call.
inline bool park(const watched_file* files, file_count count, clock::time_point until,
                 const interruption& ends = {}) noexcept {
  const int error = wait(files, count, until, ends);
  set_call_error(error);
  return error == 0;
}

/// The end of a timeout as poll(2) takes it: negative means none.
inline clock::time_point after(int milliseconds) noexcept {
  if (milliseconds < 0) return (clock::time_point::max)();
  return deadline(std::chrono::milliseconds(milliseconds)).when();
}

/// Parks until `until`.
/// @returns 0, or the system's error number.
inline int sleep_until(clock::time_point until, const interruption& ends = {}) noexcept {
  while (clock::now() < until) {
    if (const int error = wait(nullptr, 0, until, ends)) return error;
  }
  return 0;
}

} // namespace parked
}}} // namespace rouse::ROUSE_ABI::os
#endif

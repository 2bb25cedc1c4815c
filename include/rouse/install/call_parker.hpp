// What blocking calls need of whoever parks their caller.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/detail/chrono.hpp>
#include <rouse/install/linux/interruption.hpp>
#include <rouse/install/linux/watch_set.hpp>
#include <rouse/install/windows/interruption.hpp>
#include <rouse/install/windows/watch_set.hpp>
#include <rouse/os/socket.hpp>

#include <thread>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// Whether a handle is among the files.
inline bool contains(const watched_file* files, file_count count, native_handle_type h) noexcept {
  for (file_count i = 0; i != count; ++i) {
    if (files[i].fd == h) return true;
  }
  return false;
}

/// Who parks the callers of blocking functions in this thread.
class call_parker {
public:
  /// Whether the caller is somebody who could be parked.
  [[nodiscard]] virtual bool parks() noexcept = 0;
  /// Parks the caller until one of the files may be ready (events and handles as poll(2) and
  /// WSAPoll take them; none: a sleep) or `until` has passed.
  /// @param ends  which handlers of signals end the wait.
  /// @returns 0: look again; else the system's number of the error that the caller's call ends
  /// with.
  virtual int wait(const watched_file* files, file_count count, clock::time_point until,
                   const interruption& ends) noexcept = 0;
  /// Counts a call that did not wait. True: the caller has made so many in a row that others should
  /// run.
  [[nodiscard]] virtual bool share_is_used_up() noexcept = 0;
  /// Lets others run.
  virtual void give_way() noexcept = 0;
  /// The handle is about to be closed: whoever waits for it is woken, with `handle_closed`.
  virtual void closing(native_handle_type h) noexcept = 0;
  /// By a handler of a signal, in this thread: ends the waits that are to end with it. Does only
  /// what is async-signal-safe.
  virtual void handler_runs() noexcept = 0;

  /// This thread's, or null.
  static constinit inline thread_local call_parker* here = nullptr;

protected:
  ~call_parker() = default;
};

namespace installed {

/// Whether the caller's fiber is parked where it would block. A handler of a signal is never
/// parked: it may have interrupted anything.
inline bool here() noexcept {
  return call_parker::here && !inside_handler() && call_parker::here->parks();
}

} // namespace installed

namespace parked {

/// @returns 0, or the system's number.
inline int wait(const watched_file* files, file_count count, clock::time_point until,
                const interruption& ends) noexcept {
  if (call_parker::here) return call_parker::here->wait(files, count, until, ends);
  // Uninstalled between two waits of one call: now its thread waits, and looks now and then.
  const auto soon = clock::now() + std::chrono::milliseconds(2);
  std::this_thread::sleep_until(soon < until ? soon : until);
  return ends.is_due() ? call_interrupted : 0;
}

/// Lets others run, if the caller has made many calls without having to wait.
inline void give_way() noexcept {
  if (call_parker::here && call_parker::here->share_is_used_up()) call_parker::here->give_way();
}

/// False: the error says how the call ends.
inline bool park(const watched_file* files, file_count count, clock::time_point until,
                 const interruption& ends = {}) noexcept {
  const int error = wait(files, count, until, ends);
  set_call_error(error);
  return error == 0;
}

/// Until when a timeout in the style of poll(2) lasts.
inline clock::time_point after(int milliseconds) noexcept {
  if (milliseconds < 0) return (clock::time_point::max)();
  return deadline(std::chrono::milliseconds(milliseconds)).when();
}

/// @returns 0, or the system's number.
inline int sleep_until(clock::time_point until, const interruption& ends = {}) noexcept {
  while (clock::now() < until) {
    if (const int error = wait(nullptr, 0, until, ends)) return error;
  }
  return 0;
}

} // namespace parked
}}} // namespace rouse::ROUSE_ABI::os

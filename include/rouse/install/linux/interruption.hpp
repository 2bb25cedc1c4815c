// What the calls of a thread know about signal handlers: whether one runs now, and whether one has
// run since a call began.
#pragma once
#include <rouse/config.hpp>

#if ROUSE_LINUX
namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// The signal handlers that have run on this thread. install/linux/handlers.hpp writes it, inside
/// of signal handlers.
struct handlers_here {
  unsigned runs = 0;
  unsigned runs_without_restart = 0; ///< runs of handlers without SA_RESTART
  const void* frame = nullptr; ///< frame of the running handler's caller, or null

  static constinit thread_local handlers_here mine;
};
constinit inline thread_local handlers_here handlers_here::mine;

/// Whether the caller runs inside a signal handler. A handler that was left by siglongjmp(3) does
/// not count: its frame is no longer above the caller's, or the loop has called `leave_handlers`
/// since.
inline bool inside_handler() noexcept {
  const void* const frame = handlers_here::mine.frame;
  return frame && __builtin_frame_address(0) < frame;
}
/// Forgets handlers that were left. Called by the loop, which never runs inside a handler.
inline void leave_handlers() noexcept { handlers_here::mine.frame = nullptr; }

/// Whether a waiting call has to fail with EINTR because a signal handler has run since it began.
/// Source: signal(7).
class interruption {
public:
  enum class by { nothing, handlers_without_restart, handlers };

  /// The call begins now.
  /// @param which  the signal handlers that end the call.
  /// @param call   the name of the call, for `dump`.
  interruption(by which = by::nothing, const char* call = "blocking call") noexcept
      : which_(which), call_(call), before_(handlers_here::mine.runs),
        before_without_restart_(handlers_here::mine.runs_without_restart) {}

  /// Makes every handler end the call, including one that has run since the call began.
  void widen_to_all_handlers() noexcept { which_ = by::handlers; }

  [[nodiscard]] bool is_due() const noexcept {
    const handlers_here& now = handlers_here::mine;
    return which_ == by::handlers ? now.runs != before_
           : which_ == by::handlers_without_restart
               ? now.runs_without_restart != before_without_restart_
               : false;
  }

  [[nodiscard]] const char* call() const noexcept { return call_; }

private:
  by which_;
  const char* call_;
  unsigned before_, before_without_restart_;
};

}}} // namespace rouse::ROUSE_ABI::os
#endif

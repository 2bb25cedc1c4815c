// What the calls of a thread know of the signals that it handles: whether a handler runs right now,
// and whether one has run since a call began.
#pragma once
#include <rouse/config.hpp>

#if ROUSE_LINUX
namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// The handlers that have run in this thread. Written by os/linux/handlers.hpp, inside of handlers.
struct handlers_here {
  unsigned runs = 0;
  unsigned runs_without_restart = 0; ///< of those installed without SA_RESTART
  const void* frame = nullptr; ///< the stack frame below which a handler runs; null: none does

  static constinit thread_local handlers_here mine;
};
constinit inline thread_local handlers_here handlers_here::mine;

/// Whether a handler has called the caller. One that was left by siglongjmp(3) does not count: its
/// frame is no longer above the caller's, or the loop has called `leave_handlers` since.
inline bool inside_handler() noexcept {
  const void* const frame = handlers_here::mine.frame;
  return frame && __builtin_frame_address(0) < frame;
}
/// By the loop, which no handler calls.
inline void leave_handlers() noexcept { handlers_here::mine.frame = nullptr; }

/// Whether a call that waits is to end with EINTR: where a handler has run since it began. Source:
/// signal(7).
class interruption {
public:
  enum class by { nothing, handlers_without_restart, handlers };

  /// Begins now.
  /// @param call  which call it is, for `dump`.
  interruption(by which = by::nothing, const char* call = "blocking call") noexcept
      : which_(which), call_(call), before_(handlers_here::mine.runs),
        before_without_restart_(handlers_here::mine.runs_without_restart) {}

  /// From when it began, any handler is one to end the call.
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

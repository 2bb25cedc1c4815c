// A scope in which the calling thread receives no signals.
#pragma once
#include <rouse/config.hpp>

#if !ROUSE_WINDOWS
#include <csignal>
#endif

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// Blocks all signals for the calling thread while the object exists. Threads that are started
/// meanwhile inherit the mask, so that signals go to the program's own threads. Windows has no
/// signals for threads, and the object does nothing.
class without_signals {
public:
#if !ROUSE_WINDOWS
  without_signals() noexcept {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~without_signals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
#else
  without_signals() noexcept {}
  ~without_signals() {}
#endif
  without_signals(const without_signals&) = delete;
  without_signals& operator=(const without_signals&) = delete;

#if !ROUSE_WINDOWS
private:
  sigset_t before_;
#endif
};

}}} // namespace rouse::ROUSE_ABI::os

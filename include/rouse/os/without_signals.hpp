// A thread that takes no signals for a while.
#pragma once
#include <rouse/config.hpp>

#if ROUSE_LINUX
#include <csignal>
#endif

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// While it exists, the calling thread takes no signals, nor do threads that it starts: theirs are
/// for the program's own.
class without_signals {
public:
#if ROUSE_LINUX
  without_signals() noexcept {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~without_signals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
#else
  without_signals() noexcept {}
  ~without_signals() {}
#endif
  without_signals(const without_signals&) = delete;
  without_signals& operator=(const without_signals&) = delete;

#if ROUSE_LINUX
private:
  sigset_t before_;
#endif
};

}}} // namespace rouse::ROUSE_ABI::os

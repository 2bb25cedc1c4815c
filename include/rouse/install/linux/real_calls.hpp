// The C library's own functions, for the definitions that precede them.
#pragma once
#include <rouse/config.hpp>

#if ROUSE_LINUX
#include <atomic>
#include <csignal>
#include <ctime>
#include <dlfcn.h>
#include <netdb.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// The C library's function of a name that this program defines too.
///
/// A call is not noexcept: most of these functions are cancellation points, and pthread_cancel(3)
/// unwinds the thread by an exception through all their callers.
///
/// Threads: any, also before main.
template <class Function>
class real_function {
public:
  constexpr explicit real_function(const char* name, Function* known = nullptr) noexcept
      : name_(name), found_(known) {}

  template <class... Arguments>
  auto operator()(Arguments... arguments) {
    return find()(arguments...);
  }
  Function* find() noexcept {
    Function* f = found_.load(std::memory_order_relaxed);
    if (!f) {
      f = reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name_));
      found_.store(f, std::memory_order_relaxed);
    }
    return f;
  }

private:
  const char* name_;
  std::atomic<Function*> found_;
};

#if ROUSE_TSAN
// ThreadSanitizer's versions, which delay signals while ThreadSanitizer holds a lock.
extern "C" int rouse_tsan_sigaction(int, const struct sigaction*,
                                    struct sigaction*) asm("__interceptor_sigaction");
using rouse_tsan_handler = void (*)(int);
extern "C" rouse_tsan_handler rouse_tsan_signal(int,
                                                rouse_tsan_handler) asm("__interceptor_signal");
#endif

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes" // attributes of the declarations
/// The C library's functions. A call by the plain name would reach the definitions of
/// interpose.hpp.
struct real {
  using plain_handler = void (*)(int);
  using signal_type = plain_handler(int, plain_handler);
  using sigaction_type = int(int, const struct sigaction*, struct sigaction*);

#define ROUSE_REAL(name)                                                                           \
  static constinit inline real_function<decltype(::name)> name { #name }
#define ROUSE_REAL_SIGNAL(name)                                                                    \
  static constinit inline real_function<signal_type> name { #name }
  ROUSE_REAL(connect);
  ROUSE_REAL(accept4);
  ROUSE_REAL(read);
  ROUSE_REAL(write);
  ROUSE_REAL(readv);
  ROUSE_REAL(writev);
  ROUSE_REAL(recv);
  ROUSE_REAL(recvfrom);
  ROUSE_REAL(recvmsg);
  ROUSE_REAL(send);
  ROUSE_REAL(sendto);
  ROUSE_REAL(sendmsg);
  ROUSE_REAL(poll);
  ROUSE_REAL(ppoll);
  ROUSE_REAL(select);
  ROUSE_REAL(pselect);
  ROUSE_REAL(epoll_wait);
  ROUSE_REAL(epoll_pwait);
  ROUSE_REAL(close);
  ROUSE_REAL(setsockopt);
  ROUSE_REAL(getaddrinfo);
  ROUSE_REAL(nanosleep);
  ROUSE_REAL(clock_nanosleep);
#if ROUSE_TSAN
  static constinit inline real_function<sigaction_type> sigaction{"sigaction",
                                                                  &rouse_tsan_sigaction};
  static constinit inline real_function<signal_type> signal{"signal", &rouse_tsan_signal};
#else
  static constinit inline real_function<sigaction_type> sigaction{"sigaction"};
  ROUSE_REAL_SIGNAL(signal);
#endif
  ROUSE_REAL_SIGNAL(sysv_signal);
  ROUSE_REAL_SIGNAL(sigset);
#undef ROUSE_REAL_SIGNAL
#undef ROUSE_REAL
  // In newer C libraries only (glibc 2.35).
  static constinit inline real_function<int(int, epoll_event*, int, const timespec*,
                                            const sigset_t*)>
      epoll_pwait2{"epoll_pwait2"};

  /// Finds the functions that a signal handler may call, since dlsym(3) is not async-signal-safe.
  static bool find_all() noexcept {
    const auto find = [](auto&... functions) { (functions.find(), ...); };
    find(connect, accept4, read, write, readv, writev, recv, recvfrom, recvmsg, send, sendto,
         sendmsg, poll, ppoll, select, pselect, epoll_wait, epoll_pwait, close, getaddrinfo,
         nanosleep, clock_nanosleep, signal, sysv_signal, sigset, sigaction);
    return true;
  }
};
#pragma GCC diagnostic pop

}}} // namespace rouse::ROUSE_ABI::os
#endif

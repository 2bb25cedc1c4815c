// The C library's functions, for whoever stands before them.
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

namespace rouse::inline ROUSE_ABI::os {

/// The C library's own function, found behind the definition that comes before it.
///
/// A call is not noexcept: most of these functions are cancellation points, and pthread_cancel(3)
/// unwinds the thread by an exception through everything that called them.
///
/// Threads: any, before main as well.
template <class Function>
class real_function {
public:
  constexpr explicit real_function(const char* name) noexcept : name_(name) {}

  template <class... Arguments>
  auto operator()(Arguments... arguments) {
    return find()(arguments...);
  }
  Function* find() noexcept {
    Function* f = found_.load(std::memory_order_relaxed);
    if (!f) [[unlikely]] {
      f = reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name_));
      found_.store(f, std::memory_order_relaxed);
    }
    return f;
  }

private:
  const char* name_;
  std::atomic<Function*> found_{nullptr};
};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes" // of the declarations
/// What is called by the definitions that come before the C library's, and so must not be called by
/// its name.
struct real {
#define ROUSE_REAL(name)                                                                           \
  static constinit inline real_function<decltype(::name)> name { #name }
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
#undef ROUSE_REAL
  // Of newer C libraries only.
  static constinit inline real_function<int(int, epoll_event*, int, const timespec*,
                                            const sigset_t*)>
      epoll_pwait2{"epoll_pwait2"};
};
#pragma GCC diagnostic pop

} // namespace rouse::inline ROUSE_ABI::os
#endif

// How objects learn that fork(2) has copied them into a child process.
#pragma once
#include <rouse/config.hpp>
#include <rouse/detail/intrusive_list.hpp>

#if ROUSE_LINUX
#include <csignal>
#include <ctime>
#include <mutex>
#include <pthread.h>
#include <sys/types.h>
#include <unistd.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

struct fork_hooks;

/// Calls a function in each child process that fork(2) makes while this object exists: in the
/// thread that forked, which is the only one there, before fork(2) returns.
///
/// The function may make system calls and use the heap. It must expect that any lock is held for
/// ever, and any list half changed, by a thread that does not exist in the child. It must neither
/// make nor destroy an object of this class.
///
/// Not called in children of vfork(2), posix_spawn(3), system(3) and popen(3), which share the
/// parent's memory until they execute another program.
///
/// Threads: any. Cost: nothing but at its beginning and end, and at each fork(2).
/// Source: pthread_atfork(3).
class fork_hook : public rouse::detail::list_node {
public:
  using function = void(void* owner) noexcept;

  inline fork_hook(function* in_child, void* owner) noexcept;
  fork_hook(const fork_hook&) = delete;
  fork_hook& operator=(const fork_hook&) = delete;
  inline ~fork_hook();

  void call() const noexcept { in_child_(owner_); }

private:
  function* const in_child_;
  void* const owner_;
  fork_hooks& hooks_;
};

/// All of one shared library (or of the program): the handlers that it gives to the C library go
/// when it is unloaded, and so does this.
struct fork_hooks {
  std::mutex mutex;
  rouse::detail::list<fork_hook> all;
  bool registered = false; // the C library has the handlers
};

// Hidden, so that each shared library has its own.
#define ROUSE_OWN_OF_LIBRARY __attribute__((visibility("hidden")))
ROUSE_OWN_OF_LIBRARY inline fork_hooks& hooks_of_library() noexcept {
  static fork_hooks hooks; // never destroyed: its destructor does nothing
  return hooks;
}
ROUSE_OWN_OF_LIBRARY inline void before_fork() noexcept { hooks_of_library().mutex.lock(); }
ROUSE_OWN_OF_LIBRARY inline void after_fork_in_parent() noexcept {
  hooks_of_library().mutex.unlock();
}
ROUSE_OWN_OF_LIBRARY inline void after_fork_in_child() noexcept {
  hooks_of_library().all.for_each([](fork_hook& h) { h.call(); });
  hooks_of_library().mutex.unlock();
}
ROUSE_OWN_OF_LIBRARY inline fork_hooks& add_to_library(fork_hook& h) noexcept {
  fork_hooks& hooks = hooks_of_library();
  const std::lock_guard lock(hooks.mutex);
  if (!hooks.registered) {
    hooks.registered =
        ::pthread_atfork(&before_fork, &after_fork_in_parent, &after_fork_in_child) == 0;
  }
  hooks.all.push_back(h);
  return hooks;
}
#undef ROUSE_OWN_OF_LIBRARY

inline fork_hook::fork_hook(function* in_child, void* owner) noexcept
    : in_child_(in_child), owner_(owner), hooks_(add_to_library(*this)) {}
inline fork_hook::~fork_hook() {
  const std::lock_guard lock(hooks_.mutex);
  unlink();
}

/// The process that made it. A child of vfork(2) sees the same object, and is another process.
///
/// Cost: a system call each time that it is asked. Source: getpid(2).
class process_mark {
public:
  [[nodiscard]] bool is_here() const noexcept { return ::getpid() == process_; }
  void move_here() noexcept { process_ = ::getpid(); }

  /// Sleeps for a moment by a call that nothing is installed for.
  static void nap() noexcept {
    sigset_t none;
    ::sigemptyset(&none);
    const timespec moment{0, 2'000'000};
    ::sigtimedwait(&none, nullptr, &moment);
  }

private:
  pid_t process_ = ::getpid();
};

}}} // namespace rouse::ROUSE_ABI::os
#endif

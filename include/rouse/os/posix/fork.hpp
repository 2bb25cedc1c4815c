// Hooks that run in each child process of fork(2), for objects that must not be used there as they
// are.
#pragma once
#include <rouse/config.hpp>
#include <rouse/detail/intrusive_list.hpp>

#if !ROUSE_WINDOWS
#include <csignal>
#include <ctime>
#include <mutex>
#include <pthread.h>
#include <sys/types.h>
#include <unistd.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

struct fork_hooks;

/// Calls a function in each child process that fork(2) makes while this object exists. The call is
/// made before fork(2) returns, on the child's only thread, the one that forked.
///
/// The function may make system calls and use the heap. It must assume that any lock may be held
/// for ever, and any list half changed, by a thread that does not exist in the child. It must
/// neither make nor destroy an object of this class.
///
/// The function is not called in children of vfork(2), posix_spawn(3), system(3) and popen(3),
/// which share the parent's memory until they execute another program.
///
/// Threads: any. Cost: a lock at construction and at destruction, and one call for each object at
/// fork(2). Source: pthread_atfork(3).
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

/// The hooks of one shared library, or of the program. Each has its own list: when a library is
/// unloaded, the C library drops the fork handlers that it has registered, and the list goes too.
struct fork_hooks {
  std::mutex mutex;
  rouse::detail::list<fork_hook> all;
  bool registered = false; // with pthread_atfork
};

// Hidden visibility gives each shared library its own copy of these functions.
#define ROUSE_OWN_OF_LIBRARY __attribute__((visibility("hidden")))
ROUSE_OWN_OF_LIBRARY inline fork_hooks& hooks_of_library() noexcept {
  static fork_hooks hooks; // usable at exit: its destructor does nothing
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

/// Remembers the process that made it, to detect a child process: one of fork(2), which has a copy
/// of it, or one of vfork(2), which sees the same object.
///
/// Cost: each `is_here` is a system call. Source: getpid(2).
class process_mark {
public:
  [[nodiscard]] bool is_here() const noexcept { return ::getpid() == process_; }
  void move_here() noexcept { process_ = ::getpid(); }

  /// Sleeps for two milliseconds, by a call that <rouse/install.hpp> does not replace.
  static void nap() noexcept {
    const timespec moment{0, 2'000'000};
#if ROUSE_LINUX
    sigset_t none;
    ::sigemptyset(&none);
    ::sigtimedwait(&none, nullptr, &moment);
#else
    ::nanosleep(&moment, nullptr);
#endif
  }

private:
  pid_t process_ = ::getpid();
};

}}} // namespace rouse::ROUSE_ABI::os
#endif

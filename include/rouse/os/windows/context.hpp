// Flows of execution that have their own stacks, and the switch between them: fibers of Windows.
#pragma once
#include <rouse/config.hpp>
#include <rouse/os/windows/socket.hpp>

#if ROUSE_WINDOWS
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <system_error>
#include <windows.h>
#if defined(__GNUC__)
#include <cxxabi.h>
#endif

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// A flow of execution while it is suspended. A default-constructed context has no stack of its
/// own: it is where a thread's own flow is suspended while the thread runs other contexts.
///
/// A thread becomes a fiber when it first switches to another context, and remains one. Threads:
/// any thread may continue a suspended context. Source: CreateFiberEx, SwitchToFiber,
/// ConvertThreadToFiberEx.
class context {
public:
  /// The function that a context runs. It ends with `leave_to`.
  using entry = void (*)(void* argument) noexcept;

  context() noexcept = default;
  context(const context&) = delete;
  context& operator=(const context&) = delete;
  ~context() {
    if (owns_fiber_) ::DeleteFiber(fiber_);
  }

  /// Makes the calling thread a fiber, which it remains, so that it can switch to other contexts.
  /// Returns false if memory runs out.
  static bool prepare_thread() noexcept { return own_fiber() != nullptr; }

  /// Makes this a suspended flow that starts with `e(argument)`, on a new stack with a guard page.
  /// @param stack_size  in bytes; at least 64 KiB are reserved.
  /// @returns not_enough_memory if memory runs out.
  std::error_code create(std::size_t stack_size, entry e, void* argument) noexcept {
    constexpr std::size_t least = 65536, most = std::size_t{1} << (sizeof(void*) == 8 ? 40 : 30);
    if (stack_size > most) return failure(std::errc::not_enough_memory).code();
    fiber_ = ::CreateFiberEx(4096, stack_size < least ? least : stack_size, FIBER_FLAG_FLOAT_SWITCH,
                             &context::begin, this);
    if (!fiber_) return failure(std::errc::not_enough_memory).code();
    owns_fiber_ = true;
    reset(e, argument);
    return {};
  }

  /// Makes a `T` and a new stack, which the member `context` of the `T` owns. The caller calls
  /// `reset` on that member next, and in the end `destroy`, which destroys both.
  /// @returns null, with the reason in `why`, if memory runs out.
  template <class T>
  static T* create_with(std::size_t stack_size, std::error_code& why) noexcept {
    T* const made = new (std::nothrow) T;
    why = made ? made->context.create(stack_size, nullptr, nullptr)
               : failure(std::errc::not_enough_memory).code();
    if (!why) return made;
    delete made;
    return nullptr;
  }
  template <class T>
  static void destroy(T& made) noexcept {
    delete &made;
  }

  /// Makes this a suspended flow that starts with `e(argument)` on the same stack. The flow before
  /// it has ended.
  void reset(entry e, void* argument) noexcept {
    entry_ = e;
    argument_ = argument;
    exceptions_ = {};
  }

  /// Suspends the running flow into `from` and continues `to`.
  static void switch_to(context& from, context& to) noexcept {
    if (!from.owns_fiber_ && !(from.fiber_ = own_fiber())) abort_unprepared();
    from.exceptions_.swap(to.exceptions_);
    ::SwitchToFiber(to.fiber_);
  }

  /// Like `switch_to`, but `from` ends here. After a `reset` it starts anew.
  static void leave_to(context& from, context& to) noexcept { switch_to(from, to); }

  /// To be called on the context of a thread's own flow: before it first switches to another, and
  /// after the last has switched back. They do nothing, since a fiber of Windows keeps its own
  /// state.
  void enter_thread() noexcept {}
  void leave_thread() noexcept {}

private:
  // The C++ runtime's record of the exceptions in flight (Itanium C++ ABI, 2.2.2). The runtime
  // keeps one for each thread, but each context needs its own, so a switch exchanges them.
  // Microsoft's runtime keeps this state in the fiber's stack frames.
  struct exception_state {
    void* caught = nullptr;
    unsigned int uncaught = 0;

    ROUSE_NEVER_INLINE void swap(const exception_state& to) noexcept {
#if defined(__GNUC__)
      char* globals = reinterpret_cast<char*>(abi::__cxa_get_globals());
      std::memcpy(&caught, globals, sizeof caught);
      std::memcpy(&uncaught, globals + sizeof caught, sizeof uncaught);
      std::memcpy(globals, &to.caught, sizeof to.caught);
      std::memcpy(globals + sizeof to.caught, &to.uncaught, sizeof to.uncaught);
#else
      (void)to;
#endif
    }
  };

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Warray-bounds" // GetCurrentFiber reads gs:[32]
#endif
  // Ends the program if an unprepared thread cannot become a fiber: no context could switch back to
  // it.
  [[noreturn]] static void abort_unprepared() noexcept {
    std::fputs("rouse: out of memory: this thread cannot run fibers\n", stderr);
    std::abort();
  }

  ROUSE_NEVER_INLINE static void* own_fiber() noexcept {
    return ::IsThreadAFiber() ? ::GetCurrentFiber()
                              : ::ConvertThreadToFiberEx(nullptr, FIBER_FLAG_FLOAT_SWITCH);
  }
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

  // Runs one flow after the other on this stack: an entry leaves at its end, and the next switch to
  // this fiber continues the loop.
  static void CALLBACK begin(void* self) {
    auto& me = *static_cast<context*>(self);
    for (;;) me.entry_(me.argument_);
  }

  void* fiber_ = nullptr;
  bool owns_fiber_ = false;
  entry entry_ = nullptr;
  void* argument_ = nullptr;
  exception_state exceptions_;
};

}}} // namespace rouse::ROUSE_ABI::os
#endif

// A flow of execution with a stack of its own: Windows' fibers.
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

/// Where a flow of execution stands while it does not run. Default-constructed: a place for a
/// thread's own.
///
/// The thread becomes a fiber when it first switches away, and stays one. Threads: a suspended
/// context may be continued by any. Source: CreateFiberEx, SwitchToFiber, ConvertThreadToFiberEx.
class context {
public:
  /// Its last act is `leave_to`; it never returns.
  using entry = void (*)(void* argument) noexcept;

  context() noexcept = default;
  context(const context&) = delete;
  context& operator=(const context&) = delete;
  ~context() {
    if (owns_fiber_) ::DeleteFiber(fiber_);
  }

  /// Makes the calling thread one that can switch to others, and stays so. False: memory is short.
  static bool prepare_thread() noexcept { return own_fiber() != nullptr; }

  /// A suspended flow that will begin with `e(argument)`, on a stack of at least `stack_size` bytes
  /// with a guard page below.
  /// @returns not_enough_memory where memory is short.
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

  /// A T whose `context` has a new stack, to which it is then to be `reset`; `destroy` ends both.
  /// @returns null, with the reason in `why`, where memory is short.
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

  /// Another flow on the same stack, once the former has ended.
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

  /// The same, but `from` ends here; after a `reset` it begins anew.
  static void leave_to(context& from, context& to) noexcept { switch_to(from, to); }

  /// Around all that is switched to from a thread's own stack. A fiber of Windows keeps all that is
  /// its own.
  void enter_thread() noexcept {}
  void leave_thread() noexcept {}

private:
  // What the C++ runtime keeps of exceptions in flight (Itanium C++ ABI, 2.2.2), a thread's own,
  // made a context's own. Microsoft's runtime keeps its own with the fiber's stack frames.
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
#pragma GCC diagnostic ignored "-Warray-bounds" // of GetCurrentFiber, to whom gs:[32] is no array
#endif
  // Of a thread that was not prepared: there would be no way back.
  [[noreturn]] ROUSE_COLD static void abort_unprepared() noexcept {
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

  // One life after the other on this stack: an entry leaves at its end, and the next switch here
  // goes round.
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

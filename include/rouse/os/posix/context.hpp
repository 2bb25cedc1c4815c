// Flows of execution that have their own stacks (fibers), and the switch between them, on Unix-like
// systems.
//
//   the mapping of a stack, low to high addresses:
//     | guard page | <- the stack grows down | object of create_with |
//
//   switch_to(from, to):
//     1. save the thread's C++ exception state in `from`, load that of `to`
//     2. tell AddressSanitizer or ThreadSanitizer, if one is in use
//     3. jump: push registers and the address to continue at, from.sp_ = sp, sp = to.sp_,
//        pop the address and jump to it
//     4. `to` continues behind its own `jump` with finish_switch; a new context runs `begin`
//
// `jump` is inline assembly for the System V ABIs of x86-64 and AArch64, and swapcontext(3) on
// other machines (ROUSE_CONTEXT_UCONTEXT).
#pragma once
#include <rouse/config.hpp>

#if !ROUSE_WINDOWS
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <cxxabi.h>
#include <new>
#include <sys/mman.h>
#include <system_error>
#include <unistd.h>
#include <utility>
#if ROUSE_CONTEXT_UCONTEXT
#include <ucontext.h>
#endif
#if ROUSE_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#if ROUSE_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace rouse { inline namespace ROUSE_ABI { namespace os {
namespace detail {

// The C++ runtime's record of the exceptions in flight. The runtime keeps one for each thread, but
// each context needs its own, so a switch exchanges them. It consists of a pointer (the caught
// exceptions) and an unsigned int (the number of uncaught ones), which have no public names
// (Itanium C++ ABI, 2.2.2). It is copied as a whole, with its padding.
struct exception_state {
  alignas(void*) unsigned char bytes[2 * sizeof(void*)] = {};
};

// <cxxabi.h> declares __cxa_get_globals with the attribute `const`. The compiler could then reuse
// the result across a switch, after which the code may run on another thread. This declaration has
// no such attribute.
#if ROUSE_DARWIN
extern "C" void* rouse_exception_globals() noexcept asm("___cxa_get_globals");
#else
extern "C" void* rouse_exception_globals() noexcept asm("__cxa_get_globals");
#endif

/// @param globals  the exception state of the running thread
inline void swap_exceptions(void* globals, exception_state& from,
                            const exception_state& to) noexcept {
  std::memcpy(from.bytes, globals, sizeof from.bytes);
  std::memcpy(globals, to.bytes, sizeof to.bytes);
}

// The memory of one stack, with a guard page below it.
class stack_memory {
public:
  stack_memory() noexcept = default;
  stack_memory(stack_memory&& other) noexcept { *this = std::move(other); }
  stack_memory& operator=(stack_memory&& other) noexcept {
    std::swap(base_, other.base_);
    std::swap(size_, other.size_);
    std::swap(guard_, other.guard_);
    std::swap(reserved_, other.reserved_);
    return *this;
  }
  ~stack_memory() {
    if (base_) ::munmap(base_, size_);
  }

  std::error_code allocate(std::size_t bytes) noexcept {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    constexpr std::size_t least = 16384, most = std::size_t{1} << 46;
    if (bytes > most) return std::make_error_code(std::errc::not_enough_memory);
    const std::size_t size = ((bytes < least ? least : bytes) + page - 1) / page * page + page;
    void* p = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, mapping, -1, 0);
    if (p == MAP_FAILED) return {errno, std::generic_category()};
    base_ = static_cast<char*>(p);
    size_ = size;
    guard_ = page;
    reserved_ = reinterpret_cast<std::uintptr_t>(p) / page % cache_colors * cache_line;
    if (guard_within_mapping(base_, page) || ::mprotect(base_, page, PROT_NONE) == 0) return {};
    return {errno, std::generic_category()};
  }

  [[nodiscard]] char* bottom() const noexcept { return base_ + guard_; }
  [[nodiscard]] char* top() const noexcept { return base_ + size_ - reserved_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_ - guard_ - reserved_; }

  /// Reserves room for an object at the top of the stack. Only before the stack is in use.
  void* reserve_top(std::size_t bytes) noexcept {
    reserved_ += (bytes + cache_line - 1) / cache_line * cache_line;
    return top();
  }

private:
  // Stacks lie whole pages apart. If all began at the same place in their pages, what a switch
  // reads of each would fall into the same sets of the cache, which hold only some hundred of
  // them. So they begin at different lines.
  static constexpr std::size_t cache_line = 64, cache_colors = 16;

#if ROUSE_LINUX
  static constexpr int mapping = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK;

  // Makes the guard page without splitting the mapping, so that the kernel can merge the mappings
  // of many stacks. A process may have 65,530 mappings (vm.max_map_count); with two for each stack,
  // that limits it to half as many fibers. Since Linux 6.13. Emulators accept advice that they do
  // not know and do nothing. Populating the page detects that: with a guard it fails.
  static bool guard_within_mapping(void* at, std::size_t size) noexcept {
    constexpr int populate_read = 22, guard_install = 102; // MADV_...
    return ::madvise(at, size, guard_install) == 0 && ::madvise(at, size, populate_read) != 0;
  }
#else
  static constexpr int mapping = MAP_PRIVATE | MAP_ANON | MAP_NORESERVE;
  static bool guard_within_mapping(void*, std::size_t) noexcept { return false; }
#endif

  char* base_ = nullptr;
  std::size_t size_ = 0, guard_ = 0, reserved_ = 0;
};

} // namespace detail

/// A flow of execution while it is suspended. A default-constructed context has no stack of its
/// own: it is where a thread's own flow is suspended while the thread runs other contexts.
///
/// Threads: any thread may continue a suspended context.
class context {
public:
  /// The function that a context runs. It ends with `leave_to` and never returns.
  using entry = void (*)(void* argument) noexcept;

  context() noexcept = default;
  context(const context&) = delete;
  context& operator=(const context&) = delete;
  ~context() {
#if ROUSE_TSAN
    if (owns_tsan_fiber_) __tsan_destroy_fiber(tsan_fiber_);
#endif
  }

  /// Whether the calling thread can switch to other contexts. Here every thread can; on Windows a
  /// thread must first become a fiber.
  static constexpr bool prepare_thread() noexcept { return true; }

  /// Makes this a suspended flow that starts with `e(argument)`, on a new stack with a guard page.
  /// @param stack_size  in bytes; at least 16 KiB are allocated, in whole pages.
  /// @returns not_enough_memory if memory or mappings (vm.max_map_count) run out.
  std::error_code create(std::size_t stack_size, entry e, void* argument) noexcept {
    detail::stack_memory stack;
    if (const std::error_code ec = stack.allocate(stack_size)) return ec;
    adopt(std::move(stack));
    reset(e, argument);
    return {};
  }

  /// Makes a new stack with a `T` at its top. The member `context` of that object owns the stack.
  /// The caller calls `reset` on that member next, and in the end `destroy`, which destroys both.
  /// @returns null, with the reason in `why`, if memory or mappings run out.
  template <class T>
  static T* create_with(std::size_t stack_size, std::error_code& why) noexcept {
    detail::stack_memory stack;
    why = stack.allocate(stack_size);
    if (why) return nullptr;
    T* const made = ::new (stack.reserve_top(sizeof(T))) T;
    made->context.adopt(std::move(stack));
    return made;
  }
  template <class T>
  static void destroy(T& made) noexcept {
    const detail::stack_memory stack = std::move(made.context.stack_);
    made.~T();
  }

  /// Makes this a suspended flow that starts with `e(argument)` on the same stack. The flow before
  /// it has ended.
  void reset(entry e, void* argument) noexcept {
    entry_ = e;
    argument_ = argument;
    exceptions_ = {};
    prepare();
  }

  /// Suspends the running flow into `from` and continues `to`.
  ROUSE_ALWAYS_INLINE static void switch_to(context& from, context& to) noexcept {
    do_switch(from, to, false);
  }
  /// Like `switch_to`, but `from` ends here.
  static void leave_to(context& from, context& to) noexcept { do_switch(from, to, true); }

  /// To be called on the context of a thread's own flow: before it first switches to another, and
  /// after the last has switched back.
  void enter_thread() noexcept { globals_ = detail::rouse_exception_globals(); }
  void leave_thread() noexcept { globals_ = nullptr; }

private:
  void adopt(detail::stack_memory stack) noexcept {
    stack_ = std::move(stack);
#if ROUSE_TSAN
    tsan_fiber_ = __tsan_create_fiber(0);
    owns_tsan_fiber_ = true;
#endif
    asan_bottom_ = stack_.bottom();
    asan_size_ = stack_.size();
  }

  ROUSE_ALWAYS_INLINE static void do_switch(context& from, context& to, bool last) noexcept {
    // The target context continues on the current thread.
    detail::swap_exceptions(to.globals_ = from.globals_, from.exceptions_, to.exceptions_);
    (void)last;
#if ROUSE_TSAN
    if (!from.owns_tsan_fiber_) from.tsan_fiber_ = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(to.tsan_fiber_, 0);
#endif
#if ROUSE_ASAN
    to.switched_from_ = &from;
    __sanitizer_start_switch_fiber(last ? nullptr : &from.asan_fake_, to.asan_bottom_,
                                   to.asan_size_);
#endif
    jump(from, to);
    from.finish_switch();
  }

  // Runs first in a context that another one has switched to.
  void finish_switch() noexcept {
#if ROUSE_ASAN
    // The bounds of a thread's own stack become known here, when the thread first leaves it.
    __sanitizer_finish_switch_fiber(asan_fake_, &switched_from_->asan_bottom_,
                                    &switched_from_->asan_size_);
#endif
  }

  // The first function of a new flow.
  static void begin(void* self) noexcept {
    auto& me = *static_cast<context*>(self);
    me.asan_fake_ = nullptr;
    me.finish_switch();
    me.entry_(me.argument_);
    std::abort(); // entry returned
  }

#if ROUSE_CONTEXT_UCONTEXT
  void prepare() noexcept {
    ::getcontext(&machine_);
    machine_.uc_stack.ss_sp = stack_.bottom();
    machine_.uc_stack.ss_size = stack_.size();
    machine_.uc_link = nullptr;
    const auto self = reinterpret_cast<std::uintptr_t>(this);
    const auto start = reinterpret_cast<void (*)()>(&context::begin_halves);
    ::makecontext(&machine_, start, 2, static_cast<unsigned>(self & 0xffffffffu),
                  static_cast<unsigned>(self >> 16 >> 16));
  }
  // makecontext passes only ints, so the pointer arrives in two halves.
  static void begin_halves(unsigned low, unsigned high) noexcept {
    begin(reinterpret_cast<void*>(static_cast<std::uintptr_t>(high) << 16 << 16 | low));
  }
  static void jump(context& from, context& to) noexcept {
    ::swapcontext(&from.machine_, &to.machine_);
  }
#else
  // A suspended flow's registers are on its stack, with the address to continue at on top. `sp_`
  // points there (on AArch64, the address is at sp + 24).
  void prepare() noexcept {
    auto* top = reinterpret_cast<std::uintptr_t*>(stack_.top());
    const auto start = reinterpret_cast<std::uintptr_t>(&context::begin);
#if defined(__x86_64__)
    top[-1] = 0; // no return address; aligned as after a call
    top[-2] = start;
    sp_ = top - 2;
#else
    top[-1] = start;
    sp_ = top - 4;
#endif
  }

  // Inline for two reasons: the compiler saves only the registers that are live across the switch,
  // and there is no `ret`, the target of which the processor would predict wrongly. The assembly
  // itself saves the frame pointer, which cannot be listed as clobbered, and the floating-point
  // control words, which the calling conventions require a callee to preserve.
  __attribute__((always_inline)) static void jump(context& from, context& to) noexcept {
#if defined(__x86_64__)
    void* save = &from.sp_;
    void* load = to.sp_;
    void* argument = &to;
    asm volatile("leaq -128(%%rsp), %%rsp\n\t" // skips the surrounding function's red zone
                 "pushq %%rbp\n\t"
                 "subq $8, %%rsp\n\t"
                 "fnstcw 4(%%rsp)\n\t"
                 "stmxcsr (%%rsp)\n\t"
                 "movzwl 4(%%rsp), %%ecx\n\t"
                 "leaq 1f(%%rip), %%rax\n\t"
                 "pushq %%rax\n\t"
                 "movq %%rsp, (%%rsi)\n\t"
                 "movq %%rdx, %%rsp\n\t"
                 "popq %%rax\n\t"
                 "jmpq *%%rax\n\t"
                 "1:\n\t"
                 "ldmxcsr (%%rsp)\n\t"
                 "cmpw 4(%%rsp), %%cx\n\t" // fldcw is slow and rarely needed
                 "je 2f\n\t"
                 "fldcw 4(%%rsp)\n\t"
                 "2:\n\t"
                 "addq $8, %%rsp\n\t"
                 "popq %%rbp\n\t"
                 "leaq 128(%%rsp), %%rsp\n\t"
                 : "+S"(save), "+d"(load), "+D"(argument)
                 :
                 : "rax", "rbx", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
                   "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                   "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "st",
                   "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)"
#if defined(__AVX512F__)
                   ,
                   "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24",
                   "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3",
                   "k4", "k5", "k6", "k7"
#endif
    );
#else
    register void* argument asm("x0") = &to;
    register void* save asm("x1") = &from.sp_;
    register void* load asm("x2") = to.sp_;
    asm volatile("sub sp, sp, #32\n\t"
                 "stp x29, x30, [sp]\n\t"
                 "mrs x9, fpcr\n\t"
                 "adr x10, 1f\n\t"
                 "stp x9, x10, [sp, #16]\n\t"
                 "mov x9, sp\n\t"
                 "str x9, [x1]\n\t"
                 "mov sp, x2\n\t"
                 "ldr x16, [sp, #24]\n\t"
                 "br x16\n\t"
                 "1:\n\t"
                 "hint #36\n\t" // bti j
                 "ldr x9, [sp, #16]\n\t"
                 "msr fpcr, x9\n\t"
                 "ldp x29, x30, [sp]\n\t"
                 "add sp, sp, #32\n\t"
                 : "+r"(argument), "+r"(save), "+r"(load)
                 :
                 : "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14",
                   "x15", "x16", "x17", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26",
                   "x27", "x28", "memory", "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7",
                   "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19",
                   "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30",
                   "v31"
#if !ROUSE_DARWIN // where it belongs to the system, and no program keeps anything in it
                   ,
                   "x18"
#endif
#if defined(__ARM_FEATURE_SVE)
                   ,
                   "p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "p10", "p11", "p12",
                   "p13", "p14", "p15"
#endif
    );
#endif
  }
#endif

  // The members that a switch touches come first, to share one cache line.
#if ROUSE_CONTEXT_UCONTEXT
  ucontext_t machine_{};
#else
  void* sp_ = nullptr;
#endif
  detail::exception_state exceptions_;
  void* globals_ = nullptr; // the running thread's exception state
  detail::stack_memory stack_;
  entry entry_ = nullptr;
  void* argument_ = nullptr;
  // For the sanitizers. Always present, so that no macro changes the layout.
  [[maybe_unused]] context* switched_from_ = nullptr; // the context that last switched here
  [[maybe_unused]] void* tsan_fiber_ = nullptr;
  [[maybe_unused]] bool owns_tsan_fiber_ = false;
  [[maybe_unused]] void* asan_fake_ = nullptr;
  [[maybe_unused]] const void* asan_bottom_ = nullptr;
  [[maybe_unused]] std::size_t asan_size_ = 0;
};

}}} // namespace rouse::ROUSE_ABI::os
#endif

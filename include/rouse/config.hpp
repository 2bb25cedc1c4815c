// All macros of the library. Those that are conditions are always defined, as 0 or 1.
#pragma once
#include <version> // which standard library this is

#define ROUSE_VERSION_MAJOR 0
#define ROUSE_VERSION_MINOR 1
#define ROUSE_VERSION_PATCH 0

#if defined(_WIN32)
#define ROUSE_WINDOWS 1
#else
#define ROUSE_WINDOWS 0
#endif

#if defined(__linux__)
#define ROUSE_LINUX 1
#else
#define ROUSE_LINUX 0
#endif

#if defined(__APPLE__)
#define ROUSE_DARWIN 1
#else
#define ROUSE_DARWIN 0
#endif

// Whether the engine is kqueue(2). A test defines it as 1 on Linux, and brings a <sys/event.h> that
// emulates it.
#if !defined(ROUSE_KQUEUE)
#define ROUSE_KQUEUE ROUSE_DARWIN
#endif

#if !ROUSE_WINDOWS && !ROUSE_LINUX && !ROUSE_DARWIN
#error "rouse: there are engines for Linux, macOS and Windows; this platform has none yet"
#endif

#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define ROUSE_EXCEPTIONS 1
#else
#define ROUSE_EXCEPTIONS 0
#endif

#if defined(__SANITIZE_ADDRESS__)
#define ROUSE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ROUSE_ASAN 1
#else
#define ROUSE_ASAN 0
#endif
#else
#define ROUSE_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__)
#define ROUSE_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define ROUSE_TSAN 1
#else
#define ROUSE_TSAN 0
#endif
#else
#define ROUSE_TSAN 0
#endif

// Fibers switch stacks by hand-written assembly on x86-64 and AArch64, elsewhere by ucontext(3).
// Windows has fibers of its own, on every processor.
#if !defined(ROUSE_CONTEXT_UCONTEXT)
#if ROUSE_WINDOWS || defined(__x86_64__) || defined(__aarch64__)
#define ROUSE_CONTEXT_UCONTEXT 0
#else
#define ROUSE_CONTEXT_UCONTEXT 1
#endif
#endif

// GCC for Windows emulates thread_local: it frees a thread's variables before it runs their
// destructors. See detail/thread_exit.hpp.
#if defined(__MINGW32__) && !defined(__clang__)
#define ROUSE_EMULATED_TLS 1
#else
#define ROUSE_EMULATED_TLS 0
#endif

// Without futexes (MinGW), the semaphore of libstdc++ can miss a wake-up: see core/stop_watch.hpp.
#if defined(__GLIBCXX__) && !defined(_GLIBCXX_HAVE_LINUX_FUTEX)
#define ROUSE_LOSSY_SEMAPHORE 1
#else
#define ROUSE_LOSSY_SEMAPHORE 0
#endif

// The name of the inline namespace. It contains the version and every setting that changes a layout
// or the meaning of a function, so that two vendored copies, or objects built with and without
// exceptions, can be linked into one program. No piece is empty, because Microsoft's preprocessor
// does not paste empty tokens reliably.
#if ROUSE_EXCEPTIONS
#define ROUSE_ABI_ERRORS e
#else
#define ROUSE_ABI_ERRORS n
#endif
#if ROUSE_CONTEXT_UCONTEXT
#define ROUSE_ABI_CONTEXT u
#else
#define ROUSE_ABI_CONTEXT f
#endif
#if ROUSE_ASAN || ROUSE_TSAN
#define ROUSE_ABI_SANITIZER s
#else
#define ROUSE_ABI_SANITIZER p
#endif
#define ROUSE_ABI_PASTE(errors, context, sanitizer) v0_1##errors##context##sanitizer
#define ROUSE_ABI_NAME(errors, context, sanitizer) ROUSE_ABI_PASTE(errors, context, sanitizer)
#define ROUSE_ABI ROUSE_ABI_NAME(ROUSE_ABI_ERRORS, ROUSE_ABI_CONTEXT, ROUSE_ABI_SANITIZER)

// Tells the optimizer that a condition holds.
#if defined(_MSC_VER) && !defined(__clang__)
#define ROUSE_ASSUME(what) __assume(what)
#else
#define ROUSE_ASSUME(what) ((what) ? void() : __builtin_unreachable())
#endif

// For functions that compute something of the calling thread, such as the address of a thread_local
// variable. A fiber may continue on another thread, so the compiler must not keep the result across
// a switch of stacks: it must neither inline such a function nor merge two calls of it. noinline
// alone is not enough for GCC, which finds that the result depends on no memory and merges the
// calls; noipa hides the body from the callers. They are: this_flow, this_thread_flow,
// running::innermost, thread_number, recycler::local, and on Windows context::own_fiber and
// exception_state::swap. ROUSE_NOINLINE, in contrast, only keeps rare code out of hot functions.
#if defined(_MSC_VER) && !defined(__clang__)
#define ROUSE_NEVER_INLINE __declspec(noinline)
#elif defined(__clang__)
#define ROUSE_NEVER_INLINE __attribute__((noinline))
#else
#define ROUSE_NEVER_INLINE __attribute__((noipa))
#endif

// Placement. Compilers decide well by themselves; these are the exceptions. Each one saves at least
// one percent of the instructions of a call or of a rendezvous with g++ or clang, alone or together
// with those beside it.
//
// ROUSE_COLD: rare functions that hot ones call, placed elsewhere and optimized for size. A branch
// to one needs no [[unlikely]].
// ROUSE_NOINLINE: the same if it is not that rare (limits, further rounds of a call): inlined, it
// would make its caller save registers, or too large to be inlined itself.
// ROUSE_ALWAYS_INLINE: parts of one hot function, which are larger than what g++ inlines at -O2;
// and what lies between a fiber's call and the switch of stacks (see fiber_suspension).
#if defined(_MSC_VER) && !defined(__clang__)
#define ROUSE_COLD __declspec(noinline)
#else
#define ROUSE_COLD __attribute__((cold, noinline))
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#define ROUSE_NO_UNIQUE_ADDRESS [[msvc::no_unique_address]]
#define ROUSE_NOINLINE __declspec(noinline)
#define ROUSE_ALWAYS_INLINE __forceinline
#elif defined(_MSC_VER)
#define ROUSE_NO_UNIQUE_ADDRESS [[msvc::no_unique_address]]
#define ROUSE_NOINLINE __attribute__((noinline))
#define ROUSE_ALWAYS_INLINE __attribute__((always_inline)) inline
#else
#define ROUSE_NO_UNIQUE_ADDRESS [[no_unique_address]]
#define ROUSE_NOINLINE __attribute__((noinline))
#if defined(__OPTIMIZE__)
#define ROUSE_ALWAYS_INLINE __attribute__((always_inline)) inline
#else // unoptimized: a quarter faster to compile, steppable
#define ROUSE_ALWAYS_INLINE inline
#endif
#endif

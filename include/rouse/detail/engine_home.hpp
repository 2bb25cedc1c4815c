// How a handle finds its engine from any thread, also when the engine is gone.
#pragma once
#include <rouse/config.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// A number that no other thread of the process has, or had.
ROUSE_NEVER_INLINE inline std::uint64_t thread_number() noexcept {
  static constinit std::atomic<std::uint64_t> threads{0};
  static constinit thread_local std::uint64_t mine = 0;
  if (mine == 0) mine = threads.fetch_add(1, std::memory_order_relaxed) + 1;
  return mine;
}

/// Where a thread that drops a handle stands towards the engine.
enum class whereabouts : unsigned char {
  inside, ///< it may touch the engine
  outside, ///< another thread uses the engine: it may only post
  gone, ///< there is no engine any more
};

/// An engine owns one, and shares it with what its handles refer to: channels and flows. The last
/// of them frees it.
///
///     thread that drops the last handle      thread that uses the engine
///     meet: lock                             enter: lock, "I use it now"
///           inside: end it here              ...
///           outside: post it       ------>   the loop ends it
///           gone: end it here                close: lock, "gone"; then what was posted is ended
///
/// Threads: any. Cost: a mutex, for the last handle of a channel or of an ended flow only.
template <class Engine>
class engine_home {
public:
  explicit engine_home(Engine& e) noexcept : engine_(&e) {}
  engine_home(const engine_home&) = delete;
  engine_home& operator=(const engine_home&) = delete;

  void hold() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void drop() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  /// The calling thread uses the engine from now on.
  void enter() noexcept {
    if constexpr (!Engine::threading::shared) {
      const std::uint64_t me = thread_number();
      if (user_.load(std::memory_order_relaxed) == me) return;
      const std::lock_guard lock(mutex_);
      user_.store(me, std::memory_order_relaxed);
    }
  }

  /// The engine goes: nothing is posted to it any more.
  void close() noexcept {
    const std::lock_guard lock(mutex_);
    engine_ = nullptr;
  }

  /// Calls `f(whereabouts, Engine*)`. Until it returns the engine stays, and no other thread comes
  /// to use it: `f` must run none of the user's code.
  template <class F>
  void meet(F f) noexcept {
    const std::lock_guard lock(mutex_);
    f(engine_ ? here() : whereabouts::gone, engine_);
  }

  /// While the lock is held the engine stays, if `open`.
  [[nodiscard]] std::unique_lock<std::mutex> keep() noexcept { return std::unique_lock(mutex_); }
  [[nodiscard]] bool open() const noexcept { return engine_ != nullptr; }

  /// In a forked child: a thread that does not exist there may have locked it.
  void renew_lock() noexcept { ::new (&mutex_) std::mutex; }

private:
  ~engine_home() = default;

  [[nodiscard]] whereabouts here() const noexcept {
    if (Engine::threading::shared || user_.load(std::memory_order_relaxed) == thread_number())
      return whereabouts::inside;
    return whereabouts::outside;
  }

  std::mutex mutex_;
  Engine* engine_; // guarded by the mutex
  std::atomic<std::uint64_t> user_{thread_number()}; // the thread; written with the mutex held
  std::atomic<std::size_t> references_{1};
};

}}} // namespace rouse::ROUSE_ABI::detail

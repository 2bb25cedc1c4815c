// How a handle reaches its engine from any thread, even after the engine is destroyed.
#pragma once
#include <rouse/config.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

/// A number of the calling thread, which no other thread of the process has or had.
ROUSE_NEVER_INLINE inline std::uint64_t thread_number() noexcept {
  static constinit std::atomic<std::uint64_t> threads{0};
  static constinit thread_local std::uint64_t mine = 0;
  if (mine == 0) mine = threads.fetch_add(1, std::memory_order_relaxed) + 1;
  return mine;
}

/// What a thread that drops a handle may do with the engine.
enum class whereabouts : unsigned char {
  inside, ///< it may use the engine
  outside, ///< another thread uses the engine: only post
  gone, ///< the engine is destroyed
};

/// The engine holds one and shares it with the objects that handles refer to: channels and flows.
/// The last reference deletes it.
///
///     thread that drops the last handle      thread that uses the engine
///     meet: lock                             enter: lock, record itself as the user
///           inside: destroy the object       ...
///           outside: post the object ---->   the loop destroys the object
///           gone: destroy the object         close: lock, clear the engine; posted objects are
///                                            destroyed after that
///
/// Threads: any. Cost: a mutex, only for the last handle of a channel or of an ended flow.
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

  /// Records the calling thread as the one that uses the engine.
  void enter() noexcept {
    if constexpr (!Engine::threading::shared) {
      const std::uint64_t me = thread_number();
      if (user_.load(std::memory_order_relaxed) == me) return;
      const std::lock_guard lock(mutex_);
      user_.store(me, std::memory_order_relaxed);
    }
  }

  /// For the engine's destructor: after this, nothing is posted to the engine.
  void close() noexcept {
    const std::lock_guard lock(mutex_);
    engine_ = nullptr;
  }

  /// Calls `f(whereabouts, Engine*)` with the lock held. Until `f` returns, the engine is not
  /// destroyed and no other thread starts to use it. `f` must not run code of the application.
  template <class F>
  void meet(F f) noexcept {
    const std::lock_guard lock(mutex_);
    f(engine_ ? here() : whereabouts::gone, engine_);
  }

  /// Locks the home. While the lock is held, an engine that is `open` is not destroyed.
  [[nodiscard]] std::unique_lock<std::mutex> keep() noexcept { return std::unique_lock(mutex_); }
  [[nodiscard]] bool open() const noexcept { return engine_ != nullptr; }
  /// Without the lock: for a caller that knows that the engine exists.
  [[nodiscard]] Engine* engine() const noexcept { return engine_; }

  /// For a forked child, where the mutex may be locked by a thread that exists in the parent only.
  void renew_lock() noexcept { ::new (&mutex_) std::mutex; }

private:
  ~engine_home() = default;

  [[nodiscard]] whereabouts here() const noexcept {
    if (Engine::threading::shared || user_.load(std::memory_order_relaxed) == thread_number())
      return whereabouts::inside;
    return whereabouts::outside;
  }

  std::mutex mutex_;
  Engine* engine_; // guarded by mutex_
  std::atomic<std::uint64_t> user_{thread_number()}; // the engine's thread
  std::atomic<std::size_t> references_{1};
};

}}} // namespace rouse::ROUSE_ABI::detail

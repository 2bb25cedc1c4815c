// Values that each flow has for itself: what thread_local is for threads.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/flow.hpp>
#include <rouse/detail/thread_exit.hpp>

#include <atomic>
#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

inline std::uint64_t next_local_key() noexcept {
  static constinit std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

} // namespace detail

/// A variable of which each flow has its own: what `thread_local` is for threads.
///
///     rouse::flow_local<int> depth{0};
///     rouse::flow_local<std::mt19937> dice{[] { return std::mt19937(std::random_device()()); }};
///     ...
///     ++*depth;                       // in any function that a flow calls, whatever carries it
///
/// A flow's value is made when it first asks for it. It is destroyed as the flow ends, however it
/// does, by the flow itself, before whoever joins it goes on: the newest value first, after the
/// flow's variables. A flow takes over nothing from the one that spawned it.
///
/// What runs in no flow (main, handlers, posted functions) has the values of its thread, destroyed
/// as that ends. So has a coroutine type of one's own, after its first wait. A coroutine that
/// something else than a call of rouse resumes has, until it next waits, the values of whoever
/// resumed it.
///
/// Usually a namespace-scope or static variable; it may be destroyed while flows have values of it.
///
/// Threads: any. Cost: an allocation when a flow first asks; afterwards a walk over the values that
/// the flow has.
template <class T>
class flow_local {
public:
  /// Each flow's value is `T()`, a copy of `first`, or what `make` gives.
  flow_local()
    requires std::default_initializable<T>
      : make_([] { return T(); }) {}
  explicit flow_local(T first)
    requires std::copy_constructible<T>
      : first_(std::move(first)) {}
  explicit flow_local(T (*make)()) noexcept : make_(make) {}
  flow_local(const flow_local&) = delete;
  flow_local& operator=(const flow_local&) = delete;

  /// The calling flow's value. Throws what making it throws; the next call then tries again.
  [[nodiscard]] T& operator*() const { return get(); }
  [[nodiscard]] T* operator->() const { return std::addressof(get()); }
  [[nodiscard]] T& get() const {
    flow* const f = detail::this_flow();
    detail::local_values& mine = f ? f->locals : *detail::thread_object<detail::local_values>();
    if (auto* v = mine.find(key_)) return static_cast<value*>(v)->held;
    auto* made = new value(*this);
    mine.add(*made);
    return made->held;
  }

private:
  struct value final : detail::local_value {
    explicit value(const flow_local& l) : held(l.initial()) { key = l.key_; }
    T held;
  };

  T initial() const {
    if constexpr (std::copy_constructible<T>) {
      if (first_) return *first_;
    }
    return make_();
  }

  const std::uint64_t key_ = detail::next_local_key();
  std::optional<T> first_;
  T (*make_)() = nullptr;
};

}} // namespace rouse::ROUSE_ABI

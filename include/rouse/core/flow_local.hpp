// flow_local: for flows what thread_local is for threads.
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

/// A variable of which each flow has its own value: for flows what `thread_local` is for threads.
///
///     rouse::flow_local<int> depth{0};
///     rouse::flow_local<std::mt19937> dice{[] { return std::mt19937(std::random_device()()); }};
///     ...
///     ++*depth;                       // in any function that a flow calls
///
/// A flow's value is created at its first access. The flow destroys it as it ends, for whatever
/// reason, after the flow's variables and before `join` returns; the newest value first. A flow
/// inherits no values from the flow that spawned it.
///
/// Code outside of any flow (main, handlers, posted functions) uses values of its thread, which are
/// destroyed when the thread ends. So does a coroutine type of your own after its first wait. A
/// coroutine that is resumed by anything but a call of rouse uses, until it next waits, the values
/// of the code that resumed it.
///
/// Usually a namespace-scope or static variable. It may be destroyed while flows have values of it.
///
/// Threads: any. Cost: an allocation at the flow's first access; later a walk over the flow's
/// values.
template <class T>
class flow_local {
public:
  /// Each flow's value starts as `T()`, a copy of `first`, or the result of `make()`.
  flow_local()
    requires std::default_initializable<T>
      : make_([] { return T(); }) {}
  explicit flow_local(T first)
    requires std::copy_constructible<T>
      : first_(std::move(first)) {}
  explicit flow_local(T (*make)()) noexcept : make_(make) {}
  flow_local(const flow_local&) = delete;
  flow_local& operator=(const flow_local&) = delete;

  /// The calling flow's value. If its creation throws, so does this; the next access tries again.
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

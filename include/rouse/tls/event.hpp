// What the calls of a TLS connection wait for.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/waiter.hpp>
#include <rouse/core/waiting.hpp>
#include <rouse/detail/intrusive_list.hpp>

#include <atomic>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace tls { namespace detail {

using rouse::detail::list;
using rouse::detail::waiter;

/// Something that happens again and again. A call remembers the count that it saw, so that it
/// misses none that happens before it waits.
struct event {
  unsigned count = 0; // changes with the engine's lock held
  list<waiter> queue;
};

/// A call's entry in the queue of an event, and what the call knows between its rounds.
class event_waiter final : public rouse::detail::waiter_base<event_waiter> {
public:
  static constexpr const char* awaits = "TLS";

  list<waiter>* try_enter(failure&, completions&) noexcept {
    return event_ && event_->count == seen_ ? &event_->queue : nullptr;
  }
  /// The next round ends at once.
  void pass(operation& op) noexcept { await(op, nullptr, 0); }
  /// The next round waits for the event if it still has that count.
  void await(operation& op, event* e, unsigned seen) noexcept {
    event_ = e;
    seen_ = seen;
    request_wait(op, this);
  }

  bool begun = false;
  std::size_t cancels = 0; ///< of the connection, when the call began

private:
  event* event_ = nullptr;
  unsigned seen_ = 0;
};

/// What a step of a call needs before it can go on.
enum class needs : unsigned char { nothing, input, output };

/// A number that several threads count if they share an engine.
template <class Threading>
using shared_count = std::conditional_t<Threading::shared, std::atomic<std::size_t>, std::size_t>;

template <class Scheduler>
class connection;

/// A reference to a connection, or to none.
template <class Scheduler>
class connection_ref {
public:
  connection_ref() noexcept = default;
  explicit connection_ref(connection<Scheduler>* owned) noexcept : c_(owned) {}
  connection_ref(const connection_ref& other) noexcept : c_(other.c_) {
    if (c_) c_->hold();
  }
  connection_ref(connection_ref&& other) noexcept : c_(std::exchange(other.c_, nullptr)) {}
  connection_ref& operator=(connection_ref other) noexcept {
    std::swap(c_, other.c_);
    return *this;
  }
  ~connection_ref() {
    if (c_) c_->drop();
  }
  connection<Scheduler>* operator->() const noexcept { return c_; }
  connection<Scheduler>& operator*() const noexcept { return *c_; }
  explicit operator bool() const noexcept { return c_ != nullptr; }

private:
  connection<Scheduler>* c_ = nullptr;
};

}}}} // namespace rouse::ROUSE_ABI::tls::detail

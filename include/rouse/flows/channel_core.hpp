// The inside of a channel: a buffer between two wait queues, at most one of which has waiters.
//
//     state                     send                           receive
//     receivers wait            item to the oldest receiver    waits behind them
//     nothing buffered          item into the buffer           waits
//     some buffered             item into the buffer           the oldest item
//     buffer full               waits                          the oldest item; then the item of
//                                                              the oldest sender is buffered
//     no buffer (capacity 0)    waits for a receiver           the item of the oldest sender
//     closed                    broken_pipe                    what is buffered, then nothing
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/waiter.hpp>
#include <rouse/detail/intrusive_list.hpp>
#include <rouse/detail/ring.hpp>

#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

// What goes through a channel: a value or, in its place, an error. It is empty before it has
// arrived, and where the channel was closed instead.
//
// Two reasons for a class of its own: a std::optional is copied as one block right after a part
// of it was written, and the processor stalls until that write is done; and a class with a
// std::exception_ptr member is built in memory again for each copy on the way.
template <class T>
class item {
public:
  item() noexcept {}
  explicit item(T v) noexcept : value_(std::move(v)), kind_(kind::value) {}
  explicit item(std::exception_ptr e) {
    if (e) set(std::move(e));
  }
  // An operation carries only errors of the known categories. Any other becomes an exception.
  explicit item(std::error_code ec) {
    if (!ec) return;
    if (ec.category() == std::generic_category() || ec.category() == errc_category())
      set(static_cast<std::errc>(ec.value()));
    else if (ec.category() == os_category())
      set(failure::from_os(ec.value()));
    else
      set(std::make_exception_ptr(std::system_error(ec, "rouse: sent through a channel")));
  }
  item(item&& other) noexcept { take(other); }
  item& operator=(item&& other) noexcept {
    if (this != &other) {
      clear();
      take(other);
    }
    return *this;
  }
  ~item() { clear(); }

  [[nodiscard]] bool empty() const noexcept { return kind_ == kind::nothing; }
  [[nodiscard]] failure error() const noexcept { return kind_ == kind::error ? error_ : failure(); }
  /// Precondition: it holds a value.
  [[nodiscard]] T& value() noexcept { return value_; }
  // Moves the value out, or throws the exception. Empty if there is neither.
  std::optional<T> unwrap() {
    if (kind_ != kind::value) return unwrap_error();
    std::optional<T> unwrapped(std::move(value_));
    std::destroy_at(&value_);
    kind_ = kind::nothing;
    return unwrapped;
  }

  /// Moves from `other`. Precondition: this one is empty.
  void take(item& other) noexcept {
    kind_ = std::exchange(other.kind_, kind::nothing);
    if (kind_ == kind::value) {
      std::construct_at(&value_, std::move(other.value_));
      std::destroy_at(&other.value_);
    } else if (kind_ == kind::error) {
      error_ = other.error_;
    } else if (kind_ == kind::thrown) {
      thrown_ = other.thrown_;
    }
  }

private:
  enum class kind : unsigned char { nothing, value, error, thrown };

  void set(failure f) noexcept {
    error_ = f;
    kind_ = kind::error;
  }
  void set(std::exception_ptr e) {
    thrown_ = new std::exception_ptr(std::move(e));
    kind_ = kind::thrown;
  }

  ROUSE_COLD std::optional<T> unwrap_error() {
#if ROUSE_EXCEPTIONS
    const item unwrapped = std::move(*this);
    if (unwrapped.kind_ == kind::thrown) std::rethrow_exception(*unwrapped.thrown_);
#endif
    return std::nullopt;
  }

  // The destruction is not inlined: otherwise g++ 12 warns that the bytes are uninitialized.
  void clear() noexcept {
    if (kind_ == kind::value || kind_ == kind::thrown) destroy_content();
    kind_ = kind::nothing;
  }
  ROUSE_COLD void destroy_content() noexcept {
    if (kind_ == kind::value)
      std::destroy_at(&value_);
    else
      delete thrown_;
  }

  union {
    T value_;
    failure error_;
    std::exception_ptr* thrown_ = nullptr;
  };
  kind kind_ = kind::nothing;
};

template <class T>
class channel_core {
  static_assert(std::is_nothrow_move_constructible_v<T>,
                "rouse: the values of a channel need a noexcept move constructor: one that "
                "throws could lose a value on its way");

public:
  // A sender or a receiver in its queue. `slot` holds the item to send, or receives one.
  class waiter : public detail::waiter {
  public:
    item<T> slot;

  protected:
    explicit waiter(channel_core& c) noexcept : core_(&c) {}
    waiter(channel_core& c, item<T>&& p) noexcept : slot(std::move(p)), core_(&c) {}
    waiter(waiter&& other) noexcept
        : detail::waiter(other), slot(std::move(other.slot)), core_(other.core_) {}
    ~waiter() = default;
    channel_core* core_;
  };
  struct sender final : waiter_base<sender, waiter> {
    static constexpr const char* awaits = "channel send";
    sender(channel_core& c, item<T>&& p) noexcept : waiter_base<sender, waiter>(c, std::move(p)) {}
    ROUSE_ALWAYS_INLINE list<detail::waiter>* try_enter(failure& why,
                                                        completions& completed) noexcept {
      return this->core_->send(this->slot, why, completed);
    }
  };
  struct receiver final : waiter_base<receiver, waiter> {
    static constexpr const char* awaits = "channel receive";
    explicit receiver(channel_core& c) noexcept : waiter_base<receiver, waiter>(c) {}
    // A call moves only before it starts: nothing has been received yet.
    receiver(receiver&& other) noexcept : receiver(*other.core_) {}
    ROUSE_ALWAYS_INLINE list<detail::waiter>* try_enter(failure& why,
                                                        completions& completed) noexcept {
      return this->core_->receive(this->slot, why, completed);
    }
  };

  explicit channel_core(std::size_t capacity) noexcept : capacity_(capacity) {}

  // ---- with the engine's lock held

  // Returns null if the item was sent, or refused with the reason in `why`. Otherwise returns the
  // queue to wait in, and the item is unchanged.
  ROUSE_ALWAYS_INLINE list<detail::waiter>* send(item<T>& from, failure& why,
                                                 completions& completed) noexcept {
    if (from.empty() || closed_) {
      why = closed_ ? std::errc::broken_pipe : std::errc::invalid_argument;
    } else if (!receivers_.empty()) {
      waiter& first = front(receivers_);
      first.slot.take(from);
      first.admit(completed, first.slot.error());
    } else if (buffer_.size() >= capacity_) {
      return &senders_;
    } else {
      buffer(from, why);
    }
    return nullptr;
  }

  // For `post`, which cannot wait: exceeds the capacity if the buffer is full.
  [[nodiscard]] failure send_beyond_capacity(item<T>& from, completions& completed) noexcept {
    failure why;
    if (send(from, why, completed)) buffer(from, why);
    return why;
  }

  // Returns null if an item was received, or if the channel is closed, which leaves `into` empty.
  // Otherwise returns the queue to wait in.
  ROUSE_ALWAYS_INLINE list<detail::waiter>* receive(item<T>& into, failure& why,
                                                    completions& completed) noexcept {
    if (!buffer_.empty()) {
      into.take(buffer_.front());
      buffer_.pop();
      if (buffer_.size() < capacity_) refill(completed);
    } else if (!senders_.empty()) {
      into.take(front(senders_).slot);
      senders_.front().admit(completed);
    } else if (!closed_) {
      return &receivers_;
    }
    why = into.error();
    return nullptr;
  }

  void close(completions& completed) noexcept {
    closed_ = true;
    admit_all(receivers_, completed);
    admit_all(senders_, completed, std::errc::broken_pipe);
  }
  // The last handle is gone: no call can complete the waiting ones any more.
  void abandon(completions& completed) noexcept {
    closed_ = true;
    admit_all(receivers_, completed, std::errc::operation_canceled);
    admit_all(senders_, completed, std::errc::operation_canceled);
  }

  [[nodiscard]] bool closed() const noexcept { return closed_; }
  [[nodiscard]] std::size_t buffered() const noexcept { return buffer_.size(); }
  [[nodiscard]] std::ptrdiff_t balance() noexcept {
    std::ptrdiff_t n = 0;
    senders_.for_each([&](detail::waiter&) { ++n; });
    receivers_.for_each([&](detail::waiter&) { --n; });
    return n;
  }

private:
  static waiter& front(list<detail::waiter>& queue) noexcept {
    return static_cast<waiter&>(queue.front());
  }
  void buffer(item<T>& from, failure& why) noexcept {
    if (!buffer_.push(std::move(from))) why = std::errc::not_enough_memory;
  }
  // Buffers the oldest sender's item. `push` cannot fail: an item was just removed.
  void refill(completions& completed) noexcept {
    if (senders_.empty()) return;
    (void)buffer_.push(std::move(front(senders_).slot));
    senders_.front().admit(completed);
  }

  const std::size_t capacity_;
  ring<item<T>> buffer_;
  list<detail::waiter> senders_, receivers_; // oldest first; one is always empty
  bool closed_ = false;
};

template <class T>
class receive_case;
template <class T>
class send_case;

template <class T>
struct channel_send_call : queued_call<typename channel_core<T>::sender> {
  using value_type = done;
  static constexpr const char* name = "rouse: send through a channel";
  static constexpr const char* misuse = "no error to send";
  done value() noexcept { return {}; }
};

template <class T>
struct channel_receive_call : queued_call<typename channel_core<T>::receiver> {
  using value_type = std::optional<T>;
  static constexpr const char* name = "rouse: receive from a channel";
  ROUSE_ALWAYS_INLINE std::optional<T> value() { return this->waiter.slot.unwrap(); }
};

}}} // namespace rouse::ROUSE_ABI::detail

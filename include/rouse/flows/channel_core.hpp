// What a channel is inside: who waits to send, who waits to receive, what is buffered.
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

// What goes through a channel: a value, or an error in its place; neither once it is closed.
//
// (A std::optional is copied as a block right after a part of it was written, which the processor
// must wait for; and of what holds a std::exception_ptr, each copy on the way is built in memory.)
template <class T>
class parcel {
public:
  parcel() noexcept {}
  explicit parcel(T v) noexcept : value_(std::move(v)), what_(holds::value) {}
  explicit parcel(std::exception_ptr e) {
    if (e) put(std::move(e));
  }
  // A code of a category that an operation cannot carry is thrown.
  explicit parcel(std::error_code ec) {
    if (!ec) return;
    if (ec.category() == std::generic_category() || ec.category() == errc_category())
      put(static_cast<std::errc>(ec.value()));
    else if (ec.category() == os_category())
      put(failure::from_os(ec.value()));
    else
      put(std::make_exception_ptr(std::system_error(ec, "rouse: sent through a channel")));
  }
  ROUSE_ALWAYS_INLINE parcel(parcel&& other) noexcept { take(other); }
  ROUSE_ALWAYS_INLINE parcel& operator=(parcel&& other) noexcept {
    if (this != &other) {
      clear();
      take(other);
    }
    return *this;
  }
  ROUSE_ALWAYS_INLINE ~parcel() { clear(); }

  [[nodiscard]] bool empty() const noexcept { return what_ == holds::nothing; }
  [[nodiscard]] failure error() const noexcept {
    return what_ == holds::error ? error_ : failure();
  }
  /// Of one that was made of a value.
  [[nodiscard]] T& value() noexcept { return value_; }
  // Throws what has no number.
  ROUSE_ALWAYS_INLINE std::optional<T> open() {
    if (what_ != holds::value) [[unlikely]]
      return open_none();
    std::optional<T> opened(std::move(value_));
    std::destroy_at(&value_);
    what_ = holds::nothing;
    return opened;
  }

  /// Into one that is empty.
  ROUSE_ALWAYS_INLINE void take(parcel& other) noexcept {
    what_ = std::exchange(other.what_, holds::nothing);
    if (what_ == holds::value) [[likely]] {
      std::construct_at(&value_, std::move(other.value_));
      std::destroy_at(&other.value_);
    } else if (what_ == holds::error) {
      error_ = other.error_;
    } else if (what_ == holds::thrown) {
      thrown_ = other.thrown_;
    }
  }

private:
  enum class holds : unsigned char { nothing, value, error, thrown };

  void put(failure f) noexcept {
    error_ = f;
    what_ = holds::error;
  }
  void put(std::exception_ptr e) {
    thrown_ = new std::exception_ptr(std::move(e));
    what_ = holds::thrown;
  }

  ROUSE_COLD std::optional<T> open_none() {
#if ROUSE_EXCEPTIONS
    const parcel opened = std::move(*this);
    if (opened.what_ == holds::thrown) std::rethrow_exception(*opened.thrown_);
#endif
    return std::nullopt;
  }

  // Not inlined where there is something to drop: g++ 12 takes the bytes for uninitialized there.
  ROUSE_ALWAYS_INLINE void clear() noexcept {
    if (what_ == holds::value || what_ == holds::thrown) [[unlikely]]
      drop();
    what_ = holds::nothing;
  }
  ROUSE_COLD void drop() noexcept {
    if (what_ == holds::value)
      std::destroy_at(&value_);
    else
      delete thrown_;
  }

  union {
    T value_;
    failure error_;
    std::exception_ptr* thrown_ = nullptr;
  };
  holds what_ = holds::nothing;
};

template <class T>
class channel_core {
  static_assert(std::is_nothrow_move_constructible_v<T>,
                "rouse: what goes through a channel must be movable without throwing (move "
                "constructor noexcept): else it could be lost on its way");

public:
  // Who comes to send or to receive: where the parcel is, or goes.
  class visitor : public detail::visitor {
  public:
    parcel<T> goods;

  protected:
    explicit visitor(channel_core& c) noexcept : core_(&c) {}
    visitor(channel_core& c, parcel<T>&& p) noexcept : goods(std::move(p)), core_(&c) {}
    visitor(visitor&& other) noexcept
        : detail::visitor(other), goods(std::move(other.goods)), core_(other.core_) {}
    ~visitor() = default;
    channel_core* core_;
  };
  struct sender final : visitor_as<sender, visitor> {
    static constexpr const char* awaits = "channel send";
    sender(channel_core& c, parcel<T>&& p) noexcept
        : visitor_as<sender, visitor>(c, std::move(p)) {}
    ROUSE_ALWAYS_INLINE list<detail::visitor>* visit(failure& why, answers& answered) noexcept {
      return this->core_->send(this->goods, why, answered);
    }
  };
  struct receiver final : visitor_as<receiver, visitor> {
    static constexpr const char* awaits = "channel receive";
    explicit receiver(channel_core& c) noexcept : visitor_as<receiver, visitor>(c) {}
    // A call moves only before it starts: nothing has been received yet.
    receiver(receiver&& other) noexcept : receiver(*other.core_) {}
    ROUSE_ALWAYS_INLINE list<detail::visitor>* visit(failure& why, answers& answered) noexcept {
      return this->core_->receive(this->goods, why, answered);
    }
  };

  explicit channel_core(std::size_t capacity) noexcept : capacity_(capacity) {}

  // ---- with the engine's lock held

  // Null: sent, or refused with the reason in `why`. Else the line to wait in; the parcel is as it
  // was.
  ROUSE_ALWAYS_INLINE list<detail::visitor>* send(parcel<T>& from, failure& why,
                                                  answers& answered) noexcept {
    if (from.empty() || closed_) [[unlikely]] {
      why = closed_ ? std::errc::broken_pipe : std::errc::invalid_argument;
    } else if (!receivers_.empty()) {
      visitor& first = first_of(receivers_);
      first.goods.take(from);
      first.serve(answered, first.goods.error());
    } else if (buffer_.size() >= capacity_) {
      return &senders_;
    } else {
      put(from, why);
    }
    return nullptr;
  }

  // The same for whoever cannot wait: beyond the capacity, if need be.
  [[nodiscard]] failure force(parcel<T>& from, answers& answered) noexcept {
    failure why;
    if (send(from, why, answered)) put(from, why);
    return why;
  }

  // Null: received, or closed, and then `into` stays empty. Else the line to wait in.
  ROUSE_ALWAYS_INLINE list<detail::visitor>* receive(parcel<T>& into, failure& why,
                                                     answers& answered) noexcept {
    if (!buffer_.empty()) {
      into.take(buffer_.front());
      buffer_.pop();
      if (buffer_.size() < capacity_) refill(answered);
    } else if (!senders_.empty()) {
      into.take(first_of(senders_).goods);
      senders_.front().serve(answered);
    } else if (!closed_) {
      return &receivers_;
    }
    why = into.error();
    return nullptr;
  }

  void close(answers& answered) noexcept {
    closed_ = true;
    serve_all(receivers_, answered);
    serve_all(senders_, answered, std::errc::broken_pipe);
  }
  // No end is left from which the waiting calls could be answered.
  void abandon(answers& answered) noexcept {
    closed_ = true;
    serve_all(receivers_, answered, std::errc::operation_canceled);
    serve_all(senders_, answered, std::errc::operation_canceled);
  }

  [[nodiscard]] bool closed() const noexcept { return closed_; }
  [[nodiscard]] std::size_t buffered() const noexcept { return buffer_.size(); }
  [[nodiscard]] std::ptrdiff_t balance() noexcept {
    std::ptrdiff_t n = 0;
    senders_.for_each([&](detail::visitor&) { ++n; });
    receivers_.for_each([&](detail::visitor&) { --n; });
    return n;
  }

private:
  static visitor& first_of(list<detail::visitor>& line) noexcept {
    return static_cast<visitor&>(line.front());
  }
  void put(parcel<T>& from, failure& why) noexcept {
    if (!buffer_.push(std::move(from))) why = std::errc::not_enough_memory;
  }
  // There is room again, in memory as well: the oldest sender's parcel takes it.
  void refill(answers& answered) noexcept {
    if (senders_.empty()) return;
    (void)buffer_.push(std::move(first_of(senders_).goods));
    senders_.front().serve(answered);
  }

  const std::size_t capacity_;
  ring<parcel<T>> buffer_;
  list<detail::visitor> senders_, receivers_; // oldest first; one of them is empty
  bool closed_ = false;
};

template <class T>
class receive_case;
template <class T>
class send_case;

template <class T>
struct channel_send_call : visit_call<typename channel_core<T>::sender> {
  using value_type = done;
  static constexpr const char* name = "rouse: send through a channel";
  static constexpr const char* misuse = "no error to send";
  done value() noexcept { return {}; }
};

template <class T>
struct channel_receive_call : visit_call<typename channel_core<T>::receiver> {
  using value_type = std::optional<T>;
  static constexpr const char* name = "rouse: receive from a channel";
  ROUSE_ALWAYS_INLINE std::optional<T> value() { return this->me.goods.open(); }
};

}}} // namespace rouse::ROUSE_ABI::detail

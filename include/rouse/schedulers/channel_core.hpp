// What a channel is inside: who waits to send, who waits to receive, what is buffered.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/visitor.hpp>
#include <rouse/detail/intrusive_list.hpp>
#include <rouse/detail/ring.hpp>

#include <cstddef>
#include <exception>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

namespace rouse::inline ROUSE_ABI::detail {

// What goes through a channel: a value, or an error in its place; neither once it is closed.
template <class T>
struct parcel {
  std::optional<T> value;
  failure error;
  std::exception_ptr thrown; // an error that is no failure

  explicit parcel(T v) noexcept : value(std::move(v)) {}
  explicit parcel(std::exception_ptr e) noexcept : thrown(std::move(e)) {}
  // A code of a category that an operation cannot carry is thrown.
  explicit parcel(std::error_code ec) noexcept {
    if (!ec) return;
    if (ec.category() == std::generic_category())
      error = static_cast<std::errc>(ec.value());
    else if (ec.category() == os_category())
      error = failure::from_os(ec.value());
    else
      thrown = std::make_exception_ptr(std::system_error(ec, "rouse: sent through a channel"));
  }
  parcel() noexcept = default;

  [[nodiscard]] bool empty() const noexcept { return !value && !error && !thrown; }
  // Throws what has no number.
  std::optional<T> open() {
#if ROUSE_EXCEPTIONS
    if (thrown) std::rethrow_exception(std::exchange(thrown, nullptr));
#endif
    return std::exchange(value, std::nullopt);
  }
};

template <class T>
class channel_core {
  static_assert(std::is_nothrow_move_constructible_v<T>,
                "rouse: what goes through a channel must be movable without throwing (move "
                "constructor noexcept): else it could be lost on its way");

public:
  // Sends or receives: where the parcel is, or goes.
  class visitor final : public detail::visitor {
  public:
    visitor(channel_core& c, bool sends, parcel<T>&& p = {}) noexcept
        : goods(std::move(p)), core_(&c), sends_(sends) {}
    visitor(visitor&& other) noexcept
        : detail::visitor(other), goods(std::move(other.goods)), core_(other.core_),
          sends_(other.sends_) {}

    list<detail::visitor>* visit(operation& op, list<operation>& answered) noexcept override {
      return sends_ ? core_->send(goods, op.error, answered) : core_->receive(goods, answered);
    }

    parcel<T> goods;

  private:
    channel_core* core_;
    bool sends_;
  };

  explicit channel_core(std::size_t capacity) noexcept : capacity_(capacity) {}

  // ---- with the engine's lock held

  // Null: sent, or refused with the reason in `why`. Else the line to wait in; the parcel is as it
  // was.
  list<detail::visitor>* send(parcel<T>& from, failure& why, list<operation>& answered) noexcept {
    if (closed_) {
      why = std::errc::broken_pipe;
    } else if (!receivers_.empty()) {
      first_of(receivers_).goods = std::move(from);
      receivers_.front().serve(answered);
    } else if (buffer_.size() >= capacity_) {
      return &senders_;
    } else {
      put(from, why);
    }
    return nullptr;
  }

  // The same for whoever cannot wait: beyond the capacity, if need be.
  void force(parcel<T>& from, list<operation>& answered) noexcept {
    failure why;
    if (send(from, why, answered)) put(from, why);
  }

  // Null: received, or closed, and then `into` stays empty. Else the line to wait in.
  list<detail::visitor>* receive(parcel<T>& into, list<operation>& answered) noexcept {
    if (!buffer_.empty()) {
      into = buffer_.pop();
      if (buffer_.size() < capacity_) refill(answered);
    } else if (!senders_.empty()) {
      into = std::move(first_of(senders_).goods);
      senders_.front().serve(answered);
    } else if (!closed_) {
      return &receivers_;
    }
    return nullptr;
  }

  void close(list<operation>& answered) noexcept {
    closed_ = true;
    serve_all(receivers_, answered);
    serve_all(senders_, answered, std::errc::broken_pipe);
  }
  void join() noexcept { ++ends_; }
  // One end less; with the last one nobody is left who could answer those who wait.
  void part(list<operation>& answered) noexcept {
    if (--ends_ != 0) return;
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
  void refill(list<operation>& answered) noexcept {
    if (senders_.empty()) return;
    (void)buffer_.push(std::move(first_of(senders_).goods));
    senders_.front().serve(answered);
  }

  const std::size_t capacity_;
  ring<parcel<T>> buffer_;
  list<detail::visitor> senders_, receivers_; // oldest first; one of them is empty
  std::size_t ends_ = 1;
  bool closed_ = false;
};

template <class T>
class channel_case;

template <class T>
struct channel_send_call {
  using value_type = done;
  static constexpr const char* name = "rouse: send through a channel";
  typename channel_core<T>::visitor me;

  bool prepare(operation& op) noexcept {
    if (me.goods.empty()) {
      op.error = std::errc::invalid_argument;
      return false;
    }
    ask_wait(op, &me);
    return true;
  }
  bool advance(operation&) noexcept { return true; }
  done value(operation&) noexcept { return {}; }
};

template <class T>
struct channel_receive_call {
  using value_type = std::optional<T>;
  static constexpr const char* name = "rouse: receive from a channel";
  typename channel_core<T>::visitor me;

  bool prepare(operation& op) noexcept {
    ask_wait(op, &me);
    return true;
  }
  bool advance(operation& op) noexcept {
    if (!op.error) op.error = me.goods.error;
    return true;
  }
  std::optional<T> value(operation&) { return me.goods.open(); }
};

} // namespace rouse::inline ROUSE_ABI::detail

// Descriptions of the calls of a TLS connection, for every waker.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/buffer.hpp>
#include <rouse/core/buffer_cursor.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/loan.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/detail/buffer_pool.hpp>
#include <rouse/os/attempts.hpp>
#include <rouse/sockets/file_calls.hpp>
#include <rouse/sockets/readiness_calls.hpp>
#include <rouse/tls/connection.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace tls { namespace detail {

using rouse::detail::buffer_cursor;
using rouse::detail::buffer_pool;

/// Base class of the descriptions. `Derived` has `needs step(operation&)`, which is tried until it
/// needs nothing.
template <class Scheduler, class Derived>
class connection_call {
public:
  bool prepare(operation& op) noexcept {
    op.error = self().refused();
    return !op.error && connection_->begin(op, waiter_);
  }
  bool advance(operation& op) noexcept {
    if (!connection_->run(op, waiter_, [this](operation& o) { return self().step(o); }))
      return false;
    ended_ = true;
    if (op.error) connection_->left();
    return true;
  }
  template <class Engine>
  void discard(operation&, Engine&) noexcept {
    if (waiter_.begun && !ended_) connection_->left();
  }
  /// Why the call cannot begin.
  [[nodiscard]] failure refused() const noexcept { return {}; }

protected:
  explicit connection_call(connection_ref<Scheduler> c) noexcept : connection_(std::move(c)) {}
  connection_ref<Scheduler> connection_;

private:
  Derived& self() noexcept { return static_cast<Derived&>(*this); }
  event_waiter waiter_;
  bool ended_ = false;
};

/// recv and recv_exactly.
///
/// @tparam All  true: until all buffers are full.
template <class Scheduler, class Buffers, bool All>
class recv_call : public connection_call<Scheduler, recv_call<Scheduler, Buffers, All>> {
  using base = connection_call<Scheduler, recv_call>;

public:
  using value_type = std::size_t;
  static constexpr const char* name = All ? "rouse: tls: recv_exactly" : "rouse: tls: recv";
  static constexpr const char* misuse = rouse::detail::empty_buffer;

  recv_call(connection_ref<Scheduler> c, Buffers b) noexcept : base(std::move(c)), to_(b) {}

  [[nodiscard]] failure refused() const noexcept {
    return to_.complete() ? failure(std::errc::invalid_argument) : failure();
  }
  needs step(operation& op) noexcept {
    while (!to_.complete()) {
      const mutable_buffer room = to_.current();
      if (this->connection_->read(op, room) == needs::input)
        return All || to_.moved() == 0 ? needs::input : needs::nothing;
      to_.add(op.bytes);
      if (op.bytes == room.size()) continue;
      if (!All && to_.moved() != 0) op.error = {}; // the next call reports it
      if (!All || op.bytes == 0) break;
    }
    return needs::nothing;
  }
  std::size_t value(operation&) noexcept { return to_.moved(); }

private:
  buffer_cursor<mutable_buffer, Buffers> to_;
};

template <class Scheduler>
class receive_call : public connection_call<Scheduler, receive_call<Scheduler>> {
  using base = connection_call<Scheduler, receive_call>;

public:
  using value_type = loan;
  static constexpr const char* name = "rouse: tls: receive";

  explicit receive_call(connection_ref<Scheduler> c) noexcept : base(std::move(c)) {}

  needs step(operation& op) noexcept {
    auto* const room = this->connection_->engine().buffers().lend();
    if (!room) {
      op.error = std::errc::not_enough_memory;
      return needs::nothing;
    }
    const needs what = this->connection_->read(op, {room, buffer_pool::room});
    received_ = loan(room, what == needs::nothing ? op.bytes : 0);
    return what;
  }
  loan value(operation&) noexcept { return std::move(received_); }

private:
  loan received_;
};

/// Base class of the calls that send. `Derived` has `complete()`, `moved()`, `all` (go on until it
/// is complete), and `write_some(failure&)`, which returns 0 if there is no room.
template <class Scheduler, class Derived>
class sending_call : public connection_call<Scheduler, Derived> {
public:
  using connection_call<Scheduler, Derived>::connection_call;

  needs step(operation& op) noexcept {
    auto& c = *this->connection_;
    auto& self = static_cast<Derived&>(*this);
    while (!written_) {
      op.error = c.output_refused();
      if (!op.error && !self.complete() && self.write_some(op.error) != 0) continue;
      if (op.error) return needs::nothing;
      if (!self.complete() && (Derived::all || self.moved() == 0)) return needs::output;
      written_ = true;
      if (self.moved() != 0) position_ = c.produced();
    }
    if (!c.sent(position_)) return needs::output;
    if (position_ != 0) op.error = c.output_error();
    return needs::nothing;
  }

private:
  bool written_ = false;
  std::uint64_t position_ = 0; // of the last record, in the ciphertext
};

/// send and send_all. Several short buffers share a record.
///
/// @tparam All  true: until everything is sent.
template <class Scheduler, class Buffers, bool All>
class send_call : public sending_call<Scheduler, send_call<Scheduler, Buffers, All>> {
  using base = sending_call<Scheduler, send_call>;

public:
  using value_type = std::size_t;
  static constexpr const char* name = All ? "rouse: tls: send_all" : "rouse: tls: send";
  static constexpr bool all = All;

  send_call(connection_ref<Scheduler> c, Buffers b) noexcept : base(std::move(c)), from_(b) {}

  [[nodiscard]] bool complete() const noexcept { return from_.complete(); }
  [[nodiscard]] std::size_t moved() const noexcept { return from_.moved(); }
  std::size_t write_some(failure& why) noexcept {
    auto& c = *this->connection_;
    const const_buffer first = from_.current();
    if (from_.last() || first.size() >= buffer_pool::room) {
      const std::size_t n = c.write(first, why);
      from_.add(n);
      return n;
    }
    std::byte* const gathered = c.room() ? c.engine().buffers().lend() : nullptr;
    if (!gathered) {
      if (c.room()) why = std::errc::not_enough_memory;
      return 0;
    }
    const std::size_t n = c.write({gathered, gather(gathered)}, why);
    buffer_pool::give_back(gathered);
    from_.add(n);
    return n;
  }
  std::size_t value(operation&) noexcept { return from_.moved(); }

private:
  std::size_t gather(std::byte* into) const noexcept {
    std::size_t size = 0;
    from_.for_each_piece([&](const_buffer piece) {
      const std::size_t room = buffer_pool::room - size;
      const std::size_t part = piece.size() < room ? piece.size() : room;
      std::memcpy(into + size, piece.data(), part);
      size += part;
      return size != buffer_pool::room;
    });
    return size;
  }

  buffer_cursor<const_buffer, Buffers> from_;
};

/// send_file. The file is read into a lent buffer.
template <class Scheduler>
class send_file_call : public sending_call<Scheduler, send_file_call<Scheduler>> {
  using base = sending_call<Scheduler, send_file_call>;

public:
  using value_type = std::uint64_t;
  static constexpr const char* name = "rouse: tls: send_file";
  static constexpr bool all = true;

  send_file_call(connection_ref<Scheduler> c, const rouse::detail::part_of_file& what) noexcept
      : base(std::move(c)), from_(what) {}

  [[nodiscard]] bool complete() const noexcept { return moved_ == from_.length; }
  [[nodiscard]] std::uint64_t moved() const noexcept { return moved_; }
  std::size_t write_some(failure& why) noexcept {
    auto& c = *this->connection_;
    if (!c.room()) return 0;
    std::byte* const read = c.engine().buffers().lend();
    if (!read) {
      why = std::errc::not_enough_memory;
      return 0;
    }
    const std::uint64_t left = from_.length - moved_;
    std::size_t size =
        left < buffer_pool::room ? static_cast<std::size_t>(left) : buffer_pool::room;
    why = os::read_at(from_.file, from_.offset + moved_, read, size, size);
    const std::size_t n = why || size == 0 ? 0 : c.write({read, size}, why);
    buffer_pool::give_back(read);
    moved_ += n;
    if (!why && size == 0) from_.length = moved_; // the file ends earlier
    return n;
  }
  std::uint64_t value(operation&) noexcept { return moved_; }

private:
  rouse::detail::part_of_file from_;
  std::uint64_t moved_ = 0;
};

template <class Scheduler>
class wait_call : public connection_call<Scheduler, wait_call<Scheduler>> {
  using base = connection_call<Scheduler, wait_call>;

public:
  using value_type = done;
  static constexpr const char* name = "rouse: tls: wait";
  static constexpr const char* misuse = "TLS has no urgent data";

  wait_call(connection_ref<Scheduler> c, readiness what) noexcept
      : base(std::move(c)), what_(what) {}

  [[nodiscard]] failure refused() const noexcept {
    return what_ == readiness::urgent ? failure(std::errc::invalid_argument) : failure();
  }
  needs step(operation& op) noexcept {
    if (what_ == readiness::readable) return this->connection_->peek(op);
    return this->connection_->room() ? needs::nothing : needs::output;
  }
  done value(operation&) noexcept { return {}; }

private:
  readiness what_;
};

}}}} // namespace rouse::ROUSE_ABI::tls::detail

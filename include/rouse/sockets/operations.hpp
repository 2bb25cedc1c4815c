// The calls on sockets, described: what each asks of an engine, and when it is finished. Composed
// calls are those whose `advance` asks for another round; they are written here once, for every
// waker and every engine.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/buffer.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/loan.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/waiting.hpp>
#include <rouse/detail/chrono.hpp>
#include <rouse/os/socket.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

// As much as there is: the engines ask for less where their kernel counts in 32 bits.
inline void request_recv(operation& op, socket_state* d, mutable_buffer b) noexcept {
  op.action = action::recv;
  op.target = d;
  op.data = b.data();
  op.size = b.size();
}

inline void request_send(operation& op, socket_state* d, const_buffer b) noexcept {
  op.action = action::send;
  op.target = d;
  op.data = const_cast<void*>(b.data()); // read only
  op.size = b.size();
}

// Of calls whose question is all in the operation: what it is, and whether it can be asked.

struct recv_request {
  static constexpr const char* whole = "rouse: recv_exactly";
  static constexpr const char* misuse = empty_buffer;
  socket_state* socket;
  mutable_buffer buffer;

  void fill(operation& op) const noexcept { request_recv(op, socket, buffer); }
  static bool check(operation& op) noexcept {
    ROUSE_ASSUME(op.action == action::recv); // so that it need not be looked up who does it
    if (op.size != 0) [[likely]]
      return true;
    op.error = std::errc::invalid_argument; // 0 would read as the end of the stream
    return false;
  }
};

struct send_request {
  static constexpr const char* whole = "rouse: send_all";
  socket_state* socket;
  const_buffer buffer;

  void fill(operation& op) const noexcept { request_send(op, socket, buffer); }
  // An empty one: nothing is to be done, but of a datagram.
  static bool check(operation& op) noexcept {
    ROUSE_ASSUME(op.action == action::send);
    if (op.size != 0) [[likely]]
      return true;
    if (!op.target->open()) op.error = std::errc::bad_file_descriptor;
    return false;
  }
};

struct recv_call : recv_request {
  using value_type = std::size_t;
  static constexpr const char* name = "rouse: recv";

  struct request {
    bool prepare(operation& op) noexcept { return recv_request::check(op); }
    bool advance(operation&) noexcept { return true; }
    std::size_t value(operation& op) noexcept { return op.bytes; }
  };
};

struct receive_call {
  using value_type = loan;
  static constexpr const char* name = "rouse: receive";
  socket_state* socket;

  bool prepare(operation& op) noexcept {
    op.action = action::receive;
    op.target = socket;
    return true;
  }
  bool advance(operation&) noexcept { return true; }
  loan value(operation& op) noexcept {
    return {static_cast<std::byte*>(std::exchange(op.data, nullptr)), op.bytes};
  }
  template <class Engine>
  void discard(operation& op, Engine&) noexcept {
    value(op).reset();
  }
};

struct send_call : send_request {
  using value_type = std::size_t;
  static constexpr const char* name = "rouse: send";

  struct request {
    bool prepare(operation& op) noexcept {
      return send_request::check(op) || (!op.error && op.target->type == SOCK_DGRAM);
    }
    bool advance(operation&) noexcept { return true; }
    std::size_t value(operation& op) noexcept { return op.bytes; }
  };
};

// Requests until all bytes are moved. A request that moves none ends it too: it is the end of the
// stream.
template <class Request>
struct whole_call : Request {
  using value_type = std::size_t;
  static constexpr const char* name = Request::whole;

  struct request {
    std::size_t moved = 0; // by the requests before

    bool prepare(operation& op) noexcept { return Request::check(op); }
    ROUSE_ALWAYS_INLINE bool advance(operation& op) noexcept {
      return op.bytes == op.size || !go_on(op);
    }
    bool go_on(operation& op) noexcept {
      if (op.bytes == 0 || op.error) return false;
      moved += op.bytes;
      op.data = static_cast<std::byte*>(op.data) + op.bytes;
      op.size -= op.bytes;
      return true;
    }
    std::size_t value(operation& op) noexcept { return moved + op.bytes; }
  };
};

using send_all_call = whole_call<send_request>;
using recv_exactly_call = whole_call<recv_request>;

// What a call does where it must try again and nothing would tell it when: it rests for a while,
// within its limit.
class pause final : public waitable {
public:
  /// @param why  for `dump`: what waits, and for what.
  explicit pause(const char* why) noexcept : why_(why) {}

  static bool is(const operation& op) noexcept { return op.action == action::wait; }

  /// The next round is the pause.
  void begin(operation& op, clock::duration length) noexcept {
    begin(op, clock::now() + length, nullptr);
  }
  /// The same, until `again`, or until `sooner` answers.
  void begin(operation& op, clock::time_point again, waitable* sooner) noexcept {
    if (op.target) op.apply_default_timeout();
    limit_ = op.limited ? op.due : (clock::time_point::max)();
    request_wait(op, sooner ? sooner : this);
    op.limit_to(again < limit_ ? again : limit_);
  }
  /// True: the call goes on. False: it has ended meanwhile.
  bool end(operation& op) noexcept {
    op.limit_to(limit_);
    if (!op.error) return true;
    if (op.error != failure(std::errc::timed_out) || clock::now() >= limit_) return false;
    op.cancellation = cancellation::requests;
    op.error = {};
    return true;
  }

  bool enter(operation&, completions&) noexcept override { return false; } // only time ends it
  void leave(operation&) noexcept override {}
  [[nodiscard]] const char* description() const noexcept override { return why_; }

private:
  const char* why_;
  clock::time_point limit_ = (clock::time_point::max)();
};

// A call that tries again while its peer is crowded.
template <class Call>
struct when_there_is_room : Call {
  static constexpr auto length = std::chrono::milliseconds(1);
  pause retry_pause{"wait for room in the peer's queue"};

  bool advance(operation& op) noexcept {
    if (pause::is(op)) return !retry_pause.end(op) || !this->prepare(op);
    if (!os::is_crowded(op.error)) [[likely]]
      return Call::advance(op);
    retry_pause.begin(op, length);
    return false;
  }
};

struct connect_call {
  using value_type = done;
  static constexpr const char* name = "rouse: connect";
  socket_state* socket;
  endpoint peer;

  bool prepare(operation& op) noexcept {
    op.action = action::connect;
    op.target = socket;
    op.peer = &peer;
    if (socket->open() && peer.family() != socket->family)
      op.error = std::errc::address_family_not_supported;
    return !op.error;
  }
  bool advance(operation&) noexcept { return true; }
  done value(operation&) noexcept { return {}; }
};

// Connections that died in the queue are passed over. While descriptors (or memory) are short, the
// connection stays in the queue and the call tries again after a pause: it neither fails nor spins.
//
// Gives a socket of the listener's scheduler, or the bare handle.
template <class Answer>
struct accept_call {
  using value_type = Answer;
  static constexpr bool native = std::same_as<Answer, native_handle_type>;
  static constexpr const char* name = "rouse: accept";
  static constexpr auto length = std::chrono::milliseconds(20);
  socket_state* socket;
  pause retry_pause{"accept that waits for a free descriptor"};

  bool prepare(operation& op) noexcept {
    op.action = action::accept;
    op.target = socket;
    op.wants_native_handle = native;
    if constexpr (native)
      op.handle = static_cast<std::intptr_t>(os::no_handle);
    else
      op.accepted = nullptr;
    return true;
  }

  bool advance(operation& op) noexcept {
    if (pause::is(op)) return !retry_pause.end(op) || !prepare(op);
    if (os::is_stillborn(op.error)) return false;
    if (!os::is_shortage(op.error)) return true;
    retry_pause.begin(op, length);
    return false;
  }

  Answer value(operation& op) noexcept {
    if constexpr (native)
      return op.action == action::accept ? take_handle(op) : os::no_handle;
    else
      return Answer::from(op.action == action::accept ? std::exchange(op.accepted, nullptr)
                                                      : nullptr);
  }
  template <class Engine>
  void discard(operation& op, Engine& engine) noexcept {
    if (op.action != action::accept) return;
    if constexpr (native) {
      if (const auto h = take_handle(op); h != os::no_handle) os::close_socket(h);
    } else {
      if (op.accepted) engine.give_back(*op.accepted);
    }
  }

private:
  static native_handle_type take_handle(operation& op) noexcept {
    return static_cast<native_handle_type>(
        std::exchange(op.handle, static_cast<std::intptr_t>(os::no_handle)));
  }
};

}}} // namespace rouse::ROUSE_ABI::detail

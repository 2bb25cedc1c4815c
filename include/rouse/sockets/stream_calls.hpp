// Descriptions of the calls on one buffer. The `advance` of a composed call requests further
// rounds. Each call is written once, for every waker and every engine.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/buffer.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/loan.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/os/socket.hpp>

#include <cstddef>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

// The whole size: a driver requests less if its kernel counts in 32 bits.
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

// The requests that fit into the operation. `check` is false if there is nothing to request.

struct recv_request {
  static constexpr action only_action = action::recv;
  static constexpr const char* whole = "rouse: recv_exactly";
  static constexpr const char* misuse = empty_buffer;
  socket_state* socket;
  mutable_buffer buffer;

  void fill(operation& op) const noexcept { request_recv(op, socket, buffer); }
  static bool check(operation& op) noexcept {
    if (op.size != 0) return true;
    op.error = std::errc::invalid_argument; // 0 would mean the end of the stream
    return false;
  }
};

struct send_request {
  static constexpr action only_action = action::send;
  static constexpr const char* whole = "rouse: send_all";
  socket_state* socket;
  const_buffer buffer;

  void fill(operation& op) const noexcept { request_send(op, socket, buffer); }
  // An empty buffer sends nothing, except an empty datagram.
  static bool check(operation& op) noexcept {
    if (op.size != 0) return true;
    if (!op.target->open()) op.error = std::errc::bad_file_descriptor;
    return false;
  }
};

struct recv_call : recv_request {
  using value_type = std::size_t;
  static constexpr const char* name = "rouse: recv";

  struct request {
    static constexpr action only_action = action::recv;
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
    static constexpr action only_action = action::send;
    bool prepare(operation& op) noexcept {
      return send_request::check(op) || (!op.error && op.target->type == SOCK_DGRAM);
    }
    bool advance(operation&) noexcept { return true; }
    std::size_t value(operation& op) noexcept { return op.bytes; }
  };
};

// Makes requests until all bytes are moved, or until a request moves none: the end of the stream.
template <class Request>
struct whole_call : Request {
  using value_type = std::size_t;
  static constexpr const char* name = Request::whole;

  struct request {
    static constexpr action only_action = Request::only_action;
    std::size_t moved = 0; // by earlier requests

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

}}} // namespace rouse::ROUSE_ABI::detail

// What composed calls and `select` know of a stream besides its calls.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/buffer.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/sockets/readiness_calls.hpp>
#include <rouse/sockets/socket.hpp>
#include <rouse/sockets/stream_calls.hpp>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

// Receives from a socket into one buffer after the other, inside a description.
struct socket_receiver {
  socket_state* socket;
  bool begin(operation& op, mutable_buffer b) noexcept {
    request_recv(op, socket, b);
    return true;
  }
  bool advance(operation&) noexcept { return true; }
};

// A call that is made of calls of a stream, such as those of a reader, is one call, which resumes
// its caller once. For that it needs more than the stream's calls: their descriptions. A stream of
// the library has them here.
//
//     receiver(s)         like socket_receiver: begin(op, buffer) like prepare; once advance(op)
//                         has returned true, op.bytes are in the buffer
//     waiting(s, what)    the description of `s.wait(what)`
//
// The type of the stream must match exactly: a class that derives from `socket` may have replaced
// its calls.
template <class Scheduler>
struct stream_access<socket<Scheduler>> {
  static socket_receiver receiver(const socket<Scheduler>& s) noexcept { return {s.record_}; }
  static wait_call waiting(const socket<Scheduler>& s, readiness what) noexcept {
    return {s.record_, what};
  }
};

template <class Stream>
concept describes_calls = requires(const Stream& s) { stream_access<Stream>::receiver(s); };

}}} // namespace rouse::ROUSE_ABI::detail

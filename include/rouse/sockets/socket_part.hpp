// The base of the parts of `socket`. Each part is a base class of `socket` with some of its calls.
#pragma once
#include <rouse/concepts/waker.hpp>
#include <rouse/config.hpp>
#include <rouse/core/batch.hpp>
#include <rouse/core/buffer.hpp>
#include <rouse/core/call_arguments.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/fwd.hpp>

#include <type_traits>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

// True if a socket's calls return only when they have completed, as with fibers and threads.
template <class Socket>
inline constexpr bool returns_when_done = false;
template <template <class> class Socket, class Scheduler>
  requires blocking_waker<typename Scheduler::waker_type>
inline constexpr bool returns_when_done<Socket<Scheduler>> = true;

// The parameter types of a socket's calls. A temporary is accepted only where calls return when
// they have completed.
template <class Socket, class Passed, class Borrowed>
using parameter = std::conditional_t<returns_when_done<Socket>, Passed, Borrowed>;
template <class Socket>
using bytes_to_fill = parameter<Socket, passed_buffer<mutable_buffer>, mutable_buffer>;
template <class Socket>
using bytes_to_send = parameter<Socket, passed_buffer<const_buffer>, const_buffer>;
template <class Socket>
using list_to_fill =
    buffers_parameter<mutable_buffer, bytes_to_fill<Socket>,
                      parameter<Socket, passed_list<mutable_buffer>, mutable_buffers>>;
template <class Socket>
using list_to_send = buffers_parameter<const_buffer, bytes_to_send<Socket>,
                                       parameter<Socket, passed_list<const_buffer>, const_buffers>>;
template <class Socket>
using batch_to_send = parameter<Socket, passed_batch, outgoing_batch>;

/// What a part uses of the socket.
///
/// @tparam Part  the derived class. It makes the bases different types, so that they take no room.
template <class Part, class Socket>
class socket_part {
protected:
  socket_part() noexcept = default;
  socket_part(socket_part&&) noexcept = default;
  socket_part& operator=(socket_part&&) noexcept = default;
  ~socket_part() = default;

  [[nodiscard]] socket_state* record() const noexcept { return self().record_; }
  [[nodiscard]] auto& engine() noexcept { return self().scheduler()->engine(); }
  template <class F>
  failure on_handle(F&& f) const noexcept {
    return self().on_handle(std::forward<F>(f));
  }
  static void check(failure why, const char* what) { Socket::check(why, what); }
  // Starts a call: see begin_call.
  template <class Call, class... Rest>
  decltype(auto) start(Call&& call, const location& at, Rest&&... rest) {
    return self().start(std::move(call), at, std::forward<Rest>(rest)...);
  }

private:
  Socket& self() noexcept { return static_cast<Socket&>(*this); }
  const Socket& self() const noexcept { return static_cast<const Socket&>(*this); }
};

}}} // namespace rouse::ROUSE_ABI::detail

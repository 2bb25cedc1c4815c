// Connections: bind, listen, accept, connect.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/pause.hpp>
#include <rouse/detail/chrono.hpp>
#include <rouse/os/socket.hpp>
#include <rouse/sockets/socket_part.hpp>
#include <rouse/sockets/when_there_is_room.hpp>

#include <concepts>
#include <cstdint>
#include <system_error>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

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

// Skips connections that were closed while they waited in the queue. While descriptors or memory
// are short, the connection stays in the queue, and the call retries after a pause.
//
// @tparam Accepted  a socket of the listener's scheduler, or a native handle.
template <class Accepted>
struct accept_call {
  using value_type = Accepted;
  static constexpr bool native = std::same_as<Accepted, native_handle_type>;
  static constexpr const char* name = "rouse: accept";
  static constexpr auto length = std::chrono::milliseconds(20);
  socket_state* socket;
  pause retry_pause{"accept that waits for a free descriptor"};
  socket_state* accepted = nullptr;
  void* owner = nullptr;
  int family = 0;
  int type = 0;

  bool prepare(operation& op) noexcept {
    op.action = action::accept;
    op.target = socket;
    op.handle = static_cast<std::intptr_t>(os::no_handle);
    owner = socket->owner; // the listener may be closed, and its record in use again, afterwards
    family = socket->family;
    type = socket->type;
    return true;
  }

  template <class Engine>
  bool advance(operation& op, Engine& engine) noexcept {
    if (pause::is(op)) return !retry_pause.end(op) || !prepare(op);
    if (os::is_stillborn(op.error)) return false;
    if (os::is_shortage(op.error)) {
      retry_pause.begin(op, length);
      return false;
    }
    if constexpr (!native)
      if (!op.error) adopt(op, engine);
    return true;
  }

  Accepted value(operation& op) noexcept {
    if constexpr (native)
      return op.action == action::accept ? take_handle(op) : os::no_handle;
    else
      return Accepted::from(std::exchange(accepted, nullptr));
  }
  template <class Engine>
  void discard(operation& op, Engine& engine) noexcept {
    if (accepted) engine.give_back(*accepted);
    const auto h = op.action == action::accept ? take_handle(op) : os::no_handle;
    if (h != os::no_handle) Engine::sockets::close(h);
  }

private:
  static native_handle_type take_handle(operation& op) noexcept {
    return static_cast<native_handle_type>(
        std::exchange(op.handle, static_cast<std::intptr_t>(os::no_handle)));
  }
  template <class Engine>
  void adopt(operation& op, Engine& engine) noexcept {
    const auto h = take_handle(op);
    accepted = engine.adopt(owner, h, family, type, op.error);
    if (!accepted) Engine::sockets::close(h);
  }
};

/// A part of `socket`: the calls that create connections.
template <class Socket>
class connection_calls : public socket_part<connection_calls<Socket>, Socket> {
public:
  /// Assigns an address to the socket. Port 0 lets the system choose a port, which `local_endpoint`
  /// returns.
  ///
  /// The address of a stream socket can be bound again immediately after a restart, but never by
  /// two listeners: SO_REUSEADDR on Linux; SO_EXCLUSIVEADDRUSE on Windows, where SO_REUSEADDR would
  /// allow other programs to take over the port. Windows then refuses a second bind
  /// (address_in_use) also while connections exist that a former listener of the port has accepted.
  /// A server that must restart beside them sets `reuse_address{true}` first, and loses that
  /// protection.
  ///
  /// For a Unix-domain socket, bind creates a file. The file stays when the socket is closed, and
  /// until it is removed (`std::remove(path)`) another bind fails with address_in_use. Abstract
  /// names leave nothing behind; with `endpoint::local()` Linux chooses one.
  ///
  /// Errors: address_in_use, address_not_available, permission_denied (a port below 1024, a
  /// directory), no_such_file_or_directory (the path's directory), invalid_argument (already
  /// bound). Source: bind(2), unix(7).
  void bind(const endpoint& local) { this->check(do_bind(local), "rouse: bind"); }
  void bind(const endpoint& local, std::error_code& ec) noexcept { ec = do_bind(local).code(); }
  template <endpoint_piece Piece, class... Rest>
  void bind(const Piece&, const Rest&...) {
    explain_endpoint<Piece, Rest...>();
  }

  /// Starts to accept connections. The system chooses an address for an unbound socket.
  /// @param backlog  how many connections may wait for `accept`; the system may allow fewer.
  ///
  /// Errors: address_in_use. Source: listen(2).
  void listen(int backlog = SOMAXCONN) { this->check(do_listen(backlog), "rouse: listen"); }
  void listen(int backlog, std::error_code& ec) noexcept { ec = do_listen(backlog).code(); }
  void listen(std::error_code& ec) noexcept { listen(SOMAXCONN, ec); }

  /// Waits for a connection and returns it, as a socket of the same scheduler.
  ///
  /// Connections that were closed while they waited in the queue are skipped. While the process is
  /// short of descriptors or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM; WSAEMFILE, WSAENOBUFS) the
  /// call keeps waiting, and the connection stays in the queue.
  ///
  /// Errors: invalid_argument (not listening). Cancellation: a request; if a connection arrives
  /// first, it is returned. Cost: one record for the connection, recycled. Source: accept(2);
  /// IORING_OP_ACCEPT, Linux 5.5; AcceptEx.
  template <class...>
  decltype(auto) accept(location at = location::current()) {
    return this->start(accept_call<Socket>{this->record()}, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) accept(First&& first, How&& how = How(), call_site at = location::current()) {
    return this->start(accept_call<Socket>{this->record()}, at, std::forward<First>(first),
                       std::forward<How>(how));
  }

  /// Like `accept`, but returns a native handle that belongs to no scheduler yet. The caller owns
  /// it; another scheduler can `adopt` it. (On Windows a socket stays with the first scheduler that
  /// adopts it.)
  template <class...>
  decltype(auto) accept_native(location at = location::current()) {
    return this->start(accept_call<native_handle_type>{this->record()}, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) accept_native(First&& first, How&& how = How(),
                               call_site at = location::current()) {
    return this->start(accept_call<native_handle_type>{this->record()}, at,
                       std::forward<First>(first), std::forward<How>(how));
  }

  /// Connects to `peer`.
  ///
  /// A socket makes one attempt: after a failure, a limit or a cancel it can only be closed,
  /// because the kernel may still be connecting.
  ///
  /// Errors: connection_refused, network_unreachable, host_unreachable, timed_out (also the
  /// kernel's own limit of some minutes), already_connected, address_family_not_supported (`peer`
  /// has another family); for a path also no_such_file_or_directory, permission_denied (not
  /// writable), wrong_protocol_type (a socket of another type). Source: connect(2);
  /// IORING_OP_CONNECT, Linux 5.5; ConnectEx.
  template <class...>
  decltype(auto) connect(const endpoint& peer, location at = location::current()) {
    return this->start(when_there_is_room<connect_call>{{this->record(), peer}}, at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) connect(const endpoint& peer, First&& first, How&& how = How(),
                         call_site at = location::current()) {
    return this->start(when_there_is_room<connect_call>{{this->record(), peer}}, at,
                       std::forward<First>(first), std::forward<How>(how));
  }
  template <endpoint_piece Piece, class... Rest>
  void connect(const Piece&, const Rest&...) {
    explain_endpoint<Piece, Rest...>();
  }

private:
  failure do_bind(const endpoint& local) noexcept {
    return this->on_handle([&](native_handle_type h) {
      if (local.family() != this->record()->family)
        return failure(std::errc::address_family_not_supported);
      return Socket::sockets::bind(h, local, this->record()->type == SOCK_STREAM);
    });
  }
  failure do_listen(int backlog) noexcept {
    return this->on_handle([&](native_handle_type h) {
      return Socket::sockets::listen(h, backlog, this->record()->family);
    });
  }
};

}}} // namespace rouse::ROUSE_ABI::detail

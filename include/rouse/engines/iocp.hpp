// The driver for Windows' I/O completion ports.
//
//   start(op) ---> WSARecv, WSASend, AcceptEx ... with &op as the OVERLAPPED
//                    done, and no packet follows (skip-on-success) --> true
//                    pending ----------------------------------------> false; a packet follows
//   wait() ------> GetQueuedCompletionStatusEx: packets, each with its OVERLAPPED
//
// Windows keeps the requests of one socket in order. Calls that it has no request for are polls
// (through the AFD device) that run `retry`; the others have to wait for them, and they for the
// others (`op.held`).
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/waiting.hpp>
#include <rouse/detail/buffer_pool.hpp>
#include <rouse/detail/threading.hpp>
#include <rouse/engines/engine.hpp>
#include <rouse/engines/engine_details.hpp>
#include <rouse/engines/engine_sockets.hpp>
#include <rouse/engines/lend.hpp>
#include <rouse/os/socket.hpp>
#include <rouse/os/system_sockets.hpp>
#include <rouse/os/windows/iocp.hpp>

#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <system_error>
#include <utility>

#if ROUSE_WINDOWS
namespace rouse { inline namespace ROUSE_ABI {

/// Completion I/O as Windows has it: the kernel is given the operation itself, which is an
/// OVERLAPPED.
///
/// Cost of a call: one WSARecv or WSASend. What a stream can do at once is done when that returns;
/// the rest costs a part of a GetQueuedCompletionStatusEx, which fetches up to 64 packets.
///
/// A send that is cancelled (by a limit or a request) leaves the stream undefined on Windows, which
/// does not say how much of it was sent: such a connection can only be closed. Source: "I/O
/// Completion Ports", "SetFileCompletionNotificationModes", "CancelIoEx"; Windows 7.
class iocp_driver {
public:
  struct operation : rouse::operation, os::kernel_record {
    using rouse::operation::operation;
    bool held = false; // it waits for other operations of its socket
  };
  using sockets = os::system_sockets;

  failure open(detail::buffer_pool& buffers) noexcept {
    pool_ = &buffers;
    const failure why = os::start_winsock();
    return why ? why : port_.create();
  }
  [[nodiscard]] std::string report() const { return "IOCP"; }
  [[nodiscard]] bool blocking_handles() const noexcept { return true; }

  [[nodiscard]] socket_state* make_state() noexcept { return new (std::nothrow) record; }

  failure attach(socket_state& s) noexcept {
    auto& r = static_cast<record&>(s);
    r.skips = r.reset = false;
    r.held = 0;
    r.accept_ex = nullptr;
    if (const failure f = port_.add(handle_of(r))) return f;
    if (r.type == SOCK_STREAM)
      r.skips = os::skip_packets(handle_of(r));
    else
      os::ignore_unreachable_peers(handle_of(r));
    return {};
  }
  /// Before Windows 8.1 (and under Wine) a socket cannot leave its port: a released one works with
  /// plain calls, and with overlapped ones that use events, but no engine can adopt it again.
  void detach(socket_state& s, bool keep_open) noexcept {
    if (keep_open) os::leave_port(handle_of(s));
  }

  /// Windows keeps the operations of a socket in order, except for those that are retries: the
  /// others have to wait for them, and they for each other. (Those of a set of files concern other
  /// handles.)
  bool start(operation& op) noexcept {
    const auto& queue = op.target->queue_of(op);
    if (op.is_retry() && op.retry->files) return begin(op);
    if (!queue.empty() && (op.is_retry() || queue.front().is_retry() || record_of(op).held != 0)) {
      op.held = true;
      ++record_of(op).held;
      return false;
    }
    return begin(op);
  }

  /// The packet comes in any case, and says whether this or the result was first.
  void request_cancel(operation& op, completions& done) noexcept {
    if (std::exchange(op.held, false)) {
      --record_of(op).held;
      return done.add(op, std::errc::operation_canceled, 0);
    }
    cancel(op);
  }

  template <class Lock>
  void wait(clock::time_point until, Lock& lock, completions& done) noexcept {
    if (pending_ == 0 && until == (clock::time_point::min)()) return; // there is nothing to ask for
    OVERLAPPED_ENTRY entries[os::completion_port::batch];
    const std::size_t most = pending_;
    lock.unlock();
    const std::size_t n = port_.wait(entries, most, until);
    lock.lock();
    for (std::size_t i = 0; i < n; ++i) {
      if (entries[i].lpOverlapped)
        reap(*entries[i].lpOverlapped, entries[i].dwNumberOfBytesTransferred, done);
      else
        done.interrupt();
    }
  }

  void wake() noexcept { port_.wake(); }

private:
  struct record final : socket_state {
    bool skips = false; // what succeeds at once sends no packet
    bool reset = false; // the connection was reset: that stays, whatever Windows says next
    std::size_t held = 0; // operations that wait for others of the socket
    LPFN_ACCEPTEX accept_ex = nullptr; // of listeners, from their first accept on
  };

  static record& record_of(const operation& op) noexcept {
    return static_cast<record&>(*op.target);
  }
  static native_handle_type handle_of(const socket_state& d) noexcept {
    return static_cast<native_handle_type>(d.native);
  }
  static failure connection_reset() noexcept { return failure::from_os(WSAECONNRESET); }

  // Starts what has its turn now.
  void start_held(record& r, detail::list<rouse::operation>& queue, completions& done) noexcept {
    bool first = true, stop = false;
    queue.for_each([&](rouse::operation& one) {
      auto& op = static_cast<operation&>(one);
      const bool attempts = op.is_retry();
      stop = stop || (op.held && attempts && !first);
      if (stop) return;
      if (std::exchange(op.held, false)) {
        --r.held;
        if (begin(op)) return done.add(op, op.error, op.bytes);
      }
      first = false;
      stop = attempts;
    });
  }

  void cancel(operation& op) noexcept { ::CancelIoEx(os::as_file(handle_of(*op.target)), &op); }

  bool begin(operation& op) noexcept {
    static_cast<OVERLAPPED&>(op) = {};
    switch (op.action) {
    case action::recv:
      return begin_recv(op);
    case action::send:
      return begin_send(op);
    case action::receive:
      return begin_receive(op);
    case action::recv_from:
      return begin_recv_from(op);
    case action::send_to:
      return begin_send_to(op);
    case action::accept:
      return begin_accept(op);
    case action::when_readable:
    case action::when_writable:
    case action::when_urgent:
      return begin_attempt(op);
    default:
      return begin_connect(op);
    }
  }

  void reap(OVERLAPPED& o, std::size_t bytes, completions& done) noexcept {
    auto& op = static_cast<operation&>(static_cast<os::kernel_record&>(o));
    --pending_;
    conclude(op, os::from_status(op.Internal), bytes);
    if (op.action == action::receive ? !receive_now(op) : op.is_retry() && !attempt_now(op)) return;
    record& r = record_of(op);
    auto& queue = op.target->queue_of(op);
    done.add(op, op.error, op.bytes);
    if (r.held != 0) start_held(r, queue, done);
  }

  // ---- the call. True: done, the result is in `op`.

  bool begin_recv(operation& op) noexcept {
    DWORD bytes = 0;
    const int result = os::start_recv(handle_of(*op.target), op.data, largest(op.size), op, bytes);
    return started(op, result, bytes);
  }

  // First a recv of no bytes, which waits and holds no buffer; then one that has something to take.
  bool begin_receive(operation& op) noexcept {
    op.data = nullptr;
    op.size = 0;
    if (op.target->type != SOCK_STREAM) return receive_now(op); // it would take a datagram away
    return begin_recv(op) && receive_now(op);
  }

  // The recv of no bytes is over, or the other one.
  bool receive_now(operation& op) noexcept {
    if (op.data) detail::note_fill(op);
    if (op.error || op.data) return true;
    static_cast<OVERLAPPED&>(op) = {};
    bool done = true;
    (void)detail::lend(op, *pool_, [&] {
      done = begin_recv(op);
      return true;
    });
    if (!done && op.cancelled()) cancel(op); // requested while there was nothing to cancel
    return done;
  }

  bool begin_send(operation& op) noexcept {
    const record& r = record_of(op);
    if (r.reset) op.error = connection_reset();
    // Not submitted if too large: it is not certain whether Windows would queue a packet.
    else if (r.type == SOCK_DGRAM && op.size > largest_datagram(r.family))
      op.error = failure::from_os(WSAEMSGSIZE);
    if (op.error) return true;
    DWORD bytes = 0;
    const int result = os::start_send(handle_of(r), op.data, largest(op.size), op, bytes);
    return started(op, result, bytes);
  }

  bool begin_recv_from(operation& op) noexcept {
    DWORD bytes = 0;
    auto& m = *static_cast<os::message*>(op.data);
    const int result = os::start_recv_from(handle_of(*op.target), m, op, bytes);
    return started(op, result, bytes);
  }

  bool begin_send_to(operation& op) noexcept {
    if (op.target->type == SOCK_DGRAM && op.size > largest_datagram(op.target->family)) {
      op.error = failure::from_os(WSAEMSGSIZE);
      return true;
    }
    DWORD bytes = 0;
    auto& m = *static_cast<os::message*>(op.data);
    const int result = os::start_send_to(handle_of(*op.target), m, op, bytes);
    return started(op, result, bytes);
  }

  bool begin_attempt(operation& op) noexcept {
    return (op.retry->run && tried(op)) || (begin_poll(op) && attempt_now(op));
  }

  bool begin_poll(operation& op) noexcept {
    static_assert(sizeof(os::poll_request) <= sizeof op.retry->room);
    static_cast<OVERLAPPED&>(op) = {};
    const auto h = handle_of(*op.target);
    if (op.retry->files)
      return started(op, os::start_poll(h, *static_cast<os::polled_files*>(op.retry->files), op),
                     0);
    auto& request = *new (op.retry->room) os::poll_request;
    return started(op, os::start_poll(h, os::readiness(op.action), request, op), 0);
  }

  // The poll is over. False: there is another one.
  bool attempt_now(operation& op) noexcept {
    op.bytes = 0;
    if (op.error) return true;
    if (op.target->type == SOCK_STREAM && os::found_reset(op.retry->room))
      record_of(op).reset = true;
    while (op.retry->run && !tried(op)) {
      if (record_of(op).reset) {
        op.error = connection_reset();
      } else if (!begin_poll(op)) {
        if (op.cancelled()) cancel(op); // requested while there was nothing to cancel
        return false;
      }
      if (op.error) return true;
    }
    return true;
  }

  static bool tried(operation& op) noexcept {
    if (!op.retry->run(op)) return false;
    if (op.target->type == SOCK_STREAM) {
      explain_unconnected(op);
      note_reset(op);
      if (record_of(op).reset && op.bytes == 0 && !op.error) op.error = connection_reset();
    }
    return true;
  }

  bool begin_accept(operation& op) noexcept {
    record& r = record_of(op);
    if (!r.accept_ex) op.error = find_accept(r);
    if (!op.error) op.error = os::open_socket(r.family, r.type, 0, true, op.incoming);
    if (op.error) return true;
    return started(op, os::start_accept(r.accept_ex, handle_of(r), op.incoming, unread_, op), 0);
  }

  // Wine would let the call wait for ever on a socket that does not listen.
  static failure find_accept(record& r) noexcept {
    if (const failure f = os::check_listening(handle_of(r))) return f;
    return os::find_extension(handle_of(r), WSAID_ACCEPTEX, r.accept_ex);
  }

  bool begin_connect(operation& op) noexcept {
    const auto h = handle_of(*op.target);
    const os::socket_address peer = os::as_destination(*op.peer);
    if (op.target->type != SOCK_STREAM) {
      op.error = os::outcome(::connect(h, &peer.any, peer.length)); // sends nothing
      return true;
    }
    LPFN_CONNECTEX connect_ex = nullptr;
    op.error = os::find_extension(h, WSAID_CONNECTEX, connect_ex);
    if (!op.error) op.error = os::bind_if_unbound(h, op.target->family);
    if (op.error) return true;
    if (os::is_loopback(peer)) os::refuse_at_once(h);
    return started(op, os::start_connect(connect_ex, h, peer, op), 0);
  }

  bool started(operation& op, int result, DWORD bytes) noexcept {
    const bool packet = result == 0 ? !record_of(op).skips
                                    : result == WSA_IO_PENDING || os::packet_follows(op, result);
    if (packet)
      ++pending_;
    else
      conclude(op, failure::from_os(result), bytes);
    return !packet;
  }

  // ---- the result

  void conclude(operation& op, failure error, std::size_t bytes) noexcept {
    op.error = error;
    op.bytes = bytes;
    switch (op.action) {
    case action::recv:
    case action::receive:
    case action::send:
    case action::recv_from:
    case action::send_to:
      if (op.target->type == SOCK_STREAM)
        conclude_stream(op);
      else if (op.action == action::send && os::lacks_destination(handle_of(*op.target), op.error))
        op.error = failure::from_os(WSAEDESTADDRREQ); // as on Linux
      break;
    case action::accept:
      conclude_accept(op);
      break;
    case action::when_readable:
    case action::when_writable:
    case action::when_urgent:
      break;
    default:
      if (!op.error) op.error = os::note_connected(handle_of(*op.target));
      if (!op.error) record_of(op).reset = op.target->unconnected = false; // of an earlier attempt
    }
  }

  // Bytes that were moved are never lost, whatever else happened. And a reset stays a reset:
  // Windows takes what is queued away, but Wine lets it be read, and then would end the stream as
  // if all were well.
  static void conclude_stream(operation& op) noexcept {
    explain_unconnected(op);
    note_reset(op);
    if (op.bytes != 0)
      op.error = {};
    else if (record_of(op).reset && op.size != 0 &&
             op.error != failure(std::errc::operation_canceled))
      op.error = connection_reset();
  }

  static void explain_unconnected(operation& op) noexcept {
    if (op.bytes != 0) return;
    const bool receives = op.inward() ? op.is_retry() || op.size != 0 // not the recv of no bytes
                                      : op.action == action::when_urgent;
    op.error = os::explain_unconnected(*op.target, receives, op.error);
  }

  static void note_reset(const operation& op) noexcept {
    if (is_reset(op.error)) record_of(op).reset = true;
  }

  static bool is_reset(failure f) noexcept {
    switch (f.os_number()) {
    case WSAECONNRESET:
    case WSAECONNABORTED:
    case ERROR_NETNAME_DELETED:
    case ERROR_CONNECTION_ABORTED:
      return true;
    default:
      return false;
    }
  }

  void conclude_accept(operation& op) noexcept {
    const auto h = std::exchange(op.incoming, os::no_handle);
    if (!op.error) op.error = os::inherit_from_listener(h, handle_of(*op.target));
    if (op.error)
      os::close_socket(h);
    else
      op.handle = static_cast<std::intptr_t>(h);
  }

  static std::size_t largest(std::size_t size) noexcept {
    return size < os::largest_request ? size : os::largest_request;
  }
  static std::size_t largest_datagram(int family) noexcept {
    return family == AF_INET ? 65507 : 65527;
  }

  detail::buffer_pool* pool_ = nullptr;
  os::completion_port port_;
  std::size_t pending_ = 0; // operations with an outstanding packet
  os::accept_scratch unread_;
};

template <class Threading = one_thread>
using basic_iocp_engine = basic_engine<iocp_driver, Threading>;
using iocp_engine = basic_iocp_engine<>;

}} // namespace rouse::ROUSE_ABI
#endif

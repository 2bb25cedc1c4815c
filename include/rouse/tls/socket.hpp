// The TLS socket: the calls of a socket, encrypted.
#pragma once
#include <rouse/concepts/scheduler.hpp>
#include <rouse/config.hpp>
#include <rouse/core/buffer.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/call_arguments.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/sockets/file_calls.hpp>
#include <rouse/sockets/options.hpp>
#include <rouse/sockets/readiness_calls.hpp>
#include <rouse/sockets/socket.hpp>
#include <rouse/sockets/stream_access.hpp>
#include <rouse/tls/connection.hpp>
#include <rouse/tls/stream_calls.hpp>

#include <openssl/ssl.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {
namespace tls {

template <class Scheduler>
class socket;

namespace detail {
template <class Scheduler>
class handshake_call;
} // namespace detail

} // namespace tls

template <class Scheduler>
inline constexpr bool returned_by_call<tls::socket<Scheduler>> = true;

namespace tls {

/// A TLS connection, with the calls of `rouse::socket`: the same names, limits, ways to complete,
/// and schedulers. It comes from `tls::connect`, `tls::accept` or `tls::handshake`, after the
/// handshake, and owns its transport, a socket.
///
/// No byte is lost: a call that is cancelled or reaches its limit leaves the connection as usable
/// as a plain one. Bytes that arrive later are there for the next `recv`. A `send` that ends early
/// reports the bytes that it has encrypted, and those are still sent.
///
/// Errors of the calls: those of the same calls of `rouse::socket`, and
/// - tls::error::truncated: the connection ended without the peer's close_notify, so an attacker
///   may have cut off its end. Whether this matters is the protocol's to say: a peer that announces
///   lengths (HTTP with Content-Length) and then just closes causes it as well. All bytes that came
///   before it have been returned by then;
/// - tls::error::protocol_violated, with OpenSSL's reason: a damaged record, or an alert of the
///   peer. Under TLS 1.3 a server refuses a client's certificate only after the client's handshake,
///   and the client learns of it by this error.
///
/// Move-only. The destructor closes; it sends close_notify only in answer to the peer's, so that
/// the peer of a program that fails in mid-message sees `truncated`. `close()` always sends it.
///
/// Threads: the scheduler's own; with `threads`, any. One recv and one send may wait at the same
/// time, and neither ever waits for the other.
///
/// Cost: one allocation for a connection, beside OpenSSL's; none for a call. While nothing is to be
/// read or sent, no buffer is held.
template <class Scheduler>
class [[nodiscard]] socket {
  using call_site = rouse::detail::call_site;
  using location = rouse::detail::location;
  using nothing = rouse::detail::nothing;
  using part_of_file = rouse::detail::part_of_file;
  template <class Buffer>
  using one = rouse::detail::one_buffer<Buffer>;
  template <class Buffer>
  using some = rouse::detail::some_buffers<Buffer>;
  using bytes_to_fill = rouse::detail::bytes_to_fill<socket>;
  using bytes_to_send = rouse::detail::bytes_to_send<socket>;
  using list_to_fill = rouse::detail::list_to_fill<socket>;
  using list_to_send = rouse::detail::list_to_send<socket>;

public:
  using scheduler_type = Scheduler;

  socket() noexcept = default;
  socket(socket&& other) noexcept = default;
  socket& operator=(socket&& other) noexcept {
    if (this != &other) {
      give_back();
      connection_ = std::move(other.connection_);
    }
    return *this;
  }
  ~socket() { give_back(); }

  // ---- waiting

  /// Receives at least one byte. @returns the number of bytes; 0 only after the peer's
  /// close_notify.
  template <class...>
  decltype(auto) recv(bytes_to_fill buffer, location at = location::current()) {
    return start<one_recv<false>>(at, one<mutable_buffer>(buffer));
  }
  template <class First = limit, class How = nothing>
  decltype(auto) recv(bytes_to_fill buffer, First&& first, How&& how = How(),
                      call_site at = location::current()) {
    return start<one_recv<false>>(at, one<mutable_buffer>(buffer), std::forward<First>(first),
                                  std::forward<How>(how));
  }
  template <class First = limit, class How = nothing>
  decltype(auto) recv(list_to_fill list, First&& first = First(), How&& how = How(),
                      call_site at = location::current()) {
    return start<list_recv<false>>(at, list, std::forward<First>(first), std::forward<How>(how));
  }

  /// Receives at least one byte into a buffer that the engine lends: at most 16,672 bytes, as a
  /// `loan`, which is empty only at the end of the stream.
  template <class...>
  decltype(auto) receive(location at = location::current()) {
    return start<detail::receive_call<Scheduler>>(at, nothing());
  }
  template <class First = limit, class How = nothing>
  decltype(auto) receive(First&& first, How&& how = How(), call_site at = location::current()) {
    return start<detail::receive_call<Scheduler>>(at, nothing(), std::forward<First>(first),
                                                  std::forward<How>(how));
  }

  /// Receives until the buffer is full or the stream ends.
  template <class...>
  decltype(auto) recv_exactly(bytes_to_fill buffer, location at = location::current()) {
    return start<one_recv<true>>(at, one<mutable_buffer>(buffer));
  }
  template <class First = limit, class How = nothing>
  decltype(auto) recv_exactly(bytes_to_fill buffer, First&& first, How&& how = How(),
                              call_site at = location::current()) {
    return start<one_recv<true>>(at, one<mutable_buffer>(buffer), std::forward<First>(first),
                                 std::forward<How>(how));
  }
  template <class First = limit, class How = nothing>
  decltype(auto) recv_exactly(list_to_fill list, First&& first = First(), How&& how = How(),
                              call_site at = location::current()) {
    return start<list_recv<true>>(at, list, std::forward<First>(first), std::forward<How>(how));
  }

  /// Encrypts bytes, up to about 64 KiB at a time, and hands them to the kernel.
  ///
  /// @returns the number of bytes. Beside an error, those that were encrypted before it, and that
  /// are still sent unless the connection has failed.
  template <class...>
  decltype(auto) send(bytes_to_send buffer, location at = location::current()) {
    return start<one_send<false>>(at, one<const_buffer>(buffer));
  }
  template <class First = limit, class How = nothing>
  decltype(auto) send(bytes_to_send buffer, First&& first, How&& how = How(),
                      call_site at = location::current()) {
    return start<one_send<false>>(at, one<const_buffer>(buffer), std::forward<First>(first),
                                  std::forward<How>(how));
  }
  /// Several short buffers share one record.
  template <class First = limit, class How = nothing>
  decltype(auto) send(list_to_send list, First&& first = First(), How&& how = How(),
                      call_site at = location::current()) {
    return start<list_send<false>>(at, list, std::forward<First>(first), std::forward<How>(how));
  }

  /// Sends the whole buffer. Otherwise like `send`.
  template <class...>
  decltype(auto) send_all(bytes_to_send buffer, location at = location::current()) {
    return start<one_send<true>>(at, one<const_buffer>(buffer));
  }
  template <class First = limit, class How = nothing>
  decltype(auto) send_all(bytes_to_send buffer, First&& first, How&& how = How(),
                          call_site at = location::current()) {
    return start<one_send<true>>(at, one<const_buffer>(buffer), std::forward<First>(first),
                                 std::forward<How>(how));
  }
  template <class First = limit, class How = nothing>
  decltype(auto) send_all(list_to_send list, First&& first = First(), How&& how = How(),
                          call_site at = location::current()) {
    return start<list_send<true>>(at, list, std::forward<First>(first), std::forward<How>(how));
  }

  /// Sends `length` bytes of a file, from `offset` on: fewer if the file ends earlier. Pieces of
  /// 16 KiB are read and encrypted here, not in the kernel. Otherwise like `send_file` of a
  /// `rouse::socket`.
  template <class...>
  decltype(auto) send_file(native_file_type file, std::uint64_t offset, std::uint64_t length,
                           location at = location::current()) {
    return start<detail::send_file_call<Scheduler>>(at, part_of_file{file, offset, length});
  }
  template <class First = limit, class How = nothing>
  decltype(auto) send_file(native_file_type file, std::uint64_t offset, std::uint64_t length,
                           First&& first, How&& how = How(), call_site at = location::current()) {
    return start<detail::send_file_call<Scheduler>>(
        at, part_of_file{file, offset, length}, std::forward<First>(first), std::forward<How>(how));
  }

  /// Waits until `recv` or `send` would not have to wait: decrypted bytes, the end of the stream or
  /// an error; room for a record. There is no urgent data (invalid_argument).
  template <class...>
  decltype(auto) wait(readiness what, location at = location::current()) {
    return start<detail::wait_call<Scheduler>>(at, what);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) wait(readiness what, First&& first, How&& how = How(),
                      call_site at = location::current()) {
    return start<detail::wait_call<Scheduler>>(at, what, std::forward<First>(first),
                                               std::forward<How>(how));
  }

  // ---- without waiting

  /// Ends one direction or both. `shutdown_send` sends close_notify, the proper end of a TLS
  /// stream, and does not wait for the peer's: receiving goes on until the peer ends its direction
  /// too. After `shutdown_recv` the receiving calls return 0.
  ///
  /// Errors: bad_file_descriptor; that of an earlier send.
  void shutdown(shutdown_how how) {
    std::error_code ec;
    shutdown(how, ec);
    if (ec) rouse::detail::throw_error(ec, "rouse: tls: shutdown");
  }
  void shutdown(shutdown_how how, std::error_code& ec) noexcept {
    ec = (connection_ ? connection_->shut_down(how) : failure(std::errc::bad_file_descriptor))
             .code();
  }
  /// Cancels the pending calls: they fail with operation_canceled. The connection stays usable.
  void cancel() noexcept {
    if (is_open()) connection_->cancel();
  }
  /// Cancels the pending calls, sends close_notify if the kernel takes it at once, and closes the
  /// connection. It never waits.
  void close() noexcept {
    if (connection_) connection_->close(true);
  }
  [[nodiscard]] bool is_open() const noexcept {
    return connection_ && connection_->transport().is_open();
  }

  /// Sets the limit of every call without a deadline of its own. `accept` and `handshake` take over
  /// that of their socket.
  template <class Rep, class Period>
  void timeout(std::chrono::duration<Rep, Period> d) noexcept {
    if (connection_) connection_->timeout = rouse::detail::saturated<clock::duration>(d);
  }
  [[nodiscard]] clock::duration timeout() const noexcept {
    return connection_ ? connection_->timeout : (clock::duration::max)();
  }

  /// The scheduler; null if the socket is closed for good: moved from, or its scheduler is gone.
  [[nodiscard]] Scheduler* scheduler() const noexcept {
    return connection_ ? connection_->scheduler() : nullptr;
  }

  // ---- about the connection; undefined for a default-constructed socket

  /// The protocol that both sides agreed on ("h2"); empty if none. Valid as long as the socket.
  [[nodiscard]] std::string_view alpn() const noexcept {
    const unsigned char* name = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(native_handle(), &name, &size);
    return {reinterpret_cast<const char*>(name), size};
  }
  /// "TLSv1.3".
  [[nodiscard]] std::string_view version() const noexcept {
    return SSL_get_version(native_handle());
  }
  /// "TLS_AES_256_GCM_SHA384".
  [[nodiscard]] std::string_view cipher() const noexcept {
    return SSL_get_cipher_name(native_handle());
  }
  /// The name that the client asked for (SNI); empty if it named none.
  [[nodiscard]] std::string_view server_name() const noexcept {
    const char* const name = SSL_get_servername(native_handle(), TLSEXT_NAMETYPE_host_name);
    return name ? name : "";
  }
  /// Whether the handshake took up an earlier session.
  [[nodiscard]] bool resumed() const noexcept { return SSL_session_reused(native_handle()) != 0; }
  /// The peer's certificate, of OpenSSL, or null. Valid as long as the socket.
  [[nodiscard]] X509* peer_certificate() const noexcept {
    return SSL_get0_peer_certificate(native_handle());
  }
  /// The SSL object, for what this class does not offer. Do not read, write or shut down with it.
  [[nodiscard]] SSL* native_handle() const noexcept { return connection_->ssl(); }
  /// The socket beneath, for its options and endpoints. Do not send or receive with it, and leave
  /// its timeout alone: that would end the connection's own requests.
  [[nodiscard]] rouse::socket<Scheduler>& transport() const noexcept {
    return connection_->transport();
  }
  [[nodiscard]] endpoint remote_endpoint() const { return transport().remote_endpoint(); }
  [[nodiscard]] endpoint remote_endpoint(std::error_code& ec) const noexcept {
    return transport().remote_endpoint(ec);
  }
  [[nodiscard]] endpoint local_endpoint() const { return transport().local_endpoint(); }
  [[nodiscard]] endpoint local_endpoint(std::error_code& ec) const noexcept {
    return transport().local_endpoint(ec);
  }

private:
  template <class>
  friend class detail::handshake_call;
  template <class>
  friend struct rouse::detail::stream_access;
  template <bool All>
  using one_recv = detail::recv_call<Scheduler, one<mutable_buffer>, All>;
  template <bool All>
  using list_recv = detail::recv_call<Scheduler, some<mutable_buffer>, All>;
  template <bool All>
  using one_send = detail::send_call<Scheduler, one<const_buffer>, All>;
  template <bool All>
  using list_send = detail::send_call<Scheduler, some<const_buffer>, All>;

  explicit socket(detail::connection_ref<Scheduler> c) noexcept : connection_(std::move(c)) {}

  void give_back() noexcept {
    if (connection_) connection_->close();
    connection_ = {};
  }

  // `argument` is the description's, after the connection.
  template <class Call, class Argument, class... Rest>
  decltype(auto) start(const location& at, const Argument& argument, Rest&&... rest) {
    if constexpr (std::same_as<Argument, nothing>)
      return rouse::detail::begin_call(scheduler(), Call(connection_), at,
                                       std::forward<Rest>(rest)...);
    else
      return rouse::detail::begin_call(scheduler(), Call(connection_, argument), at,
                                       std::forward<Rest>(rest)...);
  }

  detail::connection_ref<Scheduler> connection_;
};

} // namespace tls

namespace detail {

template <class Scheduler>
struct stream_access<tls::socket<Scheduler>> {
  class tls_receiver {
  public:
    explicit tls_receiver(const tls::socket<Scheduler>& s) noexcept : connection_(s.connection_) {}
    bool begin(operation& op, mutable_buffer b) noexcept {
      return call_.emplace(connection_, one_buffer<mutable_buffer>(b)).prepare(op);
    }
    bool advance(operation& op) noexcept {
      if (!call_->advance(op)) return false;
      op.bytes = call_->value(op);
      return true;
    }
    template <class Engine>
    void discard(operation& op, Engine& engine) noexcept {
      if (call_) call_->discard(op, engine);
    }

  private:
    tls::detail::connection_ref<Scheduler> connection_;
    std::optional<tls::detail::recv_call<Scheduler, one_buffer<mutable_buffer>, false>> call_;
  };
  static tls_receiver receiver(const tls::socket<Scheduler>& s) noexcept { return tls_receiver(s); }
  static auto waiting(const tls::socket<Scheduler>& s, readiness what) noexcept {
    return tls::detail::wait_call<Scheduler>(s.connection_, what);
  }
};

} // namespace detail
}} // namespace rouse::ROUSE_ABI

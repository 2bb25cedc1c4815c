// A TLS connection: an SSL object, and the two network requests that feed it and carry away what it
// writes. The requests belong to the connection, not to the calls, so that a call that is cancelled
// or reaches its limit loses no byte: what arrives is there for the next call, and a record that
// was begun is sent to its end.
//
//   recv, handshake            connection                          engine
//
//   run(step) ---------------> step: SSL_read, SSL_do_handshake
//     done <------------------ has a result
//     needs input:             fetch() --------------------------> receive
//        waits for arrived_ <- on_arrival(): wire.put <----------- loan
//
//   send, shutdown
//   run(step) ---------------> step: SSL_write, into wire.to_send
//                              flush() --------------------------> send_all(in_flight_)
//     needs output:
//        waits for departed_ < on_departure(), flush() again <---- sent
//
// No step waits for the network while it holds the lock, and reading never waits for writing.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/waiter.hpp>
#include <rouse/detail/chrono.hpp>
#include <rouse/detail/guarded.hpp>
#include <rouse/sockets/socket.hpp>
#include <rouse/sockets/stream_calls.hpp>
#include <rouse/tls/error.hpp>
#include <rouse/tls/event.hpp>
#include <rouse/tls/openssl.hpp>
#include <rouse/tls/request.hpp>
#include <rouse/tls/server_context.hpp>
#include <rouse/tls/wire.hpp>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace tls { namespace detail {

template <class Scheduler>
class connection {
  using engine_type = typename Scheduler::engine_type;
  using lock_type = typename engine_type::lock_type;

public:
  /// Null when memory is short. The socket is then closed.
  static connection* make(rouse::socket<Scheduler>&& s, ssl_ptr&& p, failure& why) noexcept {
    auto* const c = new (std::nothrow) connection(std::move(s), std::move(p));
    BIO* const bio = c ? c->wire_.make_bio() : nullptr;
    if (bio) {
      SSL_set_bio(c->ssl(), bio, bio);
      return c;
    }
    delete c;
    why = std::errc::not_enough_memory;
    return nullptr;
  }
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  void hold() noexcept { ++references_; }
  void drop() noexcept {
    if (--references_ == 0) delete this;
  }

  [[nodiscard]] SSL* ssl() const noexcept { return ssl_.get(); }
  [[nodiscard]] rouse::socket<Scheduler>& transport() noexcept { return socket_; }
  [[nodiscard]] Scheduler* scheduler() const noexcept { return socket_.scheduler(); }
  [[nodiscard]] engine_type& engine() noexcept { return *engine_; }

  clock::duration timeout = (clock::duration::max)(); ///< of calls without a limit

  // ---- calls

  /// For `prepare`: the first round only finds out whether the call may begin.
  bool begin(operation& op, event_waiter& w) noexcept {
    op.target = record_;
    w.cancels = cancels_;
    w.pass(op);
    return true;
  }

  /// For `advance`: runs `step` until it is done (true) or has to wait (false: `op` has a request).
  ///
  /// A step that is past its limit, or cancelled while it waited, is tried once more: what has
  /// arrived counts.
  template <class Step>
  bool run(operation& op, event_waiter& w, Step step) noexcept {
    const failure ended = op.error;
    if (ended && !w.begun) return true;
    lock_type lock(mutex_);
    if (ended && closed_) return true;
    w.begun = true;
    while (true) {
      const unsigned arrivals = arrived_.count, departures = departed_.count;
      op.error = {};
      const needs what = step(op);
      flush();
      if (what == needs::nothing) return true;
      if (what == needs::input && !ended) fetch();
      event& e = what == needs::input ? arrived_ : departed_;
      const unsigned seen = what == needs::input ? arrivals : departures;
      if (e.count != seen) continue;
      op.error = ended;
      if (!ended && w.cancels != cancels_) op.error = std::errc::operation_canceled;
      if (op.error) return true;
      if (!op.limited && timeout != (clock::duration::max)()) op.limit_to(deadline(timeout).when());
      w.await(op, &e, seen);
      return false;
    }
  }

  /// A call has ended. If no other one waits for input, the connection stops receiving, so that a
  /// loop with nothing else to do can end. What arrives first is kept.
  void left() noexcept {
    lock_type lock(mutex_);
    if (!fetching_) return;
    bool awaited = false;
    engine_->with_completions([&](completions&) { awaited = !arrived_.queue.empty(); });
    if (!awaited) engine_->cancel(*incoming_);
  }

  // ---- steps, with the lock held

  needs handshake(operation& op) noexcept {
    if (!handshake_why_ && !established_) {
      clear_errors();
      const int done = SSL_do_handshake(ssl());
      if (done == 1) {
        established_ = true;
        drained_ = !wire_.unread() && SSL_has_pending(ssl()) == 0;
        // Tickets of TLS 1.3 wait for what the server writes first: the last bytes of a client that
        // closes without having read them would be lost.
        if (SSL_is_server(ssl()) && SSL_version(ssl()) == TLS1_3_VERSION) held_ = wire_.produced;
      } else if (SSL_get_error(ssl(), done) == SSL_ERROR_WANT_READ) {
        if (!input_ended()) return needs::input;
        handshake_why_ = input_why_ ? input_why_ : ended_in_handshake();
      } else {
        handshake_why_ = reason(handshake_failure(ssl()));
      }
    }
    // The last messages, among them the alert that tells the peer why, are sent first.
    if (!sent(wire_.produced - (holds() ? wire_.to_send.size() : 0))) return needs::output;
    op.error = handshake_why_ ? handshake_why_ : output_why_;
    return needs::nothing;
  }

  /// Reads what is there, at least a byte. `op.bytes` 0 without an error: the end of the stream.
  needs read(operation& op, mutable_buffer b) noexcept {
    op.bytes = 0;
    if (!may_read()) return op.error = read_why_, needs::nothing;
    if (drained_ && !input_ended() && !no_more_input_) return needs::input;
    while (op.bytes != b.size() && !no_more_input_) {
      std::size_t n = 0;
      clear_errors();
      if (SSL_read_ex(ssl(), static_cast<std::byte*>(b.data()) + op.bytes, b.size() - op.bytes,
                      &n) != 1)
        return after_read(op, SSL_get_error(ssl(), 0));
      op.bytes += n;
      drained_ = !wire_.unread() && SSL_pending(ssl()) == 0;
      if (drained_) break;
    }
    return needs::nothing;
  }
  /// Whether `read` would give something, without reading it.
  needs peek(operation& op) noexcept {
    char c;
    std::size_t n = 0;
    op.bytes = 0;
    clear_errors();
    if (!may_read() || no_more_input_ || SSL_peek_ex(ssl(), &c, 1, &n) == 1) return needs::nothing;
    const needs what = after_read(op, SSL_get_error(ssl(), 0));
    op.error = {}; // the next read reports it
    return what;
  }

  /// Encrypts bytes while there is room, and returns how many. 0: there is no room, or `why`.
  std::size_t write(const_buffer b, failure& why) noexcept {
    std::size_t all = 0;
    while (all != b.size() && room()) {
      why = output_refused();
      if (why) break;
      std::size_t part = most_to_send - wire_.to_send.size(), n = 0;
      if (part > b.size() - all) part = b.size() - all;
      if (part > largest_record) part = largest_record;
      clear_errors();
      if (!wire_.to_send.reserve(part + overhead)) {
        why = std::errc::not_enough_memory;
        break;
      }
      wire_.direct = part == b.size() && part >= least_direct && !outgoing_ ? &send_now : nullptr;
      if (SSL_write_ex(ssl(), static_cast<const std::byte*>(b.data()) + all, part, &n) != 1) {
        why = output_why_ = reason(protocol_failure());
        drained_ = false; // the next read fails, too
      }
      wire_.direct = nullptr;
      if (why) break;
      all += n;
      if (!room()) flush();
    }
    if (wire_.to_send.empty()) wire_.to_send.clear(); // what was reserved
    return all;
  }
  /// Whether nothing more can be written.
  [[nodiscard]] failure output_refused() const noexcept {
    if (output_why_) return output_why_;
    return no_more_output_ ? failure(std::errc::broken_pipe) : failure();
  }
  /// The ciphertext written so far, in bytes; and whether the kernel has taken that much. It counts
  /// as taken if it never will be.
  [[nodiscard]] std::uint64_t produced() const noexcept { return wire_.produced; }
  [[nodiscard]] bool sent(std::uint64_t position) const noexcept {
    return sent_ >= position || output_why_;
  }
  [[nodiscard]] failure output_error() const noexcept { return output_why_; }
  [[nodiscard]] bool room() const noexcept { return wire_.to_send.size() < most_to_send; }

  // ---- without waiting

  failure shut_down(shutdown_how how) noexcept {
    lock_type lock(mutex_);
    if (closed_ || !scheduler()) return std::errc::bad_file_descriptor;
    if (how != shutdown_how::send) {
      no_more_input_ = true;
      happen(arrived_);
      if (fetching_) engine_->cancel(*incoming_);
    }
    if (how != shutdown_how::recv) {
      say_goodbye();
      flush();
    }
    return output_why_;
  }

  /// The calls that wait end with operation_canceled. The network requests go on.
  void cancel() noexcept {
    lock_type lock(mutex_);
    ++cancels_;
    happen(arrived_, std::errc::operation_canceled);
    happen(departed_, std::errc::operation_canceled);
  }

  /// @param goodbye  tell the peer that the stream ends here, not in the middle.
  void close(bool goodbye) noexcept {
    {
      lock_type lock(mutex_);
      if (std::exchange(closed_, true) || !scheduler()) return;
      if (goodbye) say_goodbye();
      if (!wire_.to_send.empty() && !holds() && !outgoing_ && !output_why_) {
        std::error_code ec; // best effort
        (void)socket_.try_send(wire_.to_send.bytes(), ec);
      }
      wire_.to_send.clear();
      output_why_ = std::errc::bad_file_descriptor;
    }
    socket_.close();
  }
  /// The same for a socket that is destroyed: it answers the peer's goodbye.
  void close() noexcept { close(peer_said_goodbye_); }

private:
  // A record takes at most this much plaintext, and adds less than `overhead` to it.
  static constexpr std::size_t largest_record = 16384, overhead = 256;
  // A call of that many bytes which fits into one record is sent without a copy of the record. On
  // Windows, three more system calls would be needed to send without waiting.
  static constexpr std::size_t least_direct = ROUSE_WINDOWS ? std::size_t(-1) : 4096;
  // Ciphertext that waits to be sent: four records, and as much again is in flight.
  static constexpr std::size_t most_to_send = (std::size_t{63} << 10);

  connection(rouse::socket<Scheduler>&& s, ssl_ptr&& p) noexcept
      : timeout(s.timeout()), socket_(std::move(s)), record_(socket_.record_),
        engine_(&socket_.scheduler()->engine()), ssl_(std::move(p)) {
    record_->default_timeout = (clock::duration::max)(); // not that of the network requests
    wire_.by = this;
  }
  // OpenSSL would not resume a session of a connection that ends without close_notify, a rule that
  // TLS 1.1 dropped.
  ~connection() { SSL_set_shutdown(ssl(), SSL_SENT_SHUTDOWN); }

  // Key updates make us answer. A peer that sends them and reads nothing must not fill the memory.
  bool may_read() noexcept {
    if (wire_.to_send.size() > 2 * most_to_send)
      read_why_ = output_why_ = failed(error::protocol_violated);
    return !read_why_;
  }

  [[nodiscard]] bool input_ended() const noexcept { return input_why_ || end_of_input_; }
  static failure ended_in_handshake() noexcept {
    return numbered(detail::handshake + SSL_R_UNEXPECTED_EOF_WHILE_READING);
  }

  void happen(event& e, failure why = {}) noexcept {
    engine_->with_completions([&](completions& completed) {
      ++e.count;
      admit_all(e.queue, completed, why);
    });
  }

  // Why OpenSSL failed: for the reason that it gives, or because memory was short. Some of what the
  // SSL object wrote is lost then, so nothing may follow it.
  failure reason(failure given) noexcept {
    return wire_.memory_short ? output_why_ = std::errc::not_enough_memory : given;
  }

  needs after_read(operation& op, int what) noexcept {
    if (what == SSL_ERROR_ZERO_RETURN) {
      peer_said_goodbye_ = true;
      return needs::nothing;
    }
    if (what != SSL_ERROR_WANT_READ && !read_why_) read_why_ = reason(protocol_failure());
    if (op.bytes != 0) return needs::nothing; // the next read reports what this one met
    if (read_why_) {
      op.error = read_why_;
    } else if (input_ended()) {
      op.error = input_why_ ? input_why_ : failed(error::truncated);
    } else {
      return needs::input;
    }
    return needs::nothing;
  }

  void say_goodbye() noexcept {
    if (no_more_output_ || !established_ || output_why_ || read_why_) return;
    no_more_output_ = true;
    clear_errors();
    (void)SSL_shutdown(ssl());
    clear_errors();
  }

  // Starts to receive unless that is going on or would be in vain. A request in progress holds a
  // reference: in a shared engine, another thread may be completing it.
  void fetch() noexcept {
    if (fetching_ || input_ended()) return;
    fetching_ = true;
    incoming_.emplace(engine_, *this, rouse::detail::receive_call{record_});
    hold();
    if (!incoming_->start()) return;
    take_arrival();
    input_why_ = incoming_->why(); // it is final, even operation_canceled: the scheduler ends
    --references_;
  }
  void on_arrival() noexcept {
    {
      lock_type lock(mutex_);
      take_arrival();
    }
    drop();
  }
  void take_arrival() noexcept {
    fetching_ = drained_ = false;
    const failure why = incoming_->why();
    loan received = incoming_->value();
    if (!received.empty())
      wire_.put(std::move(received));
    else if (!why)
      end_of_input_ = true;
    else if (why != failure(std::errc::operation_canceled) || closed_)
      input_why_ = why;
    happen(arrived_);
  }

  // For the wire. An error is left to the request that sends the rest.
  static std::size_t send_now(void* by, const_buffer record) noexcept {
    auto& self = *static_cast<connection*>(by);
    std::error_code ec;
    const std::size_t sent = self.socket_.try_send(record, ec);
    self.sent_ += sent;
    return sent;
  }
  // Whether `to_send` has nothing but tickets.
  [[nodiscard]] bool holds() const noexcept { return held_ == wire_.produced; }
  // Starts to send what there is, unless sending is going on.
  void flush() noexcept {
    while (!wire_.to_send.empty() && !holds() && !outgoing_ && !output_why_) {
      in_flight_.swap(wire_.to_send);
      rouse::detail::guarded(
          [&] {
            outgoing_ = std::make_unique<outgoing>(
                engine_, *this, rouse::detail::send_all_call{{record_, in_flight_.bytes()}});
          },
          [&] { input_why_ = output_why_ = std::errc::not_enough_memory; });
      if (!outgoing_) return happen(arrived_), end_departure(); // no answer will come, either
      hold();
      if (!outgoing_->start()) return;
      take_departure();
      --references_;
    }
  }
  void on_departure() noexcept {
    {
      lock_type lock(mutex_);
      take_departure();
      flush();
    }
    drop();
  }
  void take_departure() noexcept {
    sent_ += outgoing_->value();
    if (const failure why = outgoing_->why(); why && !output_why_) output_why_ = why;
    outgoing_.reset();
    end_departure();
  }
  void end_departure() noexcept {
    if (output_why_) wire_.to_send.clear();
    in_flight_.clear();
    happen(departed_);
  }

  ROUSE_NO_UNIQUE_ADDRESS typename engine_type::threading::mutex mutex_;
  // The references are the socket's, and those of the calls and requests in progress.
  shared_count<typename engine_type::threading> references_{1}, cancels_{0};
  rouse::socket<Scheduler> socket_;
  socket_state* const record_;
  engine_type* const engine_;
  wire wire_; // before the SSL object, which uses it
  ssl_ptr ssl_;
  ciphertext in_flight_;
  std::uint64_t sent_ = 0, held_ = 0; // bytes that were sent; the end of the tickets
  event arrived_, departed_;
  failure handshake_why_, input_why_, read_why_, output_why_;
  bool established_ = false;
  bool closed_ = false;
  bool fetching_ = false; // incoming_ is in progress
  bool drained_ = false; // all that has arrived was read, and nothing but bytes
  bool end_of_input_ = false; // the network's
  bool no_more_input_ = false; // shutdown(recv)
  bool no_more_output_ = false; // close_notify was sent
  bool peer_said_goodbye_ = false; // close_notify has arrived
  // Received bytes, and the end of the stream.
  std::optional<
      request<engine_type, rouse::detail::receive_call, connection, &connection::on_arrival>>
      incoming_;
  // In progress unless it is null: an idle connection has none. After in_flight_, which it sends.
  using outgoing =
      request<engine_type, rouse::detail::send_all_call, connection, &connection::on_departure>;
  std::unique_ptr<outgoing> outgoing_;
};

}}}} // namespace rouse::ROUSE_ABI::tls::detail

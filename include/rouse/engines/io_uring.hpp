// The driver for io_uring: the kernel is given the operation itself, and one system call a turn
// submits, waits and reaps.
//
//   start(op) ---> entry: opcode, handle, buffer; user_data = &op
//   wait() ------> io_uring_enter(2): submits all entries, waits for a completion
//   completion --> user_data: an operation: its result           (reap)
//                             an operation, cancel_bit set: the result of the request to cancel it
//                             wake_up: another thread wrote to the eventfd
//
// Of the operations of one socket in one direction, only the first is in the kernel, which promises
// no order among several; accepts alone may all be. An operation completes once the kernel will not
// look at its address again: after its own result and, if it was cancelled, that of the cancel
// (`op.more` until then). Readiness (when_..., and `receive` without a buffer) is a poll, which may
// be one that goes on (multishot) and then has to be cancelled to end (`op.has_result`).
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
#include <rouse/engines/uring_parts.hpp>
#include <rouse/os/linux/foreign_handle.hpp>
#include <rouse/os/linux/io_uring.hpp>
#include <rouse/os/linux/poll.hpp>
#include <rouse/os/socket.hpp>
#include <rouse/os/system_sockets.hpp>

#if ROUSE_LINUX
#include <new>
#include <string>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {

/// Completion I/O as Linux has it (5.11 and later).
///
/// No request outlives the call that made it. A multishot recv or accept would save a part of each
/// submission, but it takes bytes and connections that no call has asked for yet: `release()`,
/// system calls on the handle, and a server that pauses could not give them back.
///
/// Cost of a call: one entry in the submission queue and a part of the one io_uring_enter(2) that a
/// turn of the loop makes; one send(2) for a send while little is ready. Source: io_uring(7),
/// io_uring_setup(2), io_uring_enter(2).
///
/// @tparam Shared  whether several threads call, with a lock.
template <bool Shared>
class io_uring_driver {
public:
  using operation = rouse::operation;
  using sockets = os::system_sockets;

  io_uring_driver() noexcept = default;
  io_uring_driver(const io_uring_driver&) = delete;
  io_uring_driver& operator=(const io_uring_driver&) = delete;

  /// Refused with EPERM or ENOSYS in containers, ENOMEM, EINVAL by a kernel before 5.11.
  /// @param forbidden  setup flags to do without, as on an older kernel.
  failure open(detail::buffer_pool& buffers, std::uint32_t forbidden = 0) noexcept {
    pool_ = &buffers;
    const failure why = ring_.create(entries, detail::setup_flags<Shared>, forbidden);
    return why ? why : waker_.create();
  }
  [[nodiscard]] std::string report() const { return detail::describe(ring_); }
  [[nodiscard]] bool blocking_handles() const noexcept { return true; }

  [[nodiscard]] socket_state* make_state() noexcept { return new (std::nothrow) record; }
  failure attach(socket_state& s) noexcept {
    auto& r = static_cast<record&>(s); // perhaps of a socket that was closed before
    r.sends_by_hand = os::uring::loses_datagrams(s.family, s.type);
    return {};
  }
  void detach(socket_state&, bool) noexcept {}

  /// A send nearly always succeeds at once. If the last turn reaped one completion at most, or if
  /// each entry costs a system call of its own, send(2) is cheaper than the ring; if many are
  /// ready, they share the one system call of the turn.
  ROUSE_ALWAYS_INLINE bool start(operation& op) noexcept {
    if (op.action == action::recv) {
      if (!detail::first_in_line(op.target->inbound)) {
        request_recv(op);
        hand_over();
      }
      return false;
    }
    if (op.action == action::send && !detail::by_hand(op)) {
      if (detail::first_in_line(op.target->outbound)) return false;
      if (few_completions() && os::try_send(op)) return true;
      request_send(op);
      hand_over();
      return false;
    }
    return start_other(op);
  }

  /// The entry is queued after that of `op`, and before that of any operation that comes to be at
  /// the same address later. The kernel takes them in order, so it can only meet `op` (O4).
  void request_cancel(operation& op, completions& done) noexcept {
    const bool queued =
        op.action != action::accept && detail::first_in_line(op.target->queue_of(op)) != &op;
    if (queued) return done.add(op, std::errc::operation_canceled, 0);
    if (!op.has_result) submit_cancel(op);
  }

  template <class Lock>
  ROUSE_ALWAYS_INLINE void wait(clock::time_point until, Lock& lock, completions& done) noexcept {
    if (!own_by_this_thread()) return;
    buffers_.replace_taken(*pool_);
    if (buffers_.grown() && buffers_.next_check() < until) until = buffers_.next_check();
    // A turn that does not wait needs no wake-up: a foreign loop's handle has the waker in it.
    if (!listening_ && until != (clock::time_point::min)()) listen_for_wake_up();
    const bool waits = until != (clock::time_point::min)() && ring_.completed() == 0;
    if constexpr (Shared) {
      ring_.submit();
      lock.unlock();
      if (waits) ring_.wait(until);
      lock.lock();
      reaped_ = ring_.completed();
    } else {
      if (waits)
        ring_.submit_and_wait(until);
      else
        ring_.submit();
      reaped_ = ring_.fetch_rest();
    }
    ring_.drain([&](const os::uring::completion& c) { reap(c, done); });
    if (buffers_.grown()) buffers_.shrink(ring_, *pool_, reaped_ < entries);
  }

  void wake() noexcept { waker_.signal(); }

  [[nodiscard]] bool usable_here() const noexcept {
    // The other threads of a shared engine change `in_flight_`, and any of them may run it.
    return Shared || in_flight_ == 0 || owner_.allows_this_thread();
  }
  /// Kernels before 5.18 register an eventfd only after all requests have ended.
  [[nodiscard]] native_handle_type wait_handle() noexcept {
    const bool possible = ring_.get() >= 0 && (ring_.flags() & os::uring::submit_all);
    return possible ? foreign_handle_.open(waker_) : os::no_handle;
  }
  bool arm_wait_handle(completions& done) noexcept {
    if (wait_handle() == os::no_handle) return true;
    if (foreign_handle_.clear()) done.interrupt();
    return foreign_handle_.listen(ring_);
  }

private:
  static constexpr unsigned entries = 256;

  // `user_data` that is not the address of an operation. A request to cancel has the address of its
  // operation with a bit set that no address has.
  static constexpr std::uint64_t wake_up = 1, cancel_bit = 2;

  using record = detail::uring_socket;

  bool start_other(operation& op) noexcept {
    if (op.action == action::connect && !detail::room_for_peer(op)) return true;
    if (op.action != action::accept && detail::first_in_line(op.target->queue_of(op))) return false;
    if (detail::by_hand(op) && detail::send_now(op)) return true;
    if (op.is_retry() && os::run_retry(op)) return true;
    if (detail::receive_at_once(op, *pool_)) return true;
    submit(op);
    hand_over();
    return false;
  }

  [[nodiscard]] bool few_completions() const noexcept { return Shared || reaped_ <= 1; }

  // ---- submissions

  void submit_cancel(operation& op) noexcept {
    os::uring::submission& s = entry(os::uring::op_async_cancel, -1, address_of(op) | cancel_bit);
    s.addr = address_of(op);
    ++in_flight_;
    op.more = true;
    hand_over();
  }

  static std::uint64_t address_of(operation& op) noexcept {
    return reinterpret_cast<std::uintptr_t>(&op);
  }

  os::uring::submission& entry(std::uint8_t opcode, int fd, std::uint64_t user_data) noexcept {
    if (ring_.full()) make_room();
    os::uring::submission& s = ring_.next();
    s.opcode = opcode;
    s.fd = fd;
    s.user_data = user_data;
    return s;
  }
  ROUSE_NOINLINE void make_room() noexcept {
    while (ring_.full()) {
      (void)own_by_this_thread();
      ring_.submit();
    }
  }

  void request_recv(operation& op) noexcept {
    request_move(op, os::uring::op_recv, os::recv_flags(op.target->type));
  }
  void request_send(operation& op) noexcept { request_move(op, os::uring::op_send, MSG_NOSIGNAL); }
  void request_move(operation& op, std::uint8_t opcode, int flags) noexcept {
    ++in_flight_;
    detail::fill_move(entry(opcode, static_cast<int>(op.target->native), address_of(op)), op,
                      flags);
  }

  /// @param offer  a receive may take one of the offered buffers.
  /// @param goes_on  a poll reports each change until it is cancelled.
  void submit(operation& op, bool offer = true, bool goes_on = false) noexcept {
    if (detail::moves_bytes(op))
      return op.action == action::recv ? request_recv(op) : request_send(op);
    ++in_flight_;
    auto& r = static_cast<record&>(*op.target);
    const bool multishot = goes_on && knows_multishot_polls();
    os::uring::submission& s =
        entry(detail::opcode_of(op.action), static_cast<int>(r.native), address_of(op));
    if (detail::by_hand(op)) return detail::fill_poll(s, action::when_writable, multishot);
    switch (op.action) {
    case action::accept:
      s.op_flags = SOCK_CLOEXEC;
      return;
    case action::connect:
      *r.peer = os::socket_address(*op.peer);
      return detail::fill_connect(s, *r.peer);
    case action::recv_from:
    case action::send_to:
      return detail::fill_message(s, op);
    case action::receive:
      if (!offer || r.streams || !buffers_.available(ring_, *pool_))
        return detail::fill_poll(s, action::when_readable, multishot);
      s.flags = os::uring::select_buffer;
      s.op_flags = static_cast<std::uint32_t>(os::recv_flags(r.type));
      op.size = detail::buffer_pool::room;
      return;
    default:
      return detail::fill_poll(s, op.action, multishot);
    }
  }

  // With one thread, entries are submitted in the turn of the loop. If any thread may call, the
  // loop may be asleep, and they are submitted at once.
  void hand_over() noexcept {
    if constexpr (Shared) ring_.submit();
  }

  // Since Linux 5.13; the flag that is tested came with 5.18.
  [[nodiscard]] bool knows_multishot_polls() const noexcept {
    return (ring_.flags() & os::uring::submit_all) != 0;
  }

  void listen_for_wake_up() noexcept {
    listening_ = true;
    detail::fill_wake_up(entry(os::uring::op_poll_add, waker_.get(), wake_up),
                         knows_multishot_polls());
  }

  // ---- completions

  void reap(const os::uring::completion& c, completions& done) noexcept {
    if (c.user_data & (wake_up | cancel_bit)) return reap_rare(c, done);
    auto& op = *reinterpret_cast<operation*>(static_cast<std::uintptr_t>(c.user_data));
    if (c.res < 0 || !(detail::moves_bytes(op) || took_buffer(op, c))) return reap_rare(c, done);
    --in_flight_;
    op.bytes = static_cast<std::size_t>(c.res);
    if (op.bytes - 1 >= op.size) // none at all, or more than there was room for
      explain(op);
    finish(op, done);
  }
  static void explain(operation& op) noexcept {
    if (op.inward()) os::explain_received(op);
  }
  // Whether it is a receive that an offered buffer was taken for.
  bool took_buffer(operation& op, const os::uring::completion& c) noexcept {
    if (!os::uring::took_buffer(c.flags)) return false;
    op.data = buffers_.take(os::uring::buffer_id(c.flags));
    op.bytes = c.res > 0 ? static_cast<std::size_t>(c.res) : 0;
    detail::note_fill(op);
    return true;
  }

  ROUSE_COLD void reap_rare(const os::uring::completion& c, completions& done) noexcept {
    if (c.user_data == wake_up) {
      listening_ = os::uring::follows_more(c.flags);
      done.interrupt();
      return;
    }
    auto& op =
        *reinterpret_cast<operation*>(static_cast<std::uintptr_t>(c.user_data & ~cancel_bit));
    const bool goes_on = os::uring::follows_more(c.flags); // a poll
    if (!goes_on) --in_flight_;
    if (c.user_data & cancel_bit) return reap_cancel(op, c.res, done);
    if (goes_on || op.has_result) return reap_poll(op, goes_on, done);
    (void)took_buffer(op, c);
    if (c.res >= 0)
      succeed(op, c.res, done);
    else
      fail(op, -c.res, done);
  }

  // A multishot poll has reported: the socket may be ready, or the poll has ended.
  void reap_poll(operation& op, bool goes_on, completions& done) noexcept {
    if (op.has_result) {
      if (goes_on) return;
      op.has_result = op.more;
      finish(op, done);
    } else if (try_now(op)) {
      op.has_result = true;
      if (!op.cancelled()) submit_cancel(op);
    }
  }

  // The kernel does not find a request that it is about to retry. The cancel is repeated until
  // the request has ended or is found.
  void reap_cancel(operation& op, int result, completions& done) noexcept {
    const bool completed = !std::exchange(op.more, false);
    if (completed) {
      op.has_result = false;
      finish(op, done);
    } else if (os::uring::found_nothing(-result)) {
      submit_cancel(op);
    }
  }

  void succeed(operation& op, int result, completions& done) noexcept {
    op.error = {};
    if (detail::by_hand(op)) {
      if (try_or_poll(op)) finish(op, done);
      return;
    }
    switch (op.action) {
    case action::receive:
      if (!op.data && result != 0) { // no buffer was taken: a poll has seen bytes
        if (!try_or_poll(op)) return;
        break;
      }
      [[fallthrough]];
    case action::send_to:
      op.bytes = static_cast<std::size_t>(result);
      explain(op);
      break;
    case action::recv_from:
      op.bytes = static_cast<std::size_t>(result);
      os::explain_received(op);
      break;
    case action::connect:
      op.target->unconnected = false;
      break;
    case action::accept:
      op.handle = result;
      break;
    case action::when_readable:
    case action::when_writable:
    case action::when_urgent:
      if (!try_or_poll(op)) return;
      break;
    default:
      break;
    }
    finish(op, done);
  }

  // A poll has reported the socket ready. False: it is not.
  bool try_now(operation& op) noexcept {
    const bool done = op.is_retry() ? os::run_retry(op)
                      : detail::by_hand(op)
                          ? detail::send_now(op)
                          : detail::lend(op, *pool_, [&] { return os::try_recv(op); });
    if (done || os::receives_no_more(op)) return true;
    if (op.cancelled()) op.error = std::errc::operation_canceled;
    return op.cancelled();
  }
  // The same after a poll has ended. If the socket is not ready, another poll begins, which goes on
  // and reports each change: an event that no retry can clear (a message in the socket's error
  // queue) would otherwise end one poll after another.
  bool try_or_poll(operation& op) noexcept {
    if (try_now(op)) return true;
    submit(op, false, true);
    return false;
  }

  void fail(operation& op, int number, completions& done) noexcept {
    // More buffers are ready to be offered, or it waits without one.
    const bool none_left = op.action == action::receive && os::uring::lacked_buffer(number);
    const bool cut_off = none_left || os::uring::was_cut_off(number);
    if (cut_off && !op.cancelled()) { // not cancelled: once more
      submit(op, !none_left || buffers_.add(*pool_));
    } else {
      op.error = cut_off ? failure(std::errc::operation_canceled) : failure::from_os(number);
      op.bytes = 0;
      if (op.action == action::connect)
        op.target->unconnected = number != EISCONN;
      else
        os::explain_unconnected(op);
      finish(op, done);
    }
  }

  // A cancelled operation completes only when the cancel has completed too: until then the kernel
  // may look for its address.
  void finish(operation& op, completions& done) noexcept {
    if (op.more) {
      op.more = false;
      return;
    }
    if (op.accompanied()) return finish_first(op, done);
    done.add(op, op.error, op.bytes);
  }
  // Others are queued on the same socket. The next one is submitted, unless they are accepts, which
  // are in the kernel already.
  void finish_first(operation& op, completions& done) noexcept {
    auto& queue = op.target->queue_of(op);
    const bool next = op.action != action::accept;
    done.add(op, op.error, op.bytes);
    if (operation* const first = next ? detail::first_in_line(queue) : nullptr)
      submit(static_cast<operation&>(*first));
  }

  // False: there is no ring; this is the copy in a forked child.
  bool own_by_this_thread() noexcept { return owner_.is_this_thread(ring_) || change_owner(); }
  ROUSE_COLD bool change_owner() noexcept {
    if (ring_.get() < 0) return false;
    if (owner_.change(ring_, in_flight_ != 0, entries)) {
      buffers_.take_back(); // the other ring had them
      listening_ = false;
    }
    return true;
  }

  detail::buffer_pool* pool_ = nullptr;
  os::uring::ring ring_;
  os::waker_fd waker_;
  os::uring::foreign_handle foreign_handle_;
  detail::offered_buffers buffers_; // after ring_, which has to go after them
  std::size_t in_flight_ = 0;
  std::uint32_t reaped_ = 0; // completions in the last turn
  bool listening_ = false;
  detail::ring_owner<Shared> owner_;
};

template <class Threading = one_thread>
using basic_io_uring_engine = basic_engine<io_uring_driver<Threading::shared>, Threading>;
using io_uring_engine = basic_io_uring_engine<>;

}} // namespace rouse::ROUSE_ABI
#endif

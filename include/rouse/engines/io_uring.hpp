// The engine on io_uring: the kernel is given the operation itself, and one system call a turn
// submits, waits and harvests.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/detail/buffer_pool.hpp>
#include <rouse/engines/basic_engine.hpp>
#include <rouse/os/linux/io_uring.hpp>
#include <rouse/os/linux/poll.hpp>
#include <rouse/os/socket.hpp>

#if ROUSE_LINUX
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {

/// Completion I/O as Linux has it (5.11 and later).
///
/// No request outlives the call that made it. A multishot recv or accept would save its share of a
/// submission, but take bytes and connections that nobody has asked for yet: `release()`, the
/// system's own calls on the handle, and a server that pauses could not give them back.
///
/// Cost of a call: one entry in the submission queue; its share of the one io_uring_enter(2) that a
/// turn of the loop makes; of a send where little is ready one send(2). Source: io_uring(7),
/// io_uring_setup(2), io_uring_enter(2).
template <class Threading = one_thread>
class basic_io_uring_engine final : public basic_engine<Threading> {
  using base = basic_engine<Threading>;

public:
  using core = base;
  using typename base::lock_type;
  using typename base::operation;
  using typename base::socket_state;

  /// Null, with the reason in `why`, where the kernel refuses (EPERM and ENOSYS in containers,
  /// ENOMEM, a kernel before 5.11).
  /// @param forbidden  setup flags to do without, as an older kernel would.
  [[nodiscard]] static std::unique_ptr<core> make(failure& why, std::uint32_t forbidden = 0) {
    auto engine = std::unique_ptr<basic_io_uring_engine>(new basic_io_uring_engine);
    engine->forbidden_ = forbidden;
    why = engine->start();
    if (why) return nullptr;
    engine->describe();
    return engine;
  }

  ~basic_io_uring_engine() override {
    take_buffers_back();
    this->drop_everything();
  }

  ROUSE_HOT std::size_t turn(clock::time_point until) noexcept override {
    lock_type lock(this->mutex_);
    take(this->begin_turn(until, lock), lock);
    return this->end_turn(lock);
  }

private:
  static constexpr unsigned entries = 256;
  static constexpr std::uint32_t wanted =
      os::uring::clamp | os::uring::cq_size | os::uring::submit_all |
      (Threading::shared ? 0
                         : os::uring::single_issuer | os::uring::defer_taskrun |
                               os::uring::no_sqarray | os::uring::disabled);

  // What `user_data` says where it is not the address of an operation; a cancel has the address of
  // the operation that it is about, with a bit set that no address has.
  static constexpr std::uint64_t wake_up = 1, cancel_bit = 2;

  struct record final : socket_state {
    // connect: read by the kernel when the entry is submitted
    std::unique_ptr<os::socket_address> peer;
    bool sends_by_hand = false; // by send(2) and a poll, where the kernel's own way loses bytes
  };

  basic_io_uring_engine() : base(true) {}

  failure start() noexcept {
    const failure why = ring_.create(entries, wanted, forbidden_);
    return why ? why : waker_.create();
  }
  failure start_anew(bool again) noexcept override {
    ring_ = {};
    waker_ = {};
    foreign_handle_ = {};
    buffers_ = {};
    owner_ = this->bound_to_ = nullptr;
    in_flight_ = 0;
    return again ? start() : failure();
  }

  void describe() {
    const auto has = [&](std::uint32_t flag) { return (ring_.flags() & flag) != 0; };
    this->report(has(os::uring::defer_taskrun)  ? "io_uring (single issuer, deferred task work)"
                 : has(os::uring::coop_taskrun) ? "io_uring (cooperative task work)"
                                                : "io_uring");
  }

  socket_state* make_record() noexcept override { return new (std::nothrow) record; }
  failure attach(socket_state& d) noexcept override {
    static_cast<record&>(d).sends_by_hand = os::uring::loses_datagrams(d.family, d.type);
    return {};
  }
  void detach(socket_state&, bool) noexcept override {}

  // Of several recvs (or sends) on a socket the kernel promises no order: it is given one at a
  // time, the others queue up.
  //
  // A send is nearly always done at once. Where the last turn brought one answer at most, or where
  // each entry costs a system call of its own, send(2) is cheaper than the ring; where many are
  // ready, they share the turn's one call.
  ROUSE_HOT bool submit_recv(operation& op) noexcept override {
    auto& queue = op.target->inbound;
    return this->submit_by(op, queue, [&] {
      if (first_in_line(queue)) [[unlikely]]
        return false;
      ask_to_recv(op);
      hand_over();
      return false;
    });
  }
  ROUSE_HOT bool submit_send(operation& op) noexcept override {
    if (by_hand(op)) [[unlikely]]
      return submit_other(op);
    auto& queue = op.target->outbound;
    return this->submit_by(op, queue, [&] {
      if (first_in_line(queue)) [[unlikely]]
        return false;
      if (alone() && os::try_send(op)) return true;
      ask_to_send(op);
      hand_over();
      return false;
    });
  }
  bool submit_other(operation& op) noexcept override {
    return this->submit_other_by(op, [&](auto&) { return begin_other(op); });
  }

  bool begin_other(operation& op) noexcept {
    if (op.action == action::connect && !room_for_peer(op)) return true;
    if (op.action != action::accept && first_in_line(op.target->queue_of(op))) return false;
    if (by_hand(op) && send_now(op)) return true;
    if (op.is_retry() && os::run_retry(op)) return true;
    ask(op);
    hand_over();
    return false;
  }

  [[nodiscard]] bool alone() const noexcept { return Threading::shared || brought_ <= 1; }

  // Whether it is a plain recv or send.
  static bool moves_bytes(const operation& op) noexcept {
    return op.action == action::recv || (op.action == action::send && !by_hand(op));
  }
  static bool by_hand(const operation& op) noexcept {
    return static_cast<const record&>(*op.target).sends_by_hand &&
           (op.action == action::send || op.action == action::send_to);
  }
  static bool send_now(operation& op) noexcept {
    const auto h = static_cast<native_handle_type>(op.target->native);
    return op.action == action::send ? os::try_send(op) : os::try_send_to(h, op);
  }

  // False: memory is short.
  static bool room_for_peer(operation& op) noexcept {
    auto& peer = static_cast<record&>(*op.target).peer;
    if (!peer) peer.reset(new (std::nothrow) os::socket_address);
    if (!peer) op.error = std::errc::not_enough_memory;
    return peer != nullptr;
  }

  // Whose turn it is on a socket: it alone is with the kernel. Accepts wait for no turn, and
  // nothing waits for them.
  ROUSE_ALWAYS_INLINE static rouse::operation*
  first_in_line(detail::list<rouse::operation>& queue) noexcept {
    return queue.empty() ? nullptr : first_of(queue);
  }
  ROUSE_NOINLINE static rouse::operation* first_of(detail::list<rouse::operation>& queue) noexcept {
    if (queue.front().action != action::accept) return &queue.front();
    rouse::operation* first = nullptr;
    queue.for_each([&](rouse::operation& op) {
      if (!first && op.action != action::accept) first = &op;
    });
    return first;
  }

  // The entry goes into the queue after that of `op` and before that of any operation that comes to
  // the same address later, and the kernel takes them in order: it can meet only the one that it
  // was meant for (O4).
  void interrupt(operation& op) noexcept override {
    const bool queued =
        op.action != action::accept && first_in_line(op.target->queue_of(op)) != &op;
    if (queued) return this->finish(op, std::errc::operation_canceled, 0);
    if (!op.has_result) ask_to_cancel(op);
  }
  void ask_to_cancel(operation& op) noexcept {
    os::uring::submission& s = entry(os::uring::op_async_cancel, -1, address_of(op) | cancel_bit);
    s.addr = address_of(op);
    ++in_flight_;
    op.more = true;
    hand_over();
  }

  void harvest(clock::time_point until, lock_type& lock) noexcept override { take(until, lock); }
  ROUSE_ALWAYS_INLINE void take(clock::time_point until, lock_type& lock) noexcept {
    if (!own_by_this_thread()) [[unlikely]]
      return;
    // A turn that does not wait needs no wake-up: inside a foreign loop its handle has the waker.
    if (!listening_ && until != (clock::time_point::min)()) [[unlikely]]
      listen_for_wake_up();
    const bool wait = until != (clock::time_point::min)() && ring_.completed() == 0;
    if constexpr (Threading::shared) {
      ring_.submit();
      lock.unlock();
      if (wait) ring_.wait(until);
      lock.lock();
      brought_ = ring_.completed();
    } else {
      if (wait)
        ring_.submit_and_wait(until);
      else
        ring_.submit();
      brought_ = ring_.fetch_rest();
    }
    ring_.drain([&](const os::uring::completion& c) { answer(c); });
  }

  void kick() noexcept override { waker_.signal(); }

  // Kernels before 5.18 register an eventfd only once all requests have ended.
  [[nodiscard]] native_handle_type wait_handle() noexcept override {
    const bool possible = !this->inert() && (ring_.flags() & os::uring::submit_all);
    return possible ? foreign_handle_.open(waker_) : os::no_handle;
  }
  bool harvest_outside(lock_type& lock) noexcept override {
    take((clock::time_point::min)(), lock);
    if (wait_handle() == os::no_handle) return true;
    if (foreign_handle_.clear()) this->kicked();
    return foreign_handle_.listen(ring_);
  }

  // ---- submissions

  static std::uint64_t address_of(operation& op) noexcept {
    return reinterpret_cast<std::uintptr_t>(&op);
  }

  ROUSE_ALWAYS_INLINE os::uring::submission& entry(std::uint8_t opcode, int fd,
                                                   std::uint64_t user_data) noexcept {
    if (ring_.full()) [[unlikely]]
      make_room();
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

  ROUSE_ALWAYS_INLINE void ask_to_recv(operation& op) noexcept {
    ask_to_move(op, os::uring::op_recv, os::recv_flags(op.target->type));
  }
  ROUSE_ALWAYS_INLINE void ask_to_send(operation& op) noexcept {
    ask_to_move(op, os::uring::op_send, MSG_NOSIGNAL);
  }
  ROUSE_ALWAYS_INLINE void ask_to_move(operation& op, std::uint8_t opcode, int flags) noexcept {
    ++in_flight_;
    os::uring::submission& s = entry(opcode, static_cast<int>(op.target->native), address_of(op));
    s.addr = reinterpret_cast<std::uintptr_t>(op.data);
    const std::size_t size = op.size < os::largest_request ? op.size : os::largest_request;
    s.len = static_cast<std::uint32_t>(size);
    s.op_flags = static_cast<std::uint32_t>(flags);
  }

  /// @param goes_on  a poll is to tell of each change until it is cancelled.
  ROUSE_NOINLINE void ask(operation& op, bool with_buffer = true, bool goes_on = false) noexcept {
    if (moves_bytes(op)) return op.action == action::recv ? ask_to_recv(op) : ask_to_send(op);
    ++in_flight_;
    auto& r = static_cast<record&>(*op.target);
    constexpr std::uint8_t opcodes[] = {
        os::uring::op_recv,     os::uring::op_recv,    os::uring::op_recvmsg, os::uring::op_accept,
        os::uring::op_poll_add, os::uring::op_send,    os::uring::op_sendmsg, os::uring::op_connect,
        os::uring::op_poll_add, os::uring::op_poll_add};
    os::uring::submission& s = entry(opcodes[static_cast<std::size_t>(op.action)],
                                     static_cast<int>(r.native), address_of(op));
    if (goes_on && knows_multishot_polls()) s.len = os::uring::poll_multishot;
    if (by_hand(op)) [[unlikely]] {
      s.opcode = os::uring::op_poll_add;
      s.op_flags = os::uring::poll_events(os::readiness(action::when_writable));
      return;
    }
    switch (op.action) {
    case action::accept:
      s.op_flags = SOCK_CLOEXEC;
      break;
    case action::connect:
      *r.peer = os::socket_address(*op.peer);
      s.addr = reinterpret_cast<std::uintptr_t>(&r.peer->any);
      s.off = r.peer->length;
      break;
    case action::receive:
      if (with_buffer && (offered_count_ != 0 || offer_buffers())) {
        s.flags = os::uring::select_buffer;
        s.op_flags = static_cast<std::uint32_t>(os::recv_flags(r.type));
        op.size = base::buffer_size;
      } else {
        s.opcode = os::uring::op_poll_add;
        s.op_flags = os::uring::poll_events(os::readiness(action::when_readable));
      }
      break;
    case action::when_readable:
    case action::when_writable:
    case action::when_urgent:
      s.op_flags = os::uring::poll_events(os::readiness(op.action));
      break;
    case action::recv_from:
    case action::send_to:
      s.addr = reinterpret_cast<std::uintptr_t>(&static_cast<os::message*>(op.data)->header());
      s.len = 1;
      s.op_flags = static_cast<std::uint32_t>(op.action == action::send_to ? MSG_NOSIGNAL
                                                                           : os::message_flags);
      break;
    default:
      break;
    }
  }

  // One thread's entries wait for the turn of the loop. Where any thread may call, the loop may be
  // asleep: they go at once.
  void hand_over() noexcept {
    if constexpr (Threading::shared) ring_.submit();
  }

  // Since Linux 5.13; the flag is of 5.18.
  [[nodiscard]] bool knows_multishot_polls() const noexcept {
    return (ring_.flags() & os::uring::submit_all) != 0;
  }

  void listen_for_wake_up() noexcept {
    listening_ = true;
    if (knows_multishot_polls()) {
      os::uring::submission& s = entry(os::uring::op_poll_add, waker_.get(), wake_up);
      s.op_flags = os::uring::poll_events(os::readiness(action::when_readable));
      s.len = os::uring::poll_multishot;
    } else {
      os::uring::submission& s = entry(os::uring::op_read, waker_.get(), wake_up);
      static std::uint64_t
          unread; // the count that the read gives: nobody looks, and it outlives every ring
      s.addr = reinterpret_cast<std::uintptr_t>(&unread);
      s.len = sizeof unread;
    }
  }

  // ---- completions

  ROUSE_ALWAYS_INLINE void answer(const os::uring::completion& c) noexcept {
    if (c.user_data & (wake_up | cancel_bit)) [[unlikely]]
      return answer_rare(c);
    auto& op = *reinterpret_cast<operation*>(static_cast<std::uintptr_t>(c.user_data));
    if (c.res < 0 || !moves_bytes(op)) [[unlikely]]
      return answer_rare(c);
    --in_flight_;
    op.bytes = static_cast<std::size_t>(c.res);
    if (op.bytes - 1 >= op.size) [[unlikely]] // none at all, or more than there was room for
      explain(op);
    conclude(op);
  }
  ROUSE_COLD static void explain(operation& op) noexcept {
    if (op.inward()) os::explain_received(op);
  }

  ROUSE_COLD void answer_rare(const os::uring::completion& c) noexcept {
    if (c.user_data == wake_up) {
      listening_ = os::uring::follows_more(c.flags);
      this->kicked();
      return;
    }
    auto& op =
        *reinterpret_cast<operation*>(static_cast<std::uintptr_t>(c.user_data & ~cancel_bit));
    const bool goes_on = os::uring::follows_more(c.flags); // a poll
    if (!goes_on) --in_flight_;
    if (c.user_data & cancel_bit) [[unlikely]]
      return answer_cancel(op, c.res);
    if (goes_on || op.has_result) return answer_poll(op, goes_on);
    if (os::uring::took_buffer(c.flags)) op.data = take_offered(os::uring::buffer_id(c.flags));
    if (c.res >= 0)
      succeed(op, c.res);
    else
      fail(op, -c.res);
  }

  // Of a poll that goes on until it is cancelled: the socket may be ready, or the poll is over.
  ROUSE_COLD void answer_poll(operation& op, bool goes_on) noexcept {
    if (op.has_result) {
      if (goes_on) return;
      op.has_result = op.more;
      conclude(op);
    } else if (try_now(op)) {
      op.has_result = true;
      if (!op.cancel_reason) ask_to_cancel(op);
    }
  }

  // The kernel does not find a request that it is about to try once more: it is asked again, until
  // the request has ended or been found.
  ROUSE_COLD void answer_cancel(operation& op, int result) noexcept {
    const bool completed = !std::exchange(op.more, false);
    if (completed) {
      op.has_result = false;
      conclude(op);
    } else if (os::uring::found_nothing(-result)) {
      ask_to_cancel(op);
    }
  }

  void succeed(operation& op, int result) noexcept {
    op.error = {};
    if (by_hand(op)) [[unlikely]] {
      if (try_or_poll(op)) conclude(op);
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
      this->answer_accept(op, result);
      break;
    case action::when_readable:
    case action::when_writable:
    case action::when_urgent:
      if (!try_or_poll(op)) return;
      break;
    default:
      break;
    }
    conclude(op);
  }

  // A poll has found the socket ready. False: it is not, or not any more.
  bool try_now(operation& op) noexcept {
    const bool done = op.is_retry() ? os::run_retry(op)
                      : by_hand(op) ? send_now(op)
                                    : this->lend(op, [&] { return os::try_recv(op); });
    if (done || os::receives_no_more(op)) return true;
    if (op.cancel_reason) op.error = std::errc::operation_canceled;
    return static_cast<bool>(op.cancel_reason);
  }
  // The same of a poll that is over: where it was wrong, another one begins. That one goes on, and
  // tells of each change: what was reported and is not so for the attempt (a message in the
  // socket's error queue) would end one poll after the other.
  bool try_or_poll(operation& op) noexcept {
    if (try_now(op)) return true;
    ask(op, false, true);
    return false;
  }

  void fail(operation& op, int number) noexcept {
    // The offered buffers may all be taken: then it waits without one.
    const bool none_left = op.action == action::receive && os::uring::lacked_buffer(number);
    const bool cut_off = none_left || os::uring::was_cut_off(number);
    if (cut_off && !op.cancel_reason) { // nobody asked for it: once more
      ask(op, !none_left);
    } else {
      op.error = cut_off ? failure(std::errc::operation_canceled) : failure::from_os(number);
      op.bytes = 0;
      if (op.action == action::connect)
        op.target->unconnected = number != EISCONN;
      else
        os::explain_unconnected(op);
      conclude(op);
    }
  }

  // An operation is told when its cancel is answered too: until then the kernel may be about to
  // look for its address.
  ROUSE_ALWAYS_INLINE void conclude(operation& op) noexcept {
    if (op.more) [[unlikely]] {
      op.more = false;
      return;
    }
    if (op.accompanied()) [[unlikely]]
      return conclude_first(op);
    this->finish(op, op.error, op.bytes);
  }
  // Others wait in the same queue: for their turn, but for accepts.
  ROUSE_NOINLINE void conclude_first(operation& op) noexcept {
    auto& queue = op.target->queue_of(op);
    const bool next = op.action != action::accept;
    this->finish(op, op.error, op.bytes);
    if (rouse::operation* const first = next ? first_in_line(queue) : nullptr)
      ask(static_cast<operation&>(*first));
  }

  // ---- the buffers that the kernel may take for `receive`

  using buffer_ring = os::uring::buffer_ring;

  // Fills up what is vacant. False: there is none, or this kernel takes none.
  ROUSE_COLD bool offer_buffers() noexcept {
    if (!offers_begun_) {
      offers_begun_ = true;
      takes_buffers_ = !buffers_.create(ring_.get());
    }
    for (std::uint16_t i = 0; takes_buffers_ && i != buffer_ring::entries; ++i) {
      if (!offered_[i]) offer(i);
    }
    return offered_count_ != 0;
  }

  void offer(std::uint16_t id) noexcept {
    offered_[id] = this->take_buffer();
    if (!offered_[id]) return; // memory is short: a vacancy
    buffers_.offer(id, offered_[id], base::buffer_size);
    ++offered_count_;
  }

  // The kernel has used one; another takes its place.
  std::byte* take_offered(std::uint16_t id) noexcept {
    std::byte* const used = offered_[id];
    --offered_count_;
    offer(id);
    return used;
  }

  // With nothing in flight.
  void take_buffers_back() noexcept {
    for (std::byte*& b : offered_) {
      if (b) detail::buffer_pool::give_back(std::exchange(b, nullptr));
    }
    buffers_ = {};
    offered_count_ = 0;
    offers_begun_ = false;
  }

  // ---- threads

  // A ring with a single issuer belongs to the thread that enabled it; what is in flight there no
  // other thread can reach, not even to cancel it. So a scheduler that is run by the thread that
  // made it gets such a ring, which is the fastest; one that is first run elsewhere, and is likely
  // to be destroyed by its maker, an ordinary one, which serves every thread.
  //
  // False: the ring is the parent's of this process.
  ROUSE_ALWAYS_INLINE bool own_by_this_thread() noexcept {
    if constexpr (Threading::shared) return !this->inert();
    return owner_ == detail::this_thread() || change_owner();
  }
  ROUSE_COLD bool change_owner() noexcept {
    if (this->inert()) return false;
    const void* const me = detail::this_thread();
    if (!this->usable_here()) {
      std::fputs(
          "rouse: an io_uring engine with operations in flight was taken to another thread\n",
          stderr);
      std::abort();
    }
    if (me != maker_ && (ring_.flags() & os::uring::single_issuer)) make_ordinary();
    if (!owner_) ring_.enable();
    owner_ = me;
    this->bound_to_ = (ring_.flags() & os::uring::single_issuer) ? me : nullptr;
    return true;
  }
  bool in_flight() const noexcept override { return in_flight_ != 0; }

  void make_ordinary() noexcept {
    os::uring::ring ordinary;
    if (ordinary.create(entries, os::uring::clamp | os::uring::cq_size | os::uring::submit_all))
      std::abort();
    ordinary.take_over(ring_);
    std::swap(ring_, ordinary);
    take_buffers_back(); // they were known to the other ring
    listening_ = false;
    describe();
  }

  std::uint32_t forbidden_ = 0; // setup flags
  os::uring::ring ring_;
  os::waker_fd waker_;
  os::uring::foreign_handle foreign_handle_;
  buffer_ring buffers_;
  std::byte* offered_[buffer_ring::entries] = {};
  unsigned offered_count_ = 0;
  bool offers_begun_ = false;
  bool takes_buffers_ = false;
  std::size_t in_flight_ = 0;
  std::uint32_t brought_ = 0; // answers in the last turn
  bool listening_ = false;
  const void* const maker_ = detail::this_thread();
  const void* owner_ = nullptr; // whose ring it is
};

using io_uring_engine = basic_io_uring_engine<one_thread>;

}} // namespace rouse::ROUSE_ABI
#endif

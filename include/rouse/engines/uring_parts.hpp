// Parts of the driver for io_uring: the record of a socket, entries of the submission queue,
// offered buffers, the thread that uses a ring.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/detail/buffer_pool.hpp>
#include <rouse/detail/chrono.hpp>
#include <rouse/detail/intrusive_list.hpp>
#include <rouse/detail/threading.hpp>
#include <rouse/engines/lend.hpp>
#include <rouse/os/linux/buffer_ring.hpp>
#include <rouse/os/linux/io_uring.hpp>
#include <rouse/os/linux/poll.hpp>
#include <rouse/os/socket.hpp>

#if ROUSE_LINUX
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace detail {

template <bool Shared>
inline constexpr std::uint32_t setup_flags =
    os::uring::clamp | os::uring::cq_size | os::uring::submit_all |
    (Shared ? 0
            : os::uring::single_issuer | os::uring::defer_taskrun | os::uring::no_sqarray |
                  os::uring::disabled);

/// The name of the driver, with the flags that the kernel has granted.
inline std::string describe(const os::uring::ring& ring) {
  const auto has = [&](std::uint32_t flag) { return (ring.flags() & flag) != 0; };
  return has(os::uring::defer_taskrun)  ? "io_uring (single issuer, deferred task work)"
         : has(os::uring::coop_taskrun) ? "io_uring (cooperative task work)"
                                        : "io_uring";
}

/// The record of a socket.
struct uring_socket final : socket_state {
  bool sends_by_hand = false; // by send(2) and a poll: the kernel's own way loses bytes
  std::unique_ptr<os::socket_address> peer; // of a connect; the kernel reads it on submission
};

inline bool by_hand(const operation& op) noexcept {
  return static_cast<const uring_socket&>(*op.target).sends_by_hand &&
         (op.action == action::send || op.action == action::send_to);
}
/// Whether it is a plain recv or send.
inline bool moves_bytes(const operation& op) noexcept {
  return op.action == action::recv || (op.action == action::send && !by_hand(op));
}
inline bool send_now(operation& op) noexcept {
  const auto h = static_cast<native_handle_type>(op.target->native);
  return op.action == action::send ? os::try_send(op) : os::try_send_to(h, op);
}
/// For a stream that is likely to fill a large buffer: recv(2) then costs little beside the copy,
/// and the ring is offered small buffers only.
inline bool receive_at_once(operation& op, buffer_pool& pool) noexcept {
  return op.action == action::receive && op.target->streams &&
         lend(op, pool, [&] { return os::try_recv(op); });
}
/// False: memory is short.
inline bool room_for_peer(operation& op) noexcept {
  auto& peer = static_cast<uring_socket&>(*op.target).peer;
  if (!peer) peer.reset(new (std::nothrow) os::socket_address);
  if (!peer) op.error = std::errc::not_enough_memory;
  return peer != nullptr;
}

/// The operation of a socket's queue that is in the kernel; the others wait for it. Accepts do not
/// wait, and nothing waits for them. Null: there is none.
ROUSE_NOINLINE inline operation* first_of(list<operation>& queue) noexcept {
  if (queue.front().action != action::accept) return &queue.front();
  operation* first = nullptr;
  queue.for_each([&](operation& op) {
    if (!first && op.action != action::accept) first = &op;
  });
  return first;
}
inline operation* first_in_line(list<operation>& queue) noexcept {
  return queue.empty() ? nullptr : first_of(queue);
}

inline std::uint8_t opcode_of(action a) noexcept {
  switch (a) {
  case action::recv:
  case action::receive:
    return os::uring::op_recv;
  case action::recv_from:
    return os::uring::op_recvmsg;
  case action::accept:
    return os::uring::op_accept;
  case action::send:
    return os::uring::op_send;
  case action::send_to:
    return os::uring::op_sendmsg;
  case action::connect:
    return os::uring::op_connect;
  default:
    return os::uring::op_poll_add;
  }
}

/// A recv or a send of plain bytes.
inline void fill_move(os::uring::submission& s, const operation& op, int flags) noexcept {
  s.addr = reinterpret_cast<std::uintptr_t>(op.data);
  const std::size_t size = op.size < os::largest_request ? op.size : os::largest_request;
  s.len = static_cast<std::uint32_t>(size);
  s.op_flags = static_cast<std::uint32_t>(flags);
}

inline void fill_message(os::uring::submission& s, const operation& op) noexcept {
  s.addr = reinterpret_cast<std::uintptr_t>(&static_cast<os::message*>(op.data)->header());
  s.len = 1;
  s.op_flags =
      static_cast<std::uint32_t>(op.action == action::send_to ? MSG_NOSIGNAL : os::message_flags);
}

/// The kernel reads `peer` when the entry is submitted.
inline void fill_connect(os::uring::submission& s, const os::socket_address& peer) noexcept {
  s.addr = reinterpret_cast<std::uintptr_t>(&peer.any);
  s.off = peer.length;
}

/// @param multishot  the poll reports each change until it is cancelled.
inline void fill_poll(os::uring::submission& s, action awaited, bool multishot) noexcept {
  s.opcode = os::uring::op_poll_add;
  s.op_flags = os::uring::poll_events(os::readiness(awaited));
  if (multishot) s.len = os::uring::poll_multishot;
}

/// Reports that the eventfd of the entry was written to.
inline void fill_wake_up(os::uring::submission& s, bool multishot) noexcept {
  if (multishot) return fill_poll(s, action::when_readable, true);
  static std::uint64_t count; // written by the kernel, which is never read; outlives every ring
  s.opcode = os::uring::op_read;
  s.addr = reinterpret_cast<std::uintptr_t>(&count);
  s.len = sizeof count;
}

/// The buffers that the kernel may take for `receive`: of the engine's pool, registered with the
/// ring when first needed. Their number doubles when the kernel runs out of them. Once a second it
/// falls again, to what the turns of that second needed.
class offered_buffers {
  using buffer_ring = os::uring::buffer_ring;
  static constexpr unsigned least = 32, most = buffer_ring::entries;

public:
  offered_buffers() noexcept = default;
  offered_buffers(const offered_buffers&) = delete;
  offered_buffers& operator=(const offered_buffers&) = delete;
  ~offered_buffers() { take_back(); }

  /// Whether the kernel has some. False: memory is short, or this kernel takes none.
  [[nodiscard]] bool available(os::uring::ring& ring, buffer_pool& pool) noexcept {
    if (count_ != 0) return true;
    if (!begun_) {
      begun_ = true;
      if (!ring_.create(ring.get())) wanted_ = least;
    }
    offer(pool);
    return count_ != 0;
  }

  /// The kernel has filled one.
  [[nodiscard]] std::byte* take(std::uint16_t id) noexcept {
    --count_;
    return static_cast<std::byte*>(ring_.take(id));
  }
  /// Before a wait, others take the places of those that were filled. Not sooner: the buffers that
  /// have come back meanwhile are in the cache.
  void replace_taken(buffer_pool& pool) noexcept {
    added_ = false;
    if (count_ >= wanted_) return;
    most_taken_ = (std::max)(most_taken_, wanted_ - count_);
    offer(pool);
  }

  /// A receive found none. True: there are more now. False: memory is short, or the receive failed
  /// for another reason.
  [[nodiscard]] bool add(buffer_pool& pool) noexcept {
    if (count_ != 0) return added_;
    most_taken_ = wanted_;
    if (!grown()) next_check_ = clock::now() + period;
    resize((std::min)(2 * wanted_, most), pool);
    offer(pool);
    return added_ = count_ != 0;
  }
  [[nodiscard]] bool grown() const noexcept { return wanted_ > least; }
  /// While `grown`: when to call `shrink`.
  [[nodiscard]] clock::time_point next_check() const noexcept { return next_check_; }
  /// @param few  the turn had so few completions that none waits for room in the queue.
  void shrink(const os::uring::ring& ring, buffer_pool& pool, bool few) noexcept {
    const auto now = clock::now();
    if (now < next_check_) return;
    next_check_ = now + period;
    unsigned needed = wanted_;
    while (needed > least && most_taken_ <= needed / 2) needed /= 2;
    most_taken_ = 0;
    resize(needed, pool);
    // If the kernel works only when it is asked to, and each completion has been seen, `count_` is
    // exact.
    const bool exact =
        few && ring.completed() == 0 && (ring.flags() & os::uring::defer_taskrun) != 0;
    for (; exact && count_ > wanted_; --count_)
      buffer_pool::give_back(static_cast<std::byte*>(ring_.withdraw()));
  }

  /// While nothing is in flight.
  void take_back() noexcept {
    for (std::uint16_t id = 0; wanted_ != 0 && id != most; ++id) {
      if (void* const b = ring_.take(id)) buffer_pool::give_back(static_cast<std::byte*>(b));
    }
    ring_ = {};
    count_ = wanted_ = 0;
    begun_ = false;
  }

private:
  static constexpr std::chrono::seconds period{1};

  // What a turn takes is lent twice while its handlers run: to them, and to the kernel.
  void resize(unsigned wanted, buffer_pool& pool) noexcept {
    wanted_ = wanted;
    pool.keep((std::max)(std::size_t{2} * wanted, buffer_pool::kept));
  }
  void offer(buffer_pool& pool) noexcept {
    for (; count_ < wanted_ && ring_.has_room(); ++count_) {
      std::byte* const b = pool.lend();
      if (!b) return; // memory is short: filled later
      ring_.offer(b, buffer_pool::room);
    }
  }

  buffer_ring ring_;
  unsigned count_ = 0; // in the kernel, as far as completions have told
  unsigned wanted_ = 0; // in the kernel; 0 before they are registered
  unsigned most_taken_ = 0; // between two waits, since the last check
  bool begun_ = false;
  bool added_ = false; // since the last wait
  clock::time_point next_check_;
};

/// Which thread uses a ring.
///
/// A ring with a single issuer belongs to the thread that enabled it; no other thread can reach the
/// requests in flight, not even to cancel them. An engine that is run by the thread that created it
/// gets such a ring, which is the fastest. An engine that is first run by another thread is likely
/// to be destroyed by the thread that created it, and gets an ordinary ring, which every thread may
/// use.
template <bool Shared>
class ring_owner {
public:
  [[nodiscard]] bool is_this_thread(os::uring::ring& ring) const noexcept {
    if constexpr (Shared) return ring.get() >= 0;
    return owner_ == this_thread();
  }
  /// Whether it may use a ring that has requests in flight.
  [[nodiscard]] bool allows_this_thread() const noexcept {
    return !bound_to_ || bound_to_ == this_thread();
  }
  /// The calling thread uses the ring from now on. True: the ring was replaced by an ordinary one.
  bool change(os::uring::ring& ring, bool in_flight, unsigned entries) noexcept {
    const void* const me = this_thread();
    if (in_flight && !allows_this_thread()) {
      std::fputs(
          "rouse: an io_uring engine with operations in flight was taken to another thread\n",
          stderr);
      std::abort();
    }
    const bool replace = me != maker_ && (ring.flags() & os::uring::single_issuer);
    if (replace) {
      os::uring::ring ordinary;
      if (ordinary.create(entries, os::uring::clamp | os::uring::cq_size | os::uring::submit_all))
        std::abort();
      ordinary.take_over(ring);
      std::swap(ring, ordinary);
    }
    if (!owner_) ring.enable();
    owner_ = me;
    bound_to_ = (ring.flags() & os::uring::single_issuer) ? me : nullptr;
    return replace;
  }

private:
  const void* const maker_ = this_thread();
  const void* owner_ = nullptr;
  const void* bound_to_ = nullptr; // the thread that requests in flight belong to
};

}}} // namespace rouse::ROUSE_ABI::detail
#endif

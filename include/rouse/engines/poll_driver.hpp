// Completion on top of readiness: a driver for kernels that only say when a socket is ready.
//
// A call is tried at once, with a system call that does not block. If it would block, the operation
// waits in its socket's queue, and is tried again at the next event:
//
//             EAGAIN                                  event
//   try -------------------> readable = false ---------------------> readable = true, try the front
//    |                       (the poll set reports                    of the queue, and so on until
//    | done                  the next edge)                           it is empty or sees EAGAIN
//    v
//   result in op
//
// What the record remembers saves system calls: `readable` and `writable` are false only after an
// EAGAIN (or a short count, which means the same on a stream), and then nothing is tried.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/waiting.hpp>
#include <rouse/detail/buffer_pool.hpp>
#include <rouse/detail/threading.hpp>
#include <rouse/engines/lend.hpp>
#include <rouse/os/socket.hpp>
#include <rouse/os/system_sockets.hpp>
#include <rouse/os/without_signals.hpp>

#if !ROUSE_WINDOWS
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <type_traits>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

template <class Set>
struct interrupts_of {};
template <class Set>
  requires requires { typename Set::interrupts; }
struct interrupts_of<Set> {
  using interrupts = typename Set::interrupts;
};

} // namespace detail

/// @tparam Set  the kernel's poll set (epoll, kqueue):
/// - `open()`, `name`; `wake()` from any thread, which ends the current or the next `wait`;
/// - `watch_edges(h, tag, first)` reports each edge of everything, `watch_bytes(h, tag)` that there
///   is something to read, as long as it is so; both report at once what already holds;
///   `remove(h, keep_open)`;
/// - `wait(events, until)` fills a `Set::event_list` and gives the number of events; of each,
///   `Set::tag_of(e)` (null: `wake` was called) and `Set::events_of(e)`, a combination of
///   `readable`, `writable`, `urgent`, `peer_closed` and `broken` (an error or a hang-up);
/// - `prepare_wait(alone)`, called before, with the engine's lock. `alone`: until `wait` returns,
///   nothing but `wake` is called. Then the set may put off what `watch_edges` does until `wait`,
///   and reports what has failed by `Set::failure_of(e)`;
/// - `generations`: 1 if the set never reports an event of a handle that was removed before; else a
///   power of two: a tag has one of so many numbers, which tells it from that of a removed handle;
/// - optional: `interrupts`, with which threads make direct calls.
///
/// Cost of a call: one recv(2) or send(2) if it can be done at once, one more after a wait; one
/// call of the poll set for the first wait on a socket, and for the first recv that waits because
/// the one before it was filled.
template <class Set>
class poll_driver : public detail::interrupts_of<Set> {
public:
  using operation = rouse::operation;
  using sockets = os::system_sockets;
  static_assert(std::extent_v<typename Set::event_list> <= detail::buffer_pool::kept,
                "each event of a turn may fill a buffer");

  failure open(detail::buffer_pool& buffers) noexcept {
    buffers_ = &buffers;
    return set_.open();
  }
  [[nodiscard]] std::string report() const { return Set::name; }
  [[nodiscard]] bool blocking_handles() const noexcept { return false; }

  [[nodiscard]] socket_state* make_state() noexcept { return new (std::nothrow) record; }

  failure attach(socket_state& s) noexcept {
    record& r = record_of(s);
    r.readable = r.writable = true;
    r.watched = watch::nothing;
    r.settled = r.odd = r.drained = false;
    r.drains = os::is_continuous(r.family, r.type);
    return {};
  }

  /// Not left to close(2), which removes a file from epoll's set only with its last descriptor. If
  /// another one remains (by dup(2), fork(2) or SCM_RIGHTS), the set would go on reporting the file
  /// under a record that belongs to another socket by then, and refuse the same number when it
  /// comes back.
  void detach(socket_state& s, bool keep_open) noexcept {
    record& r = record_of(s);
    if (r.watched != watch::nothing) stop_watching(r, keep_open);
    ++r.generation;
  }

  ROUSE_ALWAYS_INLINE bool start(operation& op) noexcept {
    record& r = record_of(*op.target);
    if (op.action == action::recv) {
      if (r.readable) return try_inbound(r, op) || !await_bytes(r, op);
      return r.watched == watch::nothing && !watch_everything(r, op);
    }
    if (op.action == action::send)
      return (r.writable && try_send(r, op)) || !watch_everything(r, op);
    return start_other(r, op);
  }

  void request_cancel(operation& op, completions& done) noexcept {
    done.add(op, std::errc::operation_canceled, 0);
  }

  template <class Lock>
  ROUSE_ALWAYS_INLINE void wait(clock::time_point until, Lock& lock, completions& done) noexcept {
    typename Set::event_list events;
    set_.prepare_wait(std::is_same_v<Lock, one_thread::lock>);
    lock.unlock();
    const int n = set_.wait(events, until);
    lock.lock();
    for (int i = 0; i < n; ++i) {
      if (void* const tag = Set::tag_of(events[i]))
        handle(tag, events[i], done);
      else
        done.interrupt();
    }
  }

  // ---- direct calls

  /// Whether a thread may make the call of `op` without the driver.
  [[nodiscard]] static bool may_be_direct(const operation& op) noexcept {
    if (op.action == action::accept) return true;
    const bool moves_bytes = op.action == action::recv || op.action == action::recv_from ||
                             op.action == action::send || op.action == action::send_to;
    return moves_bytes && !op.target->unconnected; // a connect in progress may change that
  }
  /// The system call of such an operation, from any thread. True: done. False: EAGAIN.
  static bool attempt(operation& op) noexcept {
    const auto h = handle_of(*op.target);
    switch (op.action) {
    case action::recv:
      return try_recv(op);
    case action::recv_from:
      return os::try_recv_from(h, op);
    case action::send:
      return os::try_send(op);
    case action::send_to:
      return os::try_send_to(h, op);
    default:
      return try_accept(op);
    }
  }
  /// The same for one that is new. False as well if it would probably be in vain.
  static bool attempt_first(operation& op) noexcept {
    return !(op.action == action::recv && record_of(*op.target).drained) && attempt(op);
  }

  void wake() noexcept { set_.wake(); }
  [[nodiscard]] native_handle_type wait_handle() const noexcept { return set_.handle(); }

private:
  // What the poll set reports about a socket.
  enum class watch : unsigned char {
    nothing,
    edges, // of everything
    bytes, // while there are some: no recv has to see EAGAIN before the next one waits
  };
  struct alignas(socket_state) alignas(Set::generations) record final : socket_state {
    bool readable = true; // has not given EAGAIN since the last event
    bool writable = true;
    watch watched = watch::nothing;
    bool settled = false; // on edges
    // Whether a short count means that the queue is empty. It does on a stream, until the peer has
    // shut down its side or has sent an urgent mark, at which a recv stops.
    bool drains = true;
    bool drained = false; // the last direct recv has taken all that there was
    bool odd = false; // there was an event other than readable and writable
    unsigned char generation = 0; // of the tag; counts the sockets that it has stood for
  };
  static record& record_of(socket_state& s) noexcept { return static_cast<record&>(s); }
  static native_handle_type handle_of(const socket_state& s) noexcept {
    return static_cast<native_handle_type>(s.native);
  }

  // The tag of a record: its address, with the generation in the bits that alignment leaves free.
  static void* tag_of(record& r) noexcept {
    if constexpr (Set::generations == 1)
      return &r;
    else
      return reinterpret_cast<unsigned char*>(&r) + r.generation % Set::generations;
  }
  // Null: the tag is that of a socket which has left.
  static record* record_of(void* tag) noexcept {
    if constexpr (Set::generations == 1) {
      return static_cast<record*>(tag);
    } else {
      const auto generation = reinterpret_cast<std::uintptr_t>(tag) % Set::generations;
      void* const at = static_cast<unsigned char*>(tag) - generation;
      record* const r = static_cast<record*>(at);
      return r->generation % Set::generations == generation ? r : nullptr;
    }
  }

  // ---- starting

  bool start_other(record& r, operation& op) noexcept {
    const bool done = op.inward() ? r.readable && try_inbound(r, op) : start_outbound(r, op);
    return done || !watch_everything(r, op);
  }
  bool start_outbound(record& r, operation& op) noexcept {
    if (op.action == action::when_urgent) return r.urgent.empty() && try_urgent(r, op);
    if (op.action != action::connect) return r.writable && try_outbound(r, op);
    if (os::start_connect(handle_of(r), op)) return true;
    r.writable = false;
    return false;
  }

  // From now on the set reports the edges of `r`. False: it cannot, and the error is in `op`.
  bool watch_everything(record& r, operation& op) noexcept {
    return r.watched == watch::edges || !(op.error = watch_edges(r));
  }
  ROUSE_COLD failure watch_edges(record& r) noexcept {
    const bool first = r.watched == watch::nothing;
    const failure why = set_.watch_edges(handle_of(r), tag_of(r), first);
    if (!why) r.watched = watch::edges;
    r.settled = !first;
    return why;
  }

  // The same after a recv has seen EAGAIN. If it was tried only because the one before was filled
  // (buffers of just the size of what comes), the set rather reports that there are bytes: until
  // some arrive that no operation waits for, or something else has to wait.
  bool await_bytes(record& r, operation& op) noexcept {
    if (r.watched != watch::edges) return r.watched == watch::bytes || watch_everything(r, op);
    if (!r.settled && r.drains && r.outbound.empty() && r.urgent.empty() &&
        !set_.watch_bytes(handle_of(r), tag_of(r)))
      r.watched = watch::bytes;
    return true;
  }
  // There are bytes, and no operation of the driver waits for them.
  void stop_watching_bytes(record& r) noexcept {
    if constexpr (requires { typename Set::interrupts; }) {
      // Perhaps a direct one does: then each arrival would wake this loop as well.
      if (!r.paused.empty() && r.outbound.empty() && r.urgent.empty()) return stop_watching(r);
    }
    if (r.watched == watch::bytes) (void)watch_edges(r);
    r.settled = true;
  }
  void stop_watching(record& r, bool keep_open = true) noexcept {
    set_.remove(handle_of(r), keep_open);
    r.watched = watch::nothing;
  }

  // ---- events

  template <class Event>
  ROUSE_ALWAYS_INLINE void handle(void* tag, const Event& e, completions& done) noexcept {
    record* const r = record_of(tag);
    if constexpr (Set::generations != 1) {
      if (!r) return;
    }
    if constexpr (requires { Set::failure_of(e); }) {
      if (const failure why = Set::failure_of(e)) return fail(*r, why, done);
    }
    handle(*r, Set::events_of(e), done);
  }
  // The set cannot watch `r`, so no event would ever end what waits.
  void fail(record& r, failure why, completions& done) noexcept {
    const auto end = [&](operation& op) { done.add(op, why, 0); };
    r.inbound.for_each(end);
    r.outbound.for_each(end);
    r.urgent.for_each(end);
    stop_watching(r);
  }

  ROUSE_ALWAYS_INLINE void handle(record& r, std::uint32_t events, completions& done) noexcept {
    if (events & ~(Set::readable | Set::writable)) events = handle_odd(r, events, done);
    if (events & Set::readable) {
      r.readable = true;
      if (r.inbound.empty())
        stop_watching_bytes(r);
      else if (try_front(r, done))
        try_inbound_queue(r, done);
    }
    if ((events & Set::writable) && !r.writable) try_outbound_queue(r, done);
  }

  // Tries the first of those that wait for something to come in. True: there may be more.
  ROUSE_ALWAYS_INLINE bool try_front(record& r, completions& done) noexcept {
    operation& op = r.inbound.front();
    if (try_inbound(r, op)) done.add(op);
    return r.readable;
  }
  void try_inbound_queue(record& r, completions& done) noexcept {
    while (!r.inbound.empty() && try_front(r, done)) {
    }
  }
  void try_outbound_queue(record& r, completions& done) noexcept {
    r.writable = true;
    while (r.writable && !r.outbound.empty()) {
      operation& op = r.outbound.front();
      if (try_outbound(r, op)) done.add(op);
    }
  }

  // Events other than readable and writable, and which of the two they mean.
  ROUSE_COLD std::uint32_t handle_odd(record& r, std::uint32_t events, completions& done) noexcept {
    const bool broken = (events & Set::broken) != 0;
    // No recv takes a message in the socket's error queue away: a level-triggered set would report
    // it for ever.
    if (broken && r.watched == watch::bytes) (void)watch_edges(r);
    if (broken || (events & Set::peer_closed)) events |= Set::readable;
    if (broken) events |= Set::writable;
    r.odd = true;
    r.drains = false;
    while ((broken || (events & Set::urgent)) && !r.urgent.empty()) {
      operation& op = r.urgent.front();
      if (!try_urgent(r, op)) break;
      done.add(op);
    }
    return events;
  }

  // ---- trying. True: done, the result is in `op`. False: EAGAIN, which the record remembers.

  ROUSE_ALWAYS_INLINE bool try_inbound(record& r, operation& op) noexcept {
    const bool done = op.action == action::recv ? os::try_recv(op) : try_other(op);
    // After a short count the set reports the next arrival: no need to see EAGAIN first.
    if (!done || r.watched == watch::bytes || (op.bytes != 0 && op.bytes < op.size && r.drains))
      r.readable = false;
    return done || (r.odd && try_again(r, op));
  }

  // Nothing was found, which may be wrong: the socket may be shut down, and at an urgent mark a
  // recv reports EAGAIN while a signal is pending.
  ROUSE_COLD bool try_again(record& r, operation& op) noexcept {
    bool done = os::receives_no_more(op);
    if (!done && (os::poll_now(handle_of(r), POLLIN) & POLLIN)) {
      const os::without_signals none;
      done = op.action == action::recv ? os::try_recv(op) : try_other(op);
    }
    return r.readable = done;
  }

  bool try_other(operation& op) noexcept {
    if (op.action == action::receive)
      return detail::lend(op, *buffers_, [&] { return os::try_recv(op); });
    return op.is_retry() ? os::run_retry(op) : attempt(op);
  }

  static bool try_recv(operation& op) noexcept {
    const bool done = os::try_recv(op);
    record& r = record_of(*op.target);
    r.drained = done && op.bytes < op.size && op.bytes != 0 && os::is_continuous(r.family, r.type);
    return done;
  }
  static bool try_accept(operation& op) noexcept {
    native_handle_type accepted = os::no_handle;
    const bool done = os::try_accept(handle_of(*op.target), op, accepted);
    op.handle = static_cast<std::intptr_t>(accepted);
    return done;
  }

  // The urgent byte that is taken leaves its mark in the stream.
  static bool try_urgent(record& r, operation& op) noexcept {
    const bool done = os::run_retry(op);
    if (done) {
      r.odd = true;
      r.drains = false;
    }
    return done;
  }

  bool try_send(record& r, operation& op) noexcept {
    if (os::try_send(op)) return true;
    return r.writable = false;
  }
  bool try_outbound(record& r, operation& op) noexcept {
    if (op.action == action::send) return try_send(r, op);
    if (op.is_retry()) return r.writable = os::run_retry(op);
    return r.writable = op.action == action::send_to ? os::try_send_to(handle_of(r), op)
                                                     : os::finish_connect(handle_of(r), op);
  }

  Set set_;
  detail::buffer_pool* buffers_ = nullptr;
};

}} // namespace rouse::ROUSE_ABI
#endif

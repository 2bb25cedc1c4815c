// The engine on epoll: completions emulated. Try; on EAGAIN wait for the edge and try again.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/engines/basic_engine.hpp>
#include <rouse/os/linux/poll.hpp>
#include <rouse/os/socket.hpp>
#include <rouse/os/without_signals.hpp>

#if ROUSE_LINUX
#include <memory>
#include <new>

namespace rouse { inline namespace ROUSE_ABI {

/// Completion I/O on readiness, for kernels and containers that refuse io_uring.
///
/// Cost of a call: one recv(2) or send(2) when it can be answered at once, one more after a wait;
/// an epoll_ctl(2) for the first wait on a socket, and for the first recv that waits because the
/// one before was filled. Source: epoll(7), edge-triggered but after the latter; eventfd(2);
/// epoll_pwait2(2), Linux 5.11, for limits finer than a millisecond.
template <class Threading = one_thread>
class basic_epoll_engine final : public basic_engine<Threading> {
  using base = basic_engine<Threading>;

public:
  using core = base;
  using typename base::lock_type;
  using typename base::operation;
  using typename base::socket_state;

  /// Null, with the reason in `why`, where the kernel refuses.
  [[nodiscard]] static std::unique_ptr<core> make(failure& why) {
    auto engine = std::unique_ptr<basic_epoll_engine>(new basic_epoll_engine);
    why = engine->start();
    if (why) return nullptr;
    engine->report("epoll");
    return engine;
  }

  ~basic_epoll_engine() override { this->drop_everything(); }

  ROUSE_HOT std::size_t turn(clock::time_point until) noexcept override {
    lock_type lock(this->mutex_);
    take(this->begin_turn(until, lock), lock);
    return this->end_turn(lock);
  }

private:
  basic_epoll_engine() : base(false) {}

  failure start() noexcept {
    failure why = events_.create();
    if (!why) why = waker_.create();
    if (!why) why = events_.add(waker_.get(), nullptr, EPOLLIN | EPOLLET);
    return why;
  }
  failure start_anew(bool again) noexcept override {
    events_ = {};
    waker_ = {};
    return again ? start() : failure();
  }

  // What epoll reports of a socket.
  enum class watch : unsigned char {
    nothing,
    edges, // of everything
    bytes, // as long as there are some: no recv has to see EAGAIN before the next one waits
  };
  struct record final : socket_state {
    // Not known to give EAGAIN: then nothing waits.
    bool readable = true;
    bool writable = true;
    watch watched = watch::nothing;
    bool settled = false; // for edges
    // A short count means that the queue is empty: of a stream, until the peer has shut down its
    // side, or has sent an urgent mark, at which a recv stops.
    bool drains = true;
    bool odd = false; // there was an event that is neither bytes nor room
  };

  socket_state* make_record() noexcept override { return new (std::nothrow) record; }

  failure attach(socket_state& d) noexcept override {
    auto& r = static_cast<record&>(d);
    r.readable = r.writable = true;
    r.watched = watch::nothing;
    r.settled = r.odd = false;
    r.drains = os::is_continuous(r.family, r.type);
    return {};
  }

  // Not left to close(2), which takes a file out of the set only with its last descriptor. If
  // another one is left (by dup(2), fork(2), or in a message), the set would go on reporting the
  // file under a record that is another socket's by then, and refuse the same number when it comes
  // back.
  void detach(socket_state& d, bool) noexcept override {
    auto& r = static_cast<record&>(d);
    if (r.watched != watch::nothing) events_.remove(static_cast<native_handle_type>(d.native));
    r.watched = watch::nothing;
  }

  ROUSE_HOT bool submit_recv(operation& op) noexcept override {
    auto& r = static_cast<record&>(*op.target);
    return this->submit_by(op, r.inbound, [&] {
      if (r.readable) return attempt_first(r, op) || !await_bytes(r, op);
      return r.watched == watch::nothing && !watched(r, op);
    });
  }
  ROUSE_HOT bool submit_send(operation& op) noexcept override {
    auto& r = static_cast<record&>(*op.target);
    return this->submit_by(op, r.outbound,
                           [&] { return (r.writable && attempt_send(r, op)) || !watched(r, op); });
  }
  bool submit_other(operation& op) noexcept override {
    return this->submit_other_by(op, [&](auto&) {
      auto& r = static_cast<record&>(*op.target);
      return (op.inward() ? begin_inbound(r, op) : begin_other(r, op)) || !watched(r, op);
    });
  }

  ROUSE_ALWAYS_INLINE bool begin_inbound(record& r, operation& op) noexcept {
    return r.readable && attempt_first(r, op);
  }
  bool begin_other(record& r, operation& op) noexcept {
    if (op.action == action::when_urgent) return r.urgent.empty() && attempt_urgent(r, op);
    if (op.action != action::connect) return r.writable && attempt_outbound(r, op);
    if (os::start_connect(static_cast<native_handle_type>(r.native), op)) return true;
    r.writable = false;
    return false;
  }

  // Whether epoll reports the edges of `r`, from now on at the latest. False: the answer is in
  // `op`.
  ROUSE_ALWAYS_INLINE bool watched(record& r, operation& op) noexcept {
    return r.watched == watch::edges || !(op.error = watch_edges(r));
  }
  ROUSE_COLD failure watch_edges(record& r) noexcept {
    const auto h = static_cast<native_handle_type>(r.native);
    const bool first = r.watched == watch::nothing;
    const failure why = first ? events_.add(h, &r, os::poll_set::edges)
                              : events_.change(h, &r, os::poll_set::edges);
    if (!why) r.watched = watch::edges;
    r.settled = !first;
    return why;
  }

  // The same where a recv has seen EAGAIN. If it has only asked because the one before was filled,
  // as it is where buffers have just the size of what comes, epoll shall rather report that there
  // are bytes: until there are some that nobody waits for, or something else has to wait.
  ROUSE_NOINLINE bool await_bytes(record& r, operation& op) noexcept {
    if (r.watched != watch::edges) return r.watched == watch::bytes || watched(r, op);
    if (!r.settled && r.drains && r.outbound.empty() && r.urgent.empty() &&
        !events_.change(static_cast<native_handle_type>(r.native), &r, EPOLLIN))
      r.watched = watch::bytes;
    return true;
  }
  ROUSE_COLD void nobody_waits(record& r) noexcept {
    if (r.watched == watch::bytes) (void)watch_edges(r);
    r.settled = true;
  }

  void interrupt(operation& op) noexcept override {
    this->finish(op, std::errc::operation_canceled, 0);
  }

  void harvest(clock::time_point until, lock_type& lock) noexcept override { take(until, lock); }
  ROUSE_ALWAYS_INLINE void take(clock::time_point until, lock_type& lock) noexcept {
    epoll_event events[os::poll_set::batch];
    lock.unlock();
    const int n = events_.wait(events, until);
    lock.lock();
    for (int i = 0; i < n; ++i) {
      if (events[i].data.ptr) [[likely]]
        answer(*static_cast<record*>(events[i].data.ptr), events[i].events);
      else
        this->kicked();
    }
  }

  void kick() noexcept override { waker_.signal(); }
  [[nodiscard]] native_handle_type wait_handle() noexcept override { return events_.get(); }

  ROUSE_ALWAYS_INLINE void answer(record& r, std::uint32_t events) noexcept {
    if (events & ~static_cast<std::uint32_t>(EPOLLIN | EPOLLOUT)) [[unlikely]]
      events = answer_rare(r, events);
    if (events & EPOLLIN) [[likely]] {
      r.readable = true;
      if (r.inbound.empty()) [[unlikely]]
        nobody_waits(r);
      else if (answer_front(r)) [[unlikely]]
        answer_inbound(r);
    }
    if ((events & EPOLLOUT) && !r.writable) [[unlikely]]
      answer_outbound(r);
  }

  // Of those that wait for something to come in, the first. True: there may be more.
  ROUSE_ALWAYS_INLINE bool answer_front(record& r) noexcept {
    auto& op = static_cast<operation&>(r.inbound.front());
    if (attempt_inbound(r, op)) [[likely]]
      this->finish(op);
    return r.readable;
  }
  ROUSE_NOINLINE void answer_inbound(record& r) noexcept {
    while (!r.inbound.empty() && answer_front(r)) {
    }
  }

  // What more there is than room and bytes, and which of the two it means.
  ROUSE_COLD std::uint32_t answer_rare(record& r, std::uint32_t events) noexcept {
    const bool end = (events & (EPOLLHUP | EPOLLERR)) != 0;
    // An error may be none that a recv takes away (a message in the socket's error queue): as a
    // level it would be reported without end.
    if (end && r.watched == watch::bytes) (void)watch_edges(r);
    if (end || (events & EPOLLRDHUP)) events |= EPOLLIN;
    if (end) events |= EPOLLOUT;
    r.odd = true;
    r.drains = false;
    while ((end || (events & EPOLLPRI)) && !r.urgent.empty()) {
      auto& op = static_cast<operation&>(r.urgent.front());
      if (!attempt_urgent(r, op)) break;
      this->finish(op);
    }
    return events;
  }

  ROUSE_NOINLINE void answer_outbound(record& r) noexcept {
    r.writable = true;
    while (r.writable && !r.outbound.empty()) {
      auto& op = static_cast<operation&>(r.outbound.front());
      if (attempt_outbound(r, op)) this->finish(op);
    }
  }

  // True: done, the answer is in `op`. False: EAGAIN, which the record remembers.

  ROUSE_ALWAYS_INLINE bool attempt_inbound(record& r, operation& op) noexcept {
    const bool done = op.action == action::recv ? os::try_recv(op) : attempt_other(r, op);
    // After a short count epoll reports the next arrival: no need to see EAGAIN first.
    if (!done || r.watched == watch::bytes || (op.bytes != 0 && op.bytes < op.size && r.drains))
        [[likely]]
      r.readable = false;
    return done || (r.odd && attempt_again(r, op));
  }
  ROUSE_NOINLINE bool attempt_first(record& r, operation& op) noexcept {
    return attempt_inbound(r, op);
  }

  // An attempt has found nothing, where that may be wrong: where the socket is shut down, and at an
  // urgent mark, where a recv says EAGAIN for a signal that is pending.
  ROUSE_COLD bool attempt_again(record& r, operation& op) noexcept {
    const auto h = static_cast<native_handle_type>(r.native);
    bool done = os::receives_no_more(op);
    if (!done && (os::poll_now(h, POLLIN) & POLLIN)) {
      const os::without_signals none;
      done = op.action == action::recv ? os::try_recv(op) : attempt_other(r, op);
    }
    return r.readable = done;
  }

  ROUSE_NOINLINE bool attempt_other(record& r, operation& op) noexcept {
    const auto h = static_cast<native_handle_type>(r.native);
    if (op.action == action::receive) return this->lend(op, [&] { return os::try_recv(op); });
    if (op.action == action::recv_from) return os::try_recv_from(h, op);
    if (op.is_retry()) return os::run_retry(op);
    native_handle_type accepted = os::no_handle;
    const bool done = os::try_accept(h, op, accepted);
    if (done && !op.error) this->answer_accept(op, accepted);
    return done;
  }

  // The urgent byte that it takes leaves its mark in the stream.
  static bool attempt_urgent(record& r, operation& op) noexcept {
    const bool done = os::run_retry(op);
    if (done) {
      r.odd = true;
      r.drains = false;
    }
    return done;
  }

  ROUSE_ALWAYS_INLINE bool attempt_send(record& r, operation& op) noexcept {
    if (os::try_send(op)) [[likely]]
      return true;
    return r.writable = false;
  }
  bool attempt_outbound(record& r, operation& op) noexcept {
    const auto h = static_cast<native_handle_type>(r.native);
    if (op.action == action::send) return attempt_send(r, op);
    if (op.is_retry()) return r.writable = os::run_retry(op);
    return r.writable =
               op.action == action::send_to ? os::try_send_to(h, op) : os::finish_connect(h, op);
  }

  os::poll_set events_;
  os::waker_fd waker_;
};

using epoll_engine = basic_epoll_engine<one_thread>;

}} // namespace rouse::ROUSE_ABI
#endif

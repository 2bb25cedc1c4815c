// The engine on epoll: completions emulated. Try; on EAGAIN wait for the edge and try again.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/engines/basic_engine.hpp>
#include <rouse/os/linux/poll.hpp>
#include <rouse/os/socket.hpp>

#if ROUSE_LINUX
#include <memory>
#include <new>

namespace rouse::inline ROUSE_ABI {

/// Completion I/O on readiness, for kernels and containers that refuse io_uring.
///
/// Cost of a call: one recv(2) or send(2) when it can be answered at once, one more after a wait;
/// never an epoll_ctl(2) but for the first wait on a socket. Source: epoll(7), edge-triggered;
/// eventfd(2); epoll_pwait2(2), Linux 5.11, for limits finer than a millisecond.
template <class Threading = one_thread>
class basic_epoll_engine final : public basic_engine<Threading> {
  using base = basic_engine<Threading>;

public:
  using core = base;
  using typename base::descriptor;
  using typename base::lock_type;
  using typename base::operation;

  /// Null, with the reason in `why`, where the kernel refuses.
  [[nodiscard]] static std::unique_ptr<core> make(failure& why) {
    auto engine = std::unique_ptr<basic_epoll_engine>(new basic_epoll_engine);
    why = engine->events_.create();
    if (!why) why = engine->waker_.create();
    if (!why) why = engine->events_.add(engine->waker_.get(), nullptr, EPOLLIN | EPOLLET);
    if (why) return nullptr;
    engine->report("epoll");
    return engine;
  }

  ~basic_epoll_engine() override { this->drop_everything(); }

private:
  basic_epoll_engine() : base(false) {}

  struct record final : descriptor {
    bool readable = true; // not known to give EAGAIN
    bool writable = true;
    bool finished =
        false; // the peer has shut down its side: a short count no longer means "nothing more"
    bool watched = false; // epoll reports edges of it
    bool continuous = true; // a short count means that the queue is empty
  };

  descriptor* make_record() noexcept override { return new (std::nothrow) record; }

  failure attach(descriptor& d) noexcept override {
    auto& r = static_cast<record&>(d);
    r.readable = r.writable = true;
    r.finished = r.watched = false;
    r.continuous = os::is_continuous(r.family, r.type);
    return {};
  }

  void detach(descriptor& d, bool kept) noexcept override {
    auto& r = static_cast<record&>(d);
    // Closing the last reference to a file takes it out of the set; a kept one has to be taken out.
    if (kept && r.watched) events_.remove(static_cast<native_handle_type>(d.native));
    r.watched = false;
  }

  bool begin(operation& op) noexcept override {
    auto& r = static_cast<record&>(*op.target);
    if (op.inward()) {
      if (r.readable && r.inbound.empty() && attempt_inbound(r, op)) return true;
    } else if (op.what == action::when_urgent) [[unlikely]] {
      if (r.urgent.empty() && os::run_attempt(op)) return true;
    } else if (op.what != action::connect) [[likely]] {
      if (r.writable && r.outbound.empty() && attempt_outbound(r, op)) [[likely]]
        return true;
    } else {
      if (os::start_connect(static_cast<native_handle_type>(r.native), op)) return true;
      r.writable = false;
    }
    return !r.watched && !watch(r, op);
  }

  // From now on epoll reports the edges of `r`. False: the answer is in `op`.
  ROUSE_NOINLINE bool watch(record& r, operation& op) noexcept {
    op.error = events_.add(static_cast<native_handle_type>(r.native), &r);
    return r.watched = !op.error;
  }

  void interrupt(operation& op) noexcept override {
    this->finish(op, std::errc::operation_canceled, 0);
  }

  void harvest(clock::time_point until, lock_type& lock) noexcept override {
    epoll_event events[os::poll_set::batch];
    lock.unlock();
    const int n = events_.wait(events, until);
    lock.lock();
    for (int i = 0; i < n; ++i) {
      if (events[i].data.ptr)
        answer(*static_cast<record*>(events[i].data.ptr), events[i].events);
      else
        waker_.drain();
    }
  }

  void kick() noexcept override { waker_.signal(); }

  void answer(record& r, std::uint32_t events) noexcept {
    constexpr std::uint32_t end = EPOLLHUP | EPOLLERR;
    if (!r.watched) [[unlikely]]
      return; // closed since, by another thread
    if (events & (EPOLLRDHUP | end)) [[unlikely]]
      r.finished = true;
    if (events & (EPOLLIN | EPOLLRDHUP | end)) [[likely]] {
      r.readable = true;
      while (!r.inbound.empty()) [[likely]] {
        auto& op = static_cast<operation&>(r.inbound.front());
        if (!attempt_inbound(r, op)) [[unlikely]]
          break;
        this->finish(op, op.error, op.bytes);
        if (!r.readable) [[likely]]
          break;
      }
    }
    if (events & (EPOLLOUT | end)) {
      r.writable = true;
      if (!r.outbound.empty()) [[unlikely]]
        answer_outbound(r);
    }
    if ((events & (EPOLLPRI | end)) && !r.urgent.empty()) [[unlikely]]
      answer_urgent(r);
  }

  ROUSE_NOINLINE void answer_urgent(record& r) noexcept {
    while (!r.urgent.empty()) {
      auto& op = static_cast<operation&>(r.urgent.front());
      if (!os::run_attempt(op)) return;
      this->finish(op, op.error, op.bytes);
    }
  }

  ROUSE_NOINLINE void answer_outbound(record& r) noexcept {
    while (r.writable && !r.outbound.empty()) {
      auto& op = static_cast<operation&>(r.outbound.front());
      if (attempt_outbound(r, op)) this->finish(op, op.error, op.bytes);
    }
  }

  // True: done, the answer is in `op`. False: EAGAIN, which the record remembers.

  bool attempt_inbound(record& r, operation& op) noexcept {
    const auto h = static_cast<native_handle_type>(r.native);
    const bool done = op.what == action::recv ? os::try_recv(h, op) : attempt_other(r, op);
    // A short count means that the queue is empty, and epoll reports the next arrival: no need to
    // see EAGAIN first.
    const bool emptied = op.bytes != 0 && op.bytes < op.size && !r.finished && r.continuous;
    if (!done || emptied) r.readable = false;
    return done;
  }

  ROUSE_NOINLINE bool attempt_other(record& r, operation& op) noexcept {
    const auto h = static_cast<native_handle_type>(r.native);
    if (op.what == action::receive) return this->lend(op, [&] { return os::try_recv(h, op); });
    if (op.what == action::recv_from) return os::try_recv_from(h, op);
    if (op.attempts()) return os::run_attempt(op);
    native_handle_type accepted = os::no_handle;
    const bool done = os::try_accept(h, op, accepted);
    if (done && !op.error) this->answer_accept(op, accepted);
    return done;
  }

  bool attempt_outbound(record& r, operation& op) noexcept {
    const auto h = static_cast<native_handle_type>(r.native);
    if (op.what == action::send) [[likely]]
      return r.writable = os::try_send(h, op);
    if (op.attempts()) return r.writable = os::run_attempt(op);
    return r.writable =
               op.what == action::send_to ? os::try_send_to(h, op) : os::finish_connect(h, op);
  }

  os::poll_set events_;
  os::waker_fd waker_;
};

using epoll_engine = basic_epoll_engine<one_thread>;

} // namespace rouse::inline ROUSE_ABI
#endif

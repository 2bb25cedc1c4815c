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
  };

  descriptor* make_record() noexcept override { return new (std::nothrow) record; }

  failure attach(descriptor& d) noexcept override {
    auto& r = static_cast<record&>(d);
    r.readable = r.writable = true;
    r.finished = r.watched = false;
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
    switch (op.what) {
    case action::recv:
    case action::receive:
    case action::accept:
      if (r.readable && r.inbound.empty() && attempt_inbound(r, op)) return true;
      break;
    case action::send:
      if (r.writable && r.outbound.empty() && attempt_outbound(r, op)) return true;
      break;
    default:
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
    if (!r.watched) return; // closed since, by another thread
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) r.finished = true;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
      r.readable = true;
      while (r.readable && !r.inbound.empty()) {
        auto& op = static_cast<operation&>(r.inbound.front());
        if (attempt_inbound(r, op)) this->finish(op, op.error, op.bytes);
      }
    }
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
      r.writable = true;
      while (r.writable && !r.outbound.empty()) {
        auto& op = static_cast<operation&>(r.outbound.front());
        if (attempt_outbound(r, op)) this->finish(op, op.error, op.bytes);
      }
    }
  }

  // True: done, the answer is in `op`. False: EAGAIN, which the record remembers.

  bool attempt_inbound(record& r, operation& op) noexcept {
    const auto h = static_cast<native_handle_type>(r.native);
    if (op.what == action::accept) return attempt_accept(r, op);
    const auto recv = [&] { return os::try_recv(h, op); };
    if (!(op.what == action::recv ? recv() : this->lend(op, recv))) return r.readable = false;
    // A short count means that the queue is empty, and epoll reports the next arrival: no need to
    // see EAGAIN first.
    if (op.bytes != 0 && op.bytes < op.size && !r.finished && r.type == SOCK_STREAM)
      r.readable = false;
    return true;
  }

  ROUSE_NOINLINE bool attempt_accept(record& r, operation& op) noexcept {
    native_handle_type accepted = os::no_handle;
    r.readable = os::try_accept(static_cast<native_handle_type>(r.native), op, accepted);
    if (r.readable && !op.error) this->answer_accept(op, accepted);
    return r.readable;
  }

  bool attempt_outbound(record& r, operation& op) noexcept {
    const auto h = static_cast<native_handle_type>(r.native);
    return r.writable = op.what == action::send ? os::try_send(h, op) : os::finish_connect(h, op);
  }

  os::poll_set events_;
  os::waker_fd waker_;
};

using epoll_engine = basic_epoll_engine<one_thread>;

} // namespace rouse::inline ROUSE_ABI
#endif

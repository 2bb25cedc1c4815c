// What every engine shares, and all that the layers above may ask of one: operations, and the
// records of sockets.
//
// An engine of its own adds what its kernel needs: begin, interrupt, harvest, kick, make_record,
// attach and detach.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/endpoint.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/detail/buffer_pool.hpp>
#include <rouse/detail/intrusive_list.hpp>
#include <rouse/engines/operation_loop.hpp>
#include <rouse/os/fork.hpp>
#include <rouse/os/socket.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {

/// The completion engine, whichever kernel interface is below it: an `operation_loop` whose
/// operations may concern sockets.
///
/// Threads: with `one_thread`, all but `post`, `wake` and the destructor of an idle engine belong
/// to the thread that runs it.
template <class Threading>
class basic_engine : public operation_loop<Threading> {
  using loop = operation_loop<Threading>;

public:
  using typename loop::lock_type;
  using typename loop::operation;
  using socket_state = rouse::socket_state;
  using loop::cancel;

  /// Which kernel interface this is, and why a better one was refused.
  [[nodiscard]] const std::string& report() const noexcept { return report_; }
  void report(std::string text) { report_ = std::move(text); }

  /// A record of a new socket, owned by the engine until `give_back`; null with the reason in
  /// `why`.
  [[nodiscard]] socket_state* open(void* owner, int family, int type, int protocol,
                                   failure& why) noexcept {
    native_handle_type h = os::no_handle;
    why = os::open_socket(family, type, protocol, blocking_, h);
    if (why) return nullptr;
    lock_type lock(this->mutex_);
    socket_state* d = enter(owner, h, family, type, why);
    if (d)
      d->unconnected = os::is_connected_type(type);
    else
      os::close_socket(h);
    return d;
  }

  /// A record of a socket made elsewhere, which is the engine's from then on. On failure it stays
  /// the caller's, open.
  [[nodiscard]] socket_state* adopt(void* owner, native_handle_type h, failure& why) noexcept {
    int family = 0, type = 0;
    why = os::describe(h, family, type);
    if (!why) why = os::set_blocking(h, blocking_);
    if (why) return nullptr;
    lock_type lock(this->mutex_);
    return enter(owner, h, family, type, why);
  }

  /// The same of a file that is no socket, and only to wait until it is readable.
  [[nodiscard]] socket_state* watch(void* owner, native_handle_type h, failure& why) noexcept {
    lock_type lock(this->mutex_);
    return enter(owner, h, 0, 0, why);
  }

  /// Ends what is pending on `d` with operation_canceled (told in the next turn, O6), then closes
  /// the handle. The record stays.
  void close(socket_state& d) noexcept {
    lock_type lock(this->mutex_);
    close(d, lock);
  }

  /// The same, but the handle goes to the caller, in blocking mode, as the system makes sockets.
  native_handle_type release(socket_state& d) noexcept {
    lock_type lock(this->mutex_);
    const auto h = take_handle(d, true, lock);
    // The mode is one for all copies of a handle: in a forked child it is the parent's to choose.
    if (h != os::no_handle && !this->inert()) (void)os::set_blocking(h, true);
    return h;
  }

  /// Ends what is pending on `d`; the socket stays open.
  void cancel(socket_state& d) noexcept {
    lock_type lock(this->mutex_);
    this->cancel_all(d);
  }

  /// Whether something waits for its turn on `d`, to receive or to send, which a call that does not
  /// wait must not overtake.
  [[nodiscard]] bool busy(const socket_state& d, bool inward) noexcept {
    lock_type lock(this->mutex_);
    return !(inward ? d.inbound : d.outbound).empty();
  }

  /// The socket is done with its record.
  void give_back(socket_state& d) noexcept {
    lock_type lock(this->mutex_);
    close(d, lock);
    d.unlink();
    d.owner = nullptr;
    spare_.push_back(d);
  }

  /// A scheduler goes: its sockets are closed, their records are the sockets' own from now on.
  void orphan(const void* owner) noexcept {
    lock_type lock(this->mutex_);
    for (bool again = true; again;) {
      again = false; // closing may harvest an accept, whose connection then joins the list
      open_.for_each([&](socket_state& d) {
        if (d.owner != owner) return;
        again = true;
        close(d, lock);
        d.unlink();
        d.owner = nullptr;
      });
    }
  }

  /// Ends everything that is pending and tells it; whatever is submitted from then on is canceled
  /// at once.
  void shut_down() noexcept {
    {
      lock_type lock(this->mutex_);
      this->begin_closing();
      open_.for_each([&](socket_state& d) { this->cancel_all(d); });
    }
    this->drop_posted();
    while (!this->idle()) this->turn((clock::time_point::max)());
  }

  /// In a forked child, whose scheduler goes: the engine stays in memory for ever, since what waits
  /// in the copies of the parent's flows still refers to it.
  void leave_behind() noexcept {
    static basic_engine* newest = nullptr;
    left_before_ = std::exchange(newest, this); // so that no leak checker reports it
  }

  /// For diagnosis: calls `visit(const operation&)` for each operation in progress, whoever asked
  /// for it. It may call nothing of the engine, which is locked; the socket of an operation that is
  /// `ready` may be gone.
  template <class F>
  void for_each_operation(F visit) {
    const auto show = [&](rouse::operation& op) { visit(static_cast<const operation&>(op)); };
    lock_type lock(this->mutex_);
    if (this->inert()) return;
    open_.for_each([&](socket_state& d) {
      d.inbound.for_each(show);
      d.outbound.for_each(show);
      d.urgent.for_each(show);
      d.paused.for_each(show);
    });
    this->for_each_elsewhere(visit);
  }

protected:
  /// @param blocking  whether this kernel interface wants handles in blocking mode.
  explicit basic_engine(bool blocking) : blocking_(blocking) {}

  // ---- what an engine adds, called with the lock held

  /// A new record; null when memory is short.
  virtual socket_state* make_record() noexcept = 0;
  /// Makes the handle in `d`, a record made by this engine and perhaps used before, known to the
  /// kernel interface.
  virtual failure attach(socket_state& d) noexcept = 0;
  /// Nothing is pending on `d`: its handle is about to be closed, or (`kept`) given away.
  virtual void detach(socket_state& d, bool kept) noexcept = 0;

  /// In a forked child: closes this process's handles of the kernel interface, which is the
  /// parent's; if `again`, opens one that is the child's own. Nothing is pending then.
  virtual failure start_anew(bool again) noexcept {
    (void)again;
    return std::errc::operation_not_supported;
  }

  /// Fills in the answer to an accept: the connection belongs to whom the listener belongs to.
  void answer_accept(operation& op, native_handle_type h) noexcept {
    if (op.wants_native_handle) {
      op.handle = static_cast<std::intptr_t>(h);
      return;
    }
    failure why;
    op.accepted = enter(op.target->owner, h, op.target->family, op.target->type, why);
    if (!op.accepted) os::close_socket(h);
    op.error = why;
  }

  /// A buffer to be lent, `buffer_size` bytes; null when memory is short.
  std::byte* take_buffer() noexcept { return pool_->lend(); }
  static constexpr std::size_t buffer_size = detail::buffer_pool::room;

  /// receive: gives `op` a buffer, for `recv()` to fill, which says whether it could. False: it
  /// could not yet.
  template <class Recv>
  bool lend(operation& op, Recv recv) noexcept {
    op.data = take_buffer();
    op.size = buffer_size;
    if (!op.data) op.error = std::errc::not_enough_memory;
    if (!op.data || recv()) return true;
    detail::buffer_pool::give_back(static_cast<std::byte*>(std::exchange(op.data, nullptr)));
    return false;
  }

  /// For the destructors of engines, which come before this class's: frees the records.
  void drop_everything() noexcept {
    this->home().close(); // nothing is posted any more
    this->drop_posted();
    while (!spare_.empty()) delete &spare_.pop_front();
  }

private:
  socket_state* enter(void* owner, native_handle_type h, int family, int type,
                      failure& why) noexcept {
    if (this->inert()) [[unlikely]] {
      why = std::errc::operation_not_permitted;
      return nullptr;
    }
    socket_state* d = spare_.empty() ? make_record() : &spare_.pop_front();
    if (!d) {
      why = std::errc::not_enough_memory;
      return nullptr;
    }
    d->native = static_cast<std::intptr_t>(h);
    d->closing = d->unconnected = false;
    d->family = family;
    d->type = type;
    d->default_timeout = (clock::duration::max)();
    d->purpose = nullptr;
    why = attach(*d);
    if (why) {
      d->native = -1;
      spare_.push_back(*d);
      return nullptr;
    }
    d->owner = owner;
    open_.push_back(*d);
    return d;
  }

  void close(socket_state& d, lock_type& lock) noexcept {
    const auto h = take_handle(d, false, lock);
    if (h == os::no_handle) return;
    if (this->inert()) [[unlikely]]
      os::close_copy(h);
    else
      os::close_socket(h);
  }

  native_handle_type take_handle(socket_state& d, bool kept, lock_type& lock) noexcept {
    if (!d.open()) return os::no_handle;
    d.closing = true; // others have the lock meanwhile
    if (!this->inert()) [[likely]] {
      this->cancel_all(d);
      while (d.busy()) this->reap(lock);
      detach(d, kept);
    }
    return static_cast<native_handle_type>(std::exchange(d.native, -1));
  }

  // In a forked child. An engine that nothing has used works on there; any other is inert.
  static void on_fork(void* self) noexcept { static_cast<basic_engine*>(self)->forked(); }
  void forked() noexcept {
    this->renew_locks();
    pool_->renew_lock();
    if (this->inert()) return;
    bool used = this->used();
    open_.for_each([&](socket_state& d) { used |= d.busy(); });
    if (start_anew(!used) || used) return this->become_inert();
    open_.for_each([&](socket_state& d) { (void)attach(d); });
  }

  const bool blocking_;
  detail::list<socket_state> open_;
  detail::list<socket_state> spare_; // closed, for the next sockets
  std::unique_ptr<detail::buffer_pool, detail::buffer_pool::closer> pool_{new detail::buffer_pool};
  std::string report_;
  basic_engine* left_before_ = nullptr;
  ROUSE_NO_UNIQUE_ADDRESS os::fork_hook in_child_{&basic_engine::on_fork, this};
};

}} // namespace rouse::ROUSE_ABI

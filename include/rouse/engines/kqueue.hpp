// The driver for kqueue(2), of macOS and the BSDs: a poll set for `poll_driver`.
//
//   filter             event means                          with EV_EOF
//   EVFILT_READ        recv or accept may find something    the same: bytes may be left first
//   EVFILT_WRITE       send or connect may go on            the same: the attempt gets an error
//   EVFILT_EXCEPT      there is urgent data, and its mark in the stream
//   EVFILT_USER        another thread called `wake`
//
// EV_EOF stands for the end of receiving, for the death of sending and for errors, on two filters.
// So it decides nothing here: it only makes the driver try, and the results of recv(2) and send(2),
// and SO_ERROR, tell what has happened.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/clock.hpp>
#include <rouse/core/error.hpp>
#include <rouse/detail/threading.hpp>
#include <rouse/engines/engine.hpp>
#include <rouse/engines/engine_details.hpp>
#include <rouse/engines/engine_sockets.hpp>
#include <rouse/engines/poll_driver.hpp>
#include <rouse/os/darwin/kqueue.hpp>

#if ROUSE_KQUEUE
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

/// Edge-triggered (EV_CLEAR), with every filter of a socket from its first wait on.
///
/// If one thread does everything, registrations are submitted by the kevent(2) that waits, and cost
/// no system call. An engine of several threads submits each at once, because one thread may wait
/// while another closes a socket: a registration that is still on its way would then be applied to
/// the next socket with the same number.
class kqueue_set {
public:
  static constexpr const char* name = "kqueue";
  using event_list = os::kernel_event[os::kernel_queue::batch];
  static constexpr std::uint32_t readable = 1, writable = 2, urgent = 4, peer_closed = 8,
                                 broken = 16;
  /// Tags point to objects with this alignment: the bits below hold the object's generation.
  static constexpr std::size_t generations = 64;
  static void* tag_of(const os::kernel_event& e) noexcept { return e.udata; }
  static std::uint32_t events_of(const os::kernel_event& e) noexcept {
    const bool ended = (e.flags & EV_EOF) != 0;
    if (e.filter == EVFILT_READ)
      return readable | (ended ? peer_closed : 0) | (ended && e.fflags != 0 ? broken : 0);
    if (e.filter == EVFILT_WRITE) return writable | (ended ? broken : 0);
    // The mark in the stream, at which a recv may have stopped, is known only now.
    return urgent | readable;
  }
  /// Why a registration that was put off has failed.
  static failure failure_of(const os::kernel_event& e) noexcept {
    if ((e.flags & EV_ERROR) == 0) return {};
    return os::refusal_of(e);
  }

  failure open() noexcept { return queue_.create(); }

  failure watch_edges(native_handle_type h, void* tag, bool) noexcept {
    if (alone_ && put_off_ + filters <= room) {
      describe(std::span(changes_).subspan(put_off_), h, tag, EV_ADD | EV_CLEAR);
      put_off_ += filters;
      return {};
    }
    os::kernel_event adding[filters];
    describe(adding, h, tag, EV_ADD | EV_CLEAR | EV_RECEIPT);
    if (const failure why = queue_.submit(adding)) return why;
    for (const os::kernel_event& e : adding) {
      if (const failure why = failure_of(e)) return why;
    }
    return {};
  }
  /// Refused: a filter with EV_CLEAR reports every arrival, so there is nothing to be gained.
  static failure watch_bytes(native_handle_type, void*) noexcept {
    return std::errc::operation_not_supported;
  }
  /// close(2) removes the filters of a descriptor.
  void remove(native_handle_type h, bool keep_open) noexcept {
    const bool submitted = !drop_changes(h);
    if (!keep_open || !submitted) return;
    os::kernel_event deleting[filters];
    describe(deleting, h, nullptr, EV_DELETE | EV_RECEIPT);
    (void)queue_.submit(deleting);
  }

  void prepare_wait(bool alone) noexcept { alone_ = alone; }
  int wait(event_list& events, clock::time_point until) noexcept {
    if (put_off_ == 0) return queue_.wait({}, events, until);
    const std::span<const os::kernel_event> changes(changes_, put_off_);
    put_off_ = 0;
    return queue_.wait(changes, events, until);
  }
  void wake() noexcept { queue_.wake(); }
  [[nodiscard]] native_handle_type handle() const noexcept { return queue_.get(); }

private:
  static constexpr std::size_t filters = 3; // of each descriptor
  static constexpr std::size_t room = 32 * filters;

  static void describe(std::span<os::kernel_event> out, native_handle_type h, void* tag,
                       unsigned flags) noexcept {
    const auto ident = static_cast<std::uintptr_t>(h);
    out[0] = os::change_of(ident, EVFILT_READ, flags, 0, tag);
    out[1] = os::change_of(ident, EVFILT_WRITE, flags, 0, tag);
    out[2] = os::change_of(ident, EVFILT_EXCEPT, flags, NOTE_OOB, tag);
  }

  // Forgets what was put off for `h`. Returns whether there was something.
  bool drop_changes(native_handle_type h) noexcept {
    if (put_off_ == 0) return false; // always so if another thread may be in `wait`
    std::size_t kept = 0;
    for (std::size_t i = 0; i != put_off_; ++i) {
      if (changes_[i].ident != static_cast<std::uintptr_t>(h)) changes_[kept++] = changes_[i];
    }
    return std::exchange(put_off_, kept) != kept;
  }

  os::kernel_queue queue_;
  bool alone_ = false; // no other thread calls while one waits
  std::size_t put_off_ = 0;
  os::kernel_event changes_[room]; // the first `put_off_` are to be submitted
};

} // namespace detail

/// For macOS and the BSDs.
using kqueue_driver = poll_driver<detail::kqueue_set>;

template <class Threading = one_thread>
using basic_kqueue_engine = basic_engine<kqueue_driver, Threading>;
using kqueue_engine = basic_kqueue_engine<>;

}} // namespace rouse::ROUSE_ABI
#endif

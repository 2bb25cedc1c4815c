// kqueue(2): the system's calls, and how a thread that waits in it is woken.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/clock.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/posix/fork.hpp>
#include <rouse/os/posix/socket.hpp>
#include <rouse/os/posix/time_left.hpp>
#include <rouse/os/posix/unique_fd.hpp>

#if ROUSE_KQUEUE
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <fcntl.h>
#include <span>
#include <sys/event.h>
#include <unistd.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

using kernel_event = struct kevent;

/// An entry of a list of changes: adds or deletes the filter of one descriptor, or triggers it.
inline kernel_event change_of(std::uintptr_t ident, int filter, unsigned flags,
                              std::uint32_t fflags, void* tag) noexcept {
  kernel_event e{};
  e.ident = ident;
  e.filter = static_cast<decltype(e.filter)>(filter);
  e.flags = static_cast<decltype(e.flags)>(flags);
  e.fflags = fflags;
  e.udata = tag;
  return e;
}

/// Why a filter was refused, of an event with EV_ERROR.
///
/// It is no failure if a file lacks a filter: a terminal or a pipe has no urgent data, and one end
/// of a pipe no room to write. Everything that can be waited for has EVFILT_READ.
inline failure refusal_of(const kernel_event& e) noexcept {
  const int number = static_cast<int>(e.data);
  const bool lacks_filter = e.filter != EVFILT_READ && number != ENOMEM && number != EBADF;
  return number == 0 || lacks_filter ? failure{} : failure::from_os(number);
}

/// One kqueue, and a wake-up for the thread that waits in it.
///
/// The wake-up is an EVFILT_USER event. Where the kernel accepts that filter and then never reports
/// it, which `create` finds out by a trial, it is a pipe.
class kernel_queue {
public:
  static constexpr int batch = 256;

  kernel_queue() noexcept = default;
  kernel_queue(const kernel_queue&) = delete;
  kernel_queue& operator=(const kernel_queue&) = delete;
  /// A forked child does not inherit the kqueue: its number may be that of another file there.
  ~kernel_queue() {
    if (!process_.is_here()) fd_.release();
  }

  failure create() noexcept {
    fd_ = unique_fd(::kqueue());
    if (!fd_) return last_error();
    process_.move_here();
    return wakes_by_event() ? failure{} : wake_by_pipe();
  }
  [[nodiscard]] int get() const noexcept { return fd_.get(); }

  /// Submits `changes` and waits for events until `until` (min: not at all; max: for ever). Returns
  /// their number, or a negative number after an error, such as an interruption by a signal; the
  /// changes are in effect then, too. A change that the kernel refuses is an event with EV_ERROR.
  int wait(std::span<const kernel_event> changes, kernel_event (&events)[batch],
           clock::time_point until) noexcept {
    const bool forever = until == (clock::time_point::max)();
    timespec left{};
    if (!forever && until != (clock::time_point::min)()) left = time_left(until);
    if (left.tv_sec > longest_wait) left = {longest_wait, 0};
    const int n = ::kevent(fd_.get(), changes.data(), static_cast<int>(changes.size()), events,
                           batch, forever ? nullptr : &left);
    if (pipe_out_) drain(std::span(events, n > 0 ? static_cast<std::size_t>(n) : 0));
    return n;
  }

  /// Submits changes that all have EV_RECEIPT, and replaces each by what the kernel said about it:
  /// `data` is an error number, or 0. No event is taken from the queue.
  failure submit(std::span<kernel_event> changes) noexcept {
    const auto n = static_cast<int>(changes.size());
    const timespec none{};
    const int result = detail::retry_interrupted(
        [&] { return ::kevent(fd_.get(), changes.data(), n, changes.data(), n, &none); });
    return outcome(result);
  }

  /// From any thread: ends the current wait or the next one, by an event without `udata`.
  /// Cost: a system call.
  void wake() const noexcept {
    if (pipe_in_) {
      const char byte = 0;
      (void)!::write(pipe_in_.get(), &byte, 1); // a full pipe is an event already
      return;
    }
    const kernel_event trigger = change_of(0, EVFILT_USER, 0, NOTE_TRIGGER, nullptr);
    (void)::kevent(fd_.get(), &trigger, 1, nullptr, 0, nullptr);
  }

private:
  static constexpr std::time_t longest_wait = 100'000'000; // a longer one is EINVAL

  [[nodiscard]] bool wakes_by_event() const noexcept {
    // Without EV_CLEAR, the event would be reported again and again.
    const kernel_event add = change_of(0, EVFILT_USER, EV_ADD | EV_CLEAR, 0, nullptr);
    const timespec none{};
    if (::kevent(fd_.get(), &add, 1, nullptr, 0, &none) < 0) return false;
    wake();
    kernel_event reported{};
    return ::kevent(fd_.get(), nullptr, 0, &reported, 1, &none) == 1 &&
           (reported.flags & EV_ERROR) == 0;
  }

  failure wake_by_pipe() noexcept {
    int ends[2];
    if (::pipe(ends) < 0) return last_error();
    pipe_out_ = unique_fd(ends[0]);
    pipe_in_ = unique_fd(ends[1]);
    for (const int end : ends) {
      ::fcntl(end, F_SETFD, FD_CLOEXEC);
      ::fcntl(end, F_SETFL, O_NONBLOCK);
    }
    kernel_event add = change_of(static_cast<std::uintptr_t>(ends[0]), EVFILT_READ,
                                 EV_ADD | EV_CLEAR | EV_RECEIPT, 0, nullptr);
    if (const failure why = submit({&add, 1})) return why;
    return failure::from_os(static_cast<int>(add.data));
  }
  // A pipe that is full would not announce the next wake-up.
  void drain(std::span<const kernel_event> events) const noexcept {
    char bytes[512];
    for (const kernel_event& e : events) {
      if (e.udata) continue;
      while (::read(pipe_out_.get(), bytes, sizeof bytes) > 0) {
      }
    }
  }

  unique_fd fd_;
  unique_fd pipe_out_, pipe_in_;
  process_mark process_;
};

}}} // namespace rouse::ROUSE_ABI::os
#endif

// signals: wait for Ctrl-C and other signals as for a socket.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/os/signal_inbox.hpp>
#include <rouse/os/signals.hpp>
#include <rouse/os/socket.hpp>
#include <rouse/sockets/socket.hpp>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <system_error>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

// Receives one byte, the number of a signal, which the signal handler has written into the socket.
struct signal_call {
  using value_type = int;
  static constexpr const char* name = "rouse: wait for a signal";
  socket_state* socket;
  std::shared_ptr<os::signal_inbox> inbox; // the call may outlive the `signals` object
  unsigned char number = 0;

  bool prepare(operation& op) noexcept {
    op.action = action::recv;
    op.target = socket;
    op.data = &number;
    op.size = 1;
    return true;
  }
  bool advance(operation&) noexcept { return true; }
  int value(operation&) noexcept {
    const int n = std::exchange(number, static_cast<unsigned char>(0));
    if (n != 0) inbox->take(n);
    return n;
  }
  // The flow was ended before it got the result: the signal is kept for the next wait.
  template <class Engine>
  void discard(operation&, Engine&) noexcept {
    if (number != 0) inbox->put_back(number);
  }
};

} // namespace detail

/// Waits for signals of the operating system.
///
///     rouse::signals interrupted{sched, {SIGINT, SIGTERM}};
///     interrupted.wait();              // co_await it, or give it a handler, where recv would be
///
/// While such an object exists, its signals have no other effect: they do not end the process, and
/// a handler that the application installed before is not called. Its destructor restores the
/// previous disposition, unless the application has installed another one in the meantime.
///
/// A signal that arrives before a `wait` is kept for the next one. None is lost: as many calls of
/// `wait` return as the kernel has delivered signals (it merges pending standard signals of one
/// number). Signals of different numbers are reported in the order of arrival; if several of one
/// number have arrived, the numbers take turns. Several objects may wait for the same signal; each
/// receives it, even if the process contains several copies of this library, for instance in shared
/// libraries.
///
/// In a forked child, a signal acts as if these objects did not exist, and the parent is not
/// notified, until the child calls `wait`: from then on the object belongs to the child.
///
/// Windows: Ctrl-C is SIGINT, Ctrl-Break is SIGBREAK; closing the console, logging off and shutting
/// down are SIGTERM. After these three events the system ends the process as soon as the control
/// handler returns. The handler therefore does not return, so that flows can clean up: the process
/// ends when `main` returns, or when the system's timeout expires: 5 seconds (HungAppTimeout,
/// WaitToKillAppTimeout), for a service 20 (WaitToKillServiceTimeout). AllocConsole, AttachConsole
/// and FreeConsole remove all handlers: create these objects after calling them.
///
/// Threads: the scheduler's own; a signal may arrive on any thread. Cost: memory for each object,
/// no allocation for a signal. Source: sigaction(2); SetConsoleCtrlHandler, HandlerRoutine.
template <class Scheduler>
class signals {
  using call_site = detail::call_site;
  using location = detail::location;
  using nothing = detail::nothing;

public:
  /// Takes over the signals.
  /// @param which  the signals: SIGINT, SIGTERM, ...; numbers from 1 to 64.
  ///
  /// Errors: invalid_argument (not a signal, or one that cannot be caught); those of socket.
  signals(Scheduler& s, std::initializer_list<int> which) {
    std::uint64_t numbers = 0;
    std::error_code ec;
    for (const int n : which) {
      if (n < 1 || n > os::signal_inbox::most_numbers)
        ec = failure(std::errc::invalid_argument).code();
      else
        numbers |= os::signal_inbox::bit(n);
    }
    if (!ec) ec = listen(s, numbers);
    if (ec) detail::throw_error(ec, "rouse: signals");
  }
  signals(const signals&) = delete;
  signals& operator=(const signals&) = delete;
  ~signals() { inbox_->leave(*inbox_); }

  /// Waits for the next signal.
  /// @returns its number.
  ///
  /// Errors: timed_out, operation_canceled. Cancellation: if a signal and a cancellation race, the
  /// signal is returned or kept for the next call.
  template <class...>
  decltype(auto) wait(location at = location::current()) {
    return read_end_.start(call(), at);
  }
  template <class First = limit, class How = nothing>
  decltype(auto) wait(First&& first, How&& how = How(), call_site at = location::current()) {
    return read_end_.start(call(), at, std::forward<First>(first), std::forward<How>(how));
  }

  /// Completes the waiting calls with operation_canceled.
  void cancel() noexcept { read_end_.cancel(); }

private:
  std::error_code listen(Scheduler& s, std::uint64_t numbers) {
    // Not std::make_shared: in libstdc++ it has a symbol of the binding STB_GNU_UNIQUE, and the
    // dynamic loader never unloads a shared library that defines one.
    std::shared_ptr<os::signal_inbox> inbox(new os::signal_inbox);
    using sockets = typename Scheduler::engine_type::sockets;
    native_handle_type pair[2] = {os::no_handle, os::no_handle};
    std::error_code ec = sockets::open_pair(SOCK_STREAM, pair).code();
    if (ec) return ec;
    inbox->announce_in(pair[1]);
    auto read_end = socket<Scheduler>::adopt(s, pair[0], ec);
    if (ec) sockets::close(pair[0]);
    if (!ec) ec = os::signal_table::subscribe(*inbox, numbers).code();
    if (ec) return ec;
    read_end.record_->awaits_signals = true;
    read_end_ = std::move(read_end);
    inbox_ = std::move(inbox);
    return ec;
  }

  detail::signal_call call() {
    if (!inbox_->of_this_process() && read_end_.is_open()) take_over();
    return {read_end_.record_, inbox_};
  }
  // In a forked child: replaces the socket, which the child shares with its parent.
  void take_over() {
    const std::error_code ec = listen(*read_end_.scheduler(), inbox_->wanted);
    // With operation_not_permitted the engine is inert in the child; the wait itself reports that.
    if (ec && ec != std::errc::operation_not_permitted) read_end_.close();
  }

  socket<Scheduler> read_end_;
  std::shared_ptr<os::signal_inbox> inbox_;
};

}} // namespace rouse::ROUSE_ABI

// Ctrl-C and other signals, waited for like anything else.
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
#include <source_location>
#include <system_error>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

// One byte of the socket that the handler writes into: the signal's number.
struct signal_call {
  using value_type = int;
  static constexpr const char* name = "rouse: wait for a signal";
  socket_state* socket;
  std::shared_ptr<os::signal_inbox> inbox; // it may end before the object
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
  // The flow that waited has ended: the signal is for the next wait.
  template <class Engine>
  void discard(operation&, Engine&) noexcept {
    if (number != 0) inbox->put_back(number);
  }
};

} // namespace detail

/// Signals of the operating system, for code that waits the scheduler's way.
///
///     rouse::signals interrupted{sched, {SIGINT, SIGTERM}};
///     interrupted.wait();              // co_await it, or give it a handler, where recv would be
///
/// While one of these exists, its signals do nothing else: they do not end the process, and a
/// handler that the application had installed before is not called. Afterwards they do again what
/// they did before, unless the application has installed something else meanwhile: that stays.
///
/// A signal that comes before a wait is kept for the next one. None is lost: as many waits return
/// as the kernel has delivered signals (which makes one of several pending standard signals of a
/// kind). Kinds are told of in the order in which they came, and take turns where several of a kind
/// have come. Any number of objects may want the same signal; each gets it, also where the process
/// has several copies of this library, such as in its shared libraries.
///
/// A forked child is on its own: there a signal does what it would do without these objects, and is
/// not told to the parent, until the child calls `wait`: from then on the object is the child's.
///
/// Windows: Ctrl-C is SIGINT, Ctrl-Break SIGBREAK; a closed console, the end of the session and a
/// shutdown are SIGTERM. After those three the system ends the process as soon as the control
/// handler returns; so that flows can clean up, it does not return: the process ends when `main`
/// does, or when the system's patience does: 5 seconds (HungAppTimeout, WaitToKillAppTimeout), 20
/// for a service (WaitToKillServiceTimeout). AllocConsole, AttachConsole and FreeConsole make the
/// system forget all handlers: make these objects afterwards.
///
/// Threads: the scheduler's own; the signal may come in any. Cost: memory for each object, nothing
/// for each signal. Source: sigaction(2); SetConsoleCtrlHandler, HandlerRoutine.
template <class Scheduler>
class signals {
public:
  /// @param which  SIGINT, SIGTERM ...: numbers from 1 to 64.
  ///
  /// Errors: invalid_argument (no signal, or one that cannot be caught); those of socket.
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

  /// Waits for the next one. @returns its number.
  template <class How = detail::nothing>
    requires(!detail::limit_first<How>)
  decltype(auto) wait(How&& how = How(), detail::call_site at = std::source_location::current()) {
    return read_end_.begin(call(), no_limit{at}, std::forward<How>(how));
  }
  template <class... How>
  decltype(auto) wait(limit l, How&&... how) {
    return read_end_.begin(call(), std::move(l), std::forward<How>(how)...);
  }

  /// Ends what waits with operation_canceled.
  void cancel() noexcept { read_end_.cancel(); }

private:
  std::error_code listen(Scheduler& s, std::uint64_t numbers) {
    // Not by make_shared: in libstdc++ that has a unique symbol, for which the dynamic loader never
    // unloads a shared library.
    std::shared_ptr<os::signal_inbox> inbox(new os::signal_inbox);
    native_handle_type pair[2];
    std::error_code ec = os::open_pair(SOCK_STREAM, pair).code();
    if (ec) return ec;
    inbox->announce_in(pair[1]);
    auto read_end = socket<Scheduler>::adopt(s, pair[0], ec);
    if (ec) os::close_socket(pair[0]);
    if (!ec) ec = os::signal_table::subscribe(*inbox, numbers).code();
    if (ec) return ec;
    read_end.record_->purpose = "signal wait";
    read_end_ = std::move(read_end);
    inbox_ = std::move(inbox);
    return ec;
  }

  detail::signal_call call() {
    if (!inbox_->of_this_process() && read_end_.is_open()) take_over();
    return {read_end_.record_, inbox_};
  }
  // In a forked child, whose copy of the object would read what is the parent's.
  void take_over() {
    const std::error_code ec = listen(*read_end_.scheduler(), inbox_->wanted);
    // An engine that the fork has made useless says so in the wait itself.
    if (ec && ec != std::errc::operation_not_permitted) read_end_.close();
  }

  socket<Scheduler> read_end_;
  std::shared_ptr<os::signal_inbox> inbox_;
};

}} // namespace rouse::ROUSE_ABI

// Ctrl-C and other signals, waited for like anything else.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/os/signals.hpp>
#include <rouse/os/socket.hpp>
#include <rouse/sockets/socket.hpp>

#include <cstdint>
#include <initializer_list>
#include <source_location>
#include <utility>

namespace rouse::inline ROUSE_ABI {
namespace detail {

// One byte of the socket that the handler writes into: the signal's number.
struct signal_call {
  using value_type = int;
  static constexpr const char* name = "rouse: wait for a signal";
  descriptor* socket;
  unsigned char number = 0;

  bool prepare(operation& op) noexcept {
    op.what = action::recv;
    op.target = socket;
    op.data = &number;
    op.size = 1;
    return true;
  }
  bool advance(operation&) noexcept { return true; }
  int value(operation& op) noexcept { return op.error ? 0 : number; }
};

} // namespace detail

/// Signals of the operating system, for code that waits the scheduler's way.
///
///     rouse::signals interrupted{sched, {SIGINT, SIGTERM}};
///     interrupted.wait();              // co_await it, or give it a handler, where recv would be
///
/// While one of these exists, its signals do nothing else: they do not end the process. One that
/// comes before anybody waits is kept for the next wait. Several objects may want the same signal;
/// each gets it.
///
/// Threads: the scheduler's own; the signal may come in any. Source: sigaction(2);
/// SetConsoleCtrlHandler (Ctrl-C is SIGINT, Ctrl-Break SIGBREAK, the end of the session SIGTERM).
template <class Scheduler>
class signals {
public:
  /// @param which  SIGINT, SIGTERM ...: numbers from 1 to 64.
  ///
  /// Errors: invalid_argument (no signal, or one that cannot be caught); those of socket.
  signals(Scheduler& s, std::initializer_list<int> which) {
    native_handle_type pair[2];
    check(os::connected_pair(pair));
    writing_ = pair[1];
    std::error_code ec;
    reading_ = socket<Scheduler>::adopt(s, pair[0], ec);
    if (ec)
      os::close_socket(pair[0]);
    else
      reading_.record_->purpose = "signal wait";
    std::uint64_t numbers = 0;
    for (const int n : which) {
      if (n < 1 || n > os::signal_table::most_numbers)
        ec = failure(std::errc::invalid_argument).code();
      else
        numbers |= std::uint64_t{1} << (n - 1);
    }
    if (!ec) ec = os::signal_table::subscribe(writing_, numbers).code();
    if (!ec) return;
    os::close_socket(writing_);
    detail::throw_error(ec, "rouse: signals");
  }
  signals(const signals&) = delete;
  signals& operator=(const signals&) = delete;
  ~signals() {
    os::signal_table::unsubscribe(writing_);
    os::close_socket(writing_);
  }

  /// Waits for the next one. @returns its number.
  template <class How = detail::nothing>
    requires(!detail::limit_first<How>)
  decltype(auto) wait(How&& how = {}, detail::call_site at = std::source_location::current()) {
    return reading_.begin(detail::signal_call{reading_.record_}, no_limit{at},
                          std::forward<How>(how));
  }
  template <class... How>
  decltype(auto) wait(limit l, How&&... how) {
    return reading_.begin(detail::signal_call{reading_.record_}, std::move(l),
                          std::forward<How>(how)...);
  }

  /// Ends what waits with operation_canceled.
  void cancel() noexcept { reading_.cancel(); }

private:
  static void check(failure why) {
    if (why) detail::throw_error(why.code(), "rouse: signals");
  }

  socket<Scheduler> reading_;
  native_handle_type writing_ = os::no_handle;
};

} // namespace rouse::inline ROUSE_ABI

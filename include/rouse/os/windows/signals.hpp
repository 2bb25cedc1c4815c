// How a console event reaches a loop: the handler writes a byte into the sockets of those who want
// it.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/socket.hpp>

#if ROUSE_WINDOWS
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace rouse::inline ROUSE_ABI::os {

/// Two sockets connected with each other; both are the caller's. Windows has no socketpair(2).
inline failure connected_pair(native_handle_type (&out)[2]) noexcept {
  native_handle_type listener = no_handle;
  if (const failure f = open_socket(AF_INET, SOCK_STREAM, 0, true, listener)) return f;
  out[0] = out[1] = no_handle;
  socket_address at = socket_address::wildcard(AF_INET);
  at.v4.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  failure f = outcome(::bind(listener, &at.any, at.length));
  if (!f) f = outcome(::listen(listener, 1));
  if (!f) f = outcome(::getsockname(listener, &at.any, &at.length));
  if (!f) f = open_socket(AF_INET, SOCK_STREAM, 0, true, out[1]);
  if (!f) f = outcome(::connect(out[1], &at.any, at.length));
  if (!f) {
    out[0] = ::accept(listener, nullptr, nullptr);
    if (out[0] == no_handle) f = last_error();
  }
  close_socket(listener);
  if (f && out[1] != no_handle) close_socket(out[1]);
  return f;
}

namespace detail {

// Who is told, and of what.
struct signal_listener {
  native_handle_type to = no_handle;
  std::uint64_t wanted = 0;
};

} // namespace detail

/// Console events, as the signals that the C library has for them: Ctrl-C is SIGINT, Ctrl-Break
/// SIGBREAK, a closed console, a log-off or a shutdown SIGTERM.
///
/// Threads: any. Windows calls the handler in a thread of its own. Source: SetConsoleCtrlHandler.
class signal_table {
public:
  static constexpr int most_numbers = 64;

  /// From now on each of `numbers` (bit n - 1: signal n) writes its number, one byte, into `to`.
  static failure subscribe(native_handle_type to, std::uint64_t numbers) noexcept {
    const std::uint64_t known = bit(SIGINT) | bit(SIGTERM) | bit(SIGBREAK);
    if (numbers & ~known) return std::errc::invalid_argument;
    const std::lock_guard lock(mutex());
    entry* const free = find(no_handle);
    if (!free) return std::errc::not_enough_memory;
    if (users_ == 0 && !::SetConsoleCtrlHandler(&signal_table::handle, TRUE))
      return failure::from_os(static_cast<int>(::GetLastError()));
    ++users_;
    *free = {to, numbers};
    return {};
  }

  static void unsubscribe(native_handle_type to) noexcept {
    const std::lock_guard lock(mutex());
    entry* const mine = find(to);
    if (!mine) return;
    *mine = {};
    if (--users_ == 0) ::SetConsoleCtrlHandler(&signal_table::handle, FALSE);
  }

  /// What Windows calls. @returns whether somebody wanted it: else the next handler is asked, in
  /// the end the one that ends the process.
  static BOOL WINAPI handle(DWORD event) noexcept {
    const int n = event == CTRL_C_EVENT ? SIGINT : event == CTRL_BREAK_EVENT ? SIGBREAK : SIGTERM;
    const char byte = static_cast<char>(n);
    BOOL wanted = FALSE;
    const std::lock_guard lock(mutex());
    for (const entry& e : entries_) {
      if (e.to == no_handle || !(e.wanted & bit(n))) continue;
      ::send(e.to, &byte, 1, 0);
      wanted = TRUE;
    }
    return wanted;
  }

private:
  using entry = detail::signal_listener;
  static inline entry entries_[64];
  static inline std::size_t users_ = 0;

  static std::mutex& mutex() noexcept {
    static std::mutex m;
    return m;
  }
  static constexpr std::uint64_t bit(int n) noexcept { return std::uint64_t{1} << (n - 1); }

  static entry* find(native_handle_type to) noexcept {
    for (entry& e : entries_) {
      if (e.to == to) return &e;
    }
    return nullptr;
  }
};

} // namespace rouse::inline ROUSE_ABI::os
#endif

// How console events reach `signals` objects. One process may hold several copies of this library
// (in DLLs), and each copy may have such objects.
//
//   Windows -> handler of the latest copy -> on_console_event of each copy -> its objects
//
// Windows calls the handlers of a process one after another, the latest first, until one of them
// returns that it has handled the event. So the first handler of this library that is called
// notifies all copies. It finds them in the process's own atom table: each copy adds an atom there,
// and the atom's name contains the address of that copy's `on_console_event`.
//
// Windows holds the lock that SetConsoleCtrlHandler needs while handlers run. Two things follow:
//   - Once a copy has removed its handler, the handler no longer runs and the DLL may be unloaded.
//   - No handler may wait for a lock that is held during SetConsoleCtrlHandler. So there are two:
//     `registration`, held during that call, and `mutex` for the list, held only briefly.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/signal_inbox.hpp>
#include <rouse/os/socket.hpp>

#if ROUSE_WINDOWS
#include <charconv>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string_view>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// Maps console events to signals of the C library: Ctrl-C is SIGINT; Ctrl-Break is SIGBREAK; a
/// closed console, a log-off and a shutdown are SIGTERM.
///
/// Threads: any. Windows calls the handler on a thread of its own.
/// Source: SetConsoleCtrlHandler, HandlerRoutine, AddAtom.
class signal_table {
public:
  /// Adds each arriving signal of the set `numbers` (bit n - 1: signal n) to `in`, until `in.leave`
  /// is called.
  /// @returns invalid_argument for a signal other than SIGINT, SIGTERM and SIGBREAK.
  static failure subscribe(signal_inbox& in, std::uint64_t numbers) noexcept {
    const std::uint64_t known =
        signal_inbox::bit(SIGINT) | signal_inbox::bit(SIGTERM) | signal_inbox::bit(SIGBREAK);
    if (numbers & ~known) return std::errc::invalid_argument;
    const std::lock_guard registering(registration());
    if (atom_ == 0) {
      if (const failure f = enter()) return f;
    }
    const std::lock_guard lock(mutex());
    in.wanted = numbers;
    in.leave = &unsubscribe;
    in.next.store(first_);
    first_ = &in;
    return {};
  }

  /// The handler that Windows calls.
  /// @returns whether an object wants the event. If none does, Windows calls the next handler; the
  /// last one ends the process.
  ///
  /// For a closed console, a log-off or a shutdown, Windows ends the process when this function
  /// returns, or when its own time limit has passed. So the function returns only after no object
  /// wants the event any more and `main` has had time to return.
  static BOOL WINAPI handle(DWORD event) noexcept {
    if (!notify_all_copies(event)) return FALSE;
    if (event >= CTRL_CLOSE_EVENT) {
      while (notify_all_copies(query_wanted)) ::Sleep(10);
      ::Sleep(5000); // the time limit of Windows
    }
    return TRUE;
  }

private:
  using event_function = BOOL WINAPI(DWORD);
  // Instead of an event: asks whether an object wants SIGTERM, without adding a signal.
  static constexpr DWORD query_wanted = 0x726f7573;
  static constexpr std::string_view prefix = "rouse-signals-1:";
  static constexpr std::size_t longest_name = 64;

  static inline signal_inbox* first_ = nullptr;
  static inline bool process_ending_ = false; // a handler waits for the process to end
  static inline ATOM atom_ = 0; // 0: this copy has no handler

  static std::mutex& registration() noexcept {
    static std::mutex m;
    return m;
  }
  // Guards the list. No thread waits while it holds it.
  static std::mutex& mutex() noexcept {
    static std::mutex m;
    return m;
  }

  static void unsubscribe(signal_inbox& in) noexcept {
    const std::lock_guard registering(registration());
    bool last = false;
    {
      const std::lock_guard lock(mutex());
      if (first_ == &in) {
        first_ = in.next.load();
      } else {
        signal_inbox* before = first_;
        while (before->next.load() != &in) before = before->next.load();
        before->next.store(in.next.load());
      }
      // While the process ends, a handler runs and Windows holds the lock that `leave` needs.
      last = first_ == nullptr && !process_ending_;
    }
    if (last) leave();
  }

  static failure enter() noexcept {
    char name[longest_name] = {};
    prefix.copy(name, prefix.size());
    std::to_chars(name + prefix.size(), name + sizeof name - 1,
                  reinterpret_cast<std::uintptr_t>(&on_console_event), 16);
    atom_ = ::AddAtomA(name);
    if (atom_ == 0) return failure::from_os(static_cast<int>(::GetLastError()));
    if (::SetConsoleCtrlHandler(&handle, TRUE)) return {};
    const failure f = failure::from_os(static_cast<int>(::GetLastError()));
    ::DeleteAtom(std::exchange(atom_, ATOM{0}));
    return f;
  }
  static void leave() noexcept {
    ::DeleteAtom(std::exchange(atom_, ATOM{0}));
    ::SetConsoleCtrlHandler(&handle, FALSE);
  }

  // Adds the signal of an event to the objects of this copy. @returns whether an object wants it.
  static BOOL WINAPI on_console_event(DWORD event) noexcept {
    const int n = event == CTRL_C_EVENT ? SIGINT : event == CTRL_BREAK_EVENT ? SIGBREAK : SIGTERM;
    const std::lock_guard lock(mutex());
    BOOL wanted = FALSE;
    for (signal_inbox* i = first_; i; i = i->next.load()) {
      if (!(i->wanted & signal_inbox::bit(n))) continue;
      if (event != query_wanted) i->add(n);
      wanted = TRUE;
    }
    if (event >= CTRL_CLOSE_EVENT && event != query_wanted) process_ending_ = true;
    return wanted;
  }

  // Calls `on_console_event` of every copy in the process. @returns whether an object wants it.
  static BOOL notify_all_copies(DWORD event) noexcept {
    BOOL wanted = FALSE;
    for (unsigned atom = 0xC000; atom <= 0xFFFF; ++atom) {
      if (event_function* const copy = function_of(static_cast<ATOM>(atom))) wanted |= copy(event);
    }
    return wanted;
  }
  static event_function* function_of(ATOM atom) noexcept {
    char room[longest_name];
    const std::string_view name(room, ::GetAtomNameA(atom, room, sizeof room));
    std::uintptr_t address = 0;
    if (name.substr(0, prefix.size()) != prefix) return nullptr;
    std::from_chars(room + prefix.size(), room + name.size(), address, 16);
    return reinterpret_cast<event_function*>(address);
  }
};

}}} // namespace rouse::ROUSE_ABI::os
#endif

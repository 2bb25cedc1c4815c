// The functions that import tables contain in place of Winsock's, and the redirection of the
// tables.
//
//     program or DLL calls recv -> import table -> calls::recv
//       parks(socket): the caller is a fiber that may be parked, and the socket blocks
//         yes: parked::receive, with the socket in non-blocking mode
//         no:  real::recv, with the socket in the mode that the program knows
//
//     first interposed_calls            the addresses in all tables are replaced
//     LoadLibraryA, W, ExA, ExW         so are those in the tables of new modules
//     last interposed_calls destroyed   the former addresses are written back, and the sockets that
//                                       fibers have used return to blocking mode
#pragma once
#include <rouse/config.hpp>
#include <rouse/detail/chrono.hpp>
#include <rouse/install/call_parker.hpp>
#include <rouse/install/windows/calls.hpp>
#include <rouse/install/windows/import_tables.hpp>
#include <rouse/install/windows/lookup.hpp>
#include <rouse/install/windows/modes.hpp>
#include <rouse/install/windows/real_calls.hpp>
#include <rouse/os/windows/socket.hpp>

#if ROUSE_WINDOWS
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace rouse { inline namespace ROUSE_ABI { namespace os {
namespace installed {

/// Whether the calling fiber is to be parked instead of its thread, because the socket blocks. If
/// false, the call is left to the real function, and the socket is in the mode that the program
/// knows.
inline bool parks(SOCKET s) noexcept {
  if (here() && socket_modes::blocks(s)) return true;
  socket_modes::restore(s);
  return false;
}
inline bool parks(SOCKET s, int flags) noexcept {
  if ((flags & MSG_OOB) == 0) return parks(s);
  socket_modes::restore(s);
  return false;
}

/// Records a new socket. An earlier socket may have had the same number and another mode.
inline SOCKET record_new_socket(SOCKET s, bool blocks = true) noexcept {
  if (s != INVALID_SOCKET) socket_modes::note(s, blocks);
  return s;
}

void module_loaded() noexcept;

inline HMODULE after_load(HMODULE m) noexcept {
  const DWORD error = ::GetLastError();
  if (m) module_loaded();
  ::SetLastError(error);
  return m;
}

inline parked::pieces pieces(const void* data, int size, WSABUF& room) noexcept {
  room = {size < 0 ? 0 : static_cast<ULONG>(size), static_cast<char*>(const_cast<void*>(data))};
  return {&room, 1};
}

/// The functions for the import tables, under the names of the functions that they replace.
struct calls {
  static SOCKET WSAAPI socket(int family, int type, int protocol) {
    return record_new_socket(real::socket(family, type, protocol));
  }
  static SOCKET WSAAPI WSASocketA(int family, int type, int protocol, LPWSAPROTOCOL_INFOA info,
                                  GROUP group, DWORD flags) {
    return record_new_socket(real::WSASocketA(family, type, protocol, info, group, flags));
  }
  static SOCKET WSAAPI WSASocketW(int family, int type, int protocol, LPWSAPROTOCOL_INFOW info,
                                  GROUP group, DWORD flags) {
    return record_new_socket(real::WSASocketW(family, type, protocol, info, group, flags));
  }

  static int WSAAPI connect(SOCKET s, const sockaddr* peer, int length) {
    const auto call = [&] { return real::connect(s, peer, length); };
    return parks(s) ? parked::connect(s, call) : call();
  }
  static int WSAAPI WSAConnect(SOCKET s, const sockaddr* peer, int length, LPWSABUF to,
                               LPWSABUF from, LPQOS quality, LPQOS of_group) {
    const auto call = [&] {
      return real::WSAConnect(s, peer, length, to, from, quality, of_group);
    };
    if (to || from) socket_modes::restore(s); // received data arrives as the call returns
    return !to && !from && parks(s) ? parked::connect(s, call) : call();
  }
  // A connection inherits the mode of its listener.
  static SOCKET WSAAPI accept(SOCKET s, sockaddr* peer, int* length) {
    const auto call = [&] { return real::accept(s, peer, length); };
    return record_new_socket(parks(s) ? parked::accept(s, call) : call(), socket_modes::blocks(s));
  }
  static SOCKET WSAAPI WSAAccept(SOCKET s, sockaddr* peer, LPINT length, LPCONDITIONPROC condition,
                                 DWORD_PTR data) {
    const auto call = [&] { return real::WSAAccept(s, peer, length, condition, data); };
    return record_new_socket(parks(s) ? parked::accept(s, call) : call(), socket_modes::blocks(s));
  }

  static int WSAAPI recv(SOCKET s, char* data, int size, int flags) {
    const auto call = [&](DWORD f) { return real::recv(s, data, size, static_cast<int>(f)); };
    if (!parks(s, flags)) return call(static_cast<DWORD>(flags));
    WSABUF room;
    return static_cast<int>(
        parked::receive(s, pieces(data, size, room), static_cast<DWORD>(flags), call));
  }
  static int WSAAPI recvfrom(SOCKET s, char* data, int size, int flags, sockaddr* from,
                             int* length) {
    const auto call = [&](DWORD f) {
      return real::recvfrom(s, data, size, static_cast<int>(f), from, length);
    };
    if (!parks(s, flags)) return call(static_cast<DWORD>(flags));
    WSABUF room;
    return static_cast<int>(
        parked::receive(s, pieces(data, size, room), static_cast<DWORD>(flags), call));
  }
  static int WSAAPI WSARecv(SOCKET s, LPWSABUF data, DWORD count, LPDWORD bytes, LPDWORD flags,
                            LPWSAOVERLAPPED record, LPWSAOVERLAPPED_COMPLETION_ROUTINE completion) {
    return wsa_receive(s, {data, count}, bytes, flags, record, [=](LPDWORD n, LPDWORD f) {
      return real::WSARecv(s, data, count, n, f, record, completion);
    });
  }
  static int WSAAPI WSARecvFrom(SOCKET s, LPWSABUF data, DWORD count, LPDWORD bytes, LPDWORD flags,
                                sockaddr* from, LPINT length, LPWSAOVERLAPPED record,
                                LPWSAOVERLAPPED_COMPLETION_ROUTINE completion) {
    return wsa_receive(s, {data, count}, bytes, flags, record, [=](LPDWORD n, LPDWORD f) {
      return real::WSARecvFrom(s, data, count, n, f, from, length, record, completion);
    });
  }

  static int WSAAPI send(SOCKET s, const char* data, int size, int flags) {
    const auto call = [&] { return real::send(s, data, size, flags); };
    if (!parks(s, flags)) return call();
    WSABUF room;
    return static_cast<int>(parked::send(s, pieces(data, size, room), call));
  }
  static int WSAAPI sendto(SOCKET s, const char* data, int size, int flags, const sockaddr* to,
                           int length) {
    const auto call = [&] { return real::sendto(s, data, size, flags, to, length); };
    if (!parks(s, flags)) return call();
    WSABUF room;
    return static_cast<int>(parked::send(s, pieces(data, size, room), call));
  }
  static int WSAAPI WSASend(SOCKET s, LPWSABUF data, DWORD count, LPDWORD bytes, DWORD flags,
                            LPWSAOVERLAPPED record, LPWSAOVERLAPPED_COMPLETION_ROUTINE completion) {
    return wsa_send(s, {data, count}, bytes, flags, record, [=](LPDWORD n) {
      return real::WSASend(s, data, count, n, flags, record, completion);
    });
  }
  static int WSAAPI WSASendTo(SOCKET s, LPWSABUF data, DWORD count, LPDWORD bytes, DWORD flags,
                              const sockaddr* to, int length, LPWSAOVERLAPPED record,
                              LPWSAOVERLAPPED_COMPLETION_ROUTINE completion) {
    return wsa_send(s, {data, count}, bytes, flags, record, [=](LPDWORD n) {
      return real::WSASendTo(s, data, count, n, flags, to, length, record, completion);
    });
  }

  static int WSAAPI select(int ignored, fd_set* in, fd_set* out, fd_set* urgent,
                           const timeval* limit) {
    const bool some =
        (in && in->fd_count) || (out && out->fd_count) || (urgent && urgent->fd_count);
    const bool waits = !limit || (limit->tv_sec >= 0 && limit->tv_usec >= 0 &&
                                  (limit->tv_sec != 0 || limit->tv_usec != 0));
    if (!some || !waits || !here())
      return real::select(ignored, in, out, urgent, const_cast<timeval*>(limit));
    auto until = (clock::time_point::max)();
    if (limit)
      until =
          deadline(std::chrono::seconds(limit->tv_sec) + std::chrono::microseconds(limit->tv_usec))
              .when();
    return parked::select(in, out, urgent, until);
  }
  static int WSAAPI WSAPoll(LPWSAPOLLFD files, ULONG count, INT timeout) {
    if (timeout == 0 || count == 0 || !here()) return real::WSAPoll(files, count, timeout);
    return parked::poll(files, count, parked::after(timeout));
  }

  static int WSAAPI closesocket(SOCKET s) {
    if (call_parker::here) call_parker::here->closing(s);
    const bool for_fibers = socket_modes::forget(s);
    const int result = real::closesocket(s);
    // With SO_LINGER a close may have to wait. In non-blocking mode it fails instead and the socket
    // stays open.
    if (result == 0 || !for_fibers || ::WSAGetLastError() != WSAEWOULDBLOCK) return result;
    socket_modes::set(s, 0);
    return real::closesocket(s);
  }
  static int WSAAPI ioctlsocket(SOCKET s, long command, u_long* value) {
    const int result = real::ioctlsocket(s, command, value);
    if (result == 0 && command == static_cast<long>(FIONBIO)) socket_modes::note(s, *value == 0);
    return result;
  }
  static int WSAAPI WSAIoctl(SOCKET s, DWORD code, LPVOID in, DWORD in_size, LPVOID out,
                             DWORD out_size, LPDWORD bytes, LPWSAOVERLAPPED record,
                             LPWSAOVERLAPPED_COMPLETION_ROUTINE completion) {
    const int result =
        real::WSAIoctl(s, code, in, in_size, out, out_size, bytes, record, completion);
    if (result == 0 && code == static_cast<DWORD>(FIONBIO))
      socket_modes::note(s, *static_cast<const u_long*>(in) == 0);
    return result;
  }
  // Both put the socket into non-blocking mode for good.
  static int WSAAPI WSAAsyncSelect(SOCKET s, HWND window, u_int message, long events) {
    const int result = real::WSAAsyncSelect(s, window, message, events);
    if (result == 0) socket_modes::note(s, false);
    return result;
  }
  static int WSAAPI WSAEventSelect(SOCKET s, WSAEVENT event, long events) {
    const int result = real::WSAEventSelect(s, event, events);
    if (result == 0) socket_modes::note(s, false);
    return result;
  }

  static INT WSAAPI getaddrinfo(PCSTR host, PCSTR service, const ADDRINFOA* hints,
                                PADDRINFOA* found) {
    return here() ? parked::look_up<parked::narrow_names>(host, service, hints, found)
                  : real::getaddrinfo(host, service, hints, found);
  }
  static INT WSAAPI GetAddrInfoW(PCWSTR host, PCWSTR service, const ADDRINFOW* hints,
                                 PADDRINFOW* found) {
    return here() ? parked::look_up<parked::wide_names>(host, service, hints, found)
                  : real::GetAddrInfoW(host, service, hints, found);
  }

  // Sleep(0) gives up the rest of a time slice. Libraries call it while they wait for a lock.
  static void WINAPI Sleep(DWORD milliseconds) {
    if (milliseconds == 0 || !here()) return real::Sleep(milliseconds);
    (void)park_for(milliseconds);
  }
  static DWORD WINAPI SleepEx(DWORD milliseconds, BOOL alertable) {
    if (alertable || milliseconds == 0 || !here()) return real::SleepEx(milliseconds, alertable);
    return park_for(milliseconds);
  }

  static HMODULE WINAPI LoadLibraryA(LPCSTR name) { return after_load(real::LoadLibraryA(name)); }
  static HMODULE WINAPI LoadLibraryW(LPCWSTR name) { return after_load(real::LoadLibraryW(name)); }
  static HMODULE WINAPI LoadLibraryExA(LPCSTR name, HANDLE reserved, DWORD flags) {
    return after_load(real::LoadLibraryExA(name, reserved, flags));
  }
  static HMODULE WINAPI LoadLibraryExW(LPCWSTR name, HANDLE reserved, DWORD flags) {
    return after_load(real::LoadLibraryExW(name, reserved, flags));
  }

private:
  static DWORD park_for(DWORD milliseconds) noexcept {
    const DWORD before = ::GetLastError();
    const auto until = milliseconds == INFINITE
                           ? (clock::time_point::max)()
                           : deadline(std::chrono::milliseconds(milliseconds)).when();
    (void)parked::sleep_until(until);
    ::SetLastError(before);
    return 0;
  }

  // Overlapped calls do not block.
  template <class Call>
  static int wsa_receive(SOCKET s, parked::pieces data, LPDWORD bytes, LPDWORD flags,
                         const void* record, Call call) {
    if (record || !bytes || !flags || !parks(s, static_cast<int>(*flags)))
      return call(bytes, flags);
    DWORD said = *flags; // input and output
    const std::int64_t n = parked::receive(s, data, *flags, [&](DWORD f) {
      said = f;
      DWORD moved = 0;
      return call(&moved, &said) == 0 ? std::int64_t{moved} : std::int64_t{SOCKET_ERROR};
    });
    if (n < 0) return SOCKET_ERROR;
    *bytes = static_cast<DWORD>(n);
    *flags = said;
    return 0;
  }
  template <class Call>
  static int wsa_send(SOCKET s, parked::pieces data, LPDWORD bytes, DWORD flags, const void* record,
                      Call call) {
    if (record || !bytes || !parks(s, static_cast<int>(flags))) return call(bytes);
    const std::int64_t n = parked::send(s, data, [&] {
      DWORD moved = 0;
      return call(&moved) == 0 ? std::int64_t{moved} : std::int64_t{SOCKET_ERROR};
    });
    if (n < 0) return SOCKET_ERROR;
    *bytes = static_cast<DWORD>(n);
    return 0;
  }
};

/// Redirects the import tables from Winsock's functions to `calls`, or back.
inline void redirect(bool here) noexcept {
  replacements all;
  const auto lead = [&](const void* theirs, const void* ours) {
    here ? all.add(theirs, ours) : all.add(ours, theirs);
  };
#define ROUSE_REPLACE(name)                                                                        \
  lead(reinterpret_cast<const void*>(real::name.find()),                                           \
       reinterpret_cast<const void*>(&calls::name))
  ROUSE_REPLACE(socket);
  ROUSE_REPLACE(WSASocketA);
  ROUSE_REPLACE(WSASocketW);
  ROUSE_REPLACE(connect);
  ROUSE_REPLACE(WSAConnect);
  ROUSE_REPLACE(accept);
  ROUSE_REPLACE(WSAAccept);
  ROUSE_REPLACE(recv);
  ROUSE_REPLACE(recvfrom);
  ROUSE_REPLACE(WSARecv);
  ROUSE_REPLACE(WSARecvFrom);
  ROUSE_REPLACE(send);
  ROUSE_REPLACE(sendto);
  ROUSE_REPLACE(WSASend);
  ROUSE_REPLACE(WSASendTo);
  ROUSE_REPLACE(select);
  ROUSE_REPLACE(WSAPoll);
  ROUSE_REPLACE(closesocket);
  ROUSE_REPLACE(ioctlsocket);
  ROUSE_REPLACE(WSAIoctl);
  ROUSE_REPLACE(WSAAsyncSelect);
  ROUSE_REPLACE(WSAEventSelect);
  ROUSE_REPLACE(getaddrinfo);
  ROUSE_REPLACE(GetAddrInfoW);
  ROUSE_REPLACE(Sleep);
  ROUSE_REPLACE(SleepEx);
  ROUSE_REPLACE(LoadLibraryA);
  ROUSE_REPLACE(LoadLibraryW);
  ROUSE_REPLACE(LoadLibraryExA);
  ROUSE_REPLACE(LoadLibraryExW);
#undef ROUSE_REPLACE
  if (!here) return replace_everywhere(all);
  // Some modules import the functions of kernel32 from kernelbase instead.
#define ROUSE_REPLACE(name)                                                                        \
  lead(reinterpret_cast<const void*>(real::name.in(L"kernelbase.dll")),                            \
       reinterpret_cast<const void*>(&calls::name))
  ROUSE_REPLACE(Sleep);
  ROUSE_REPLACE(SleepEx);
  ROUSE_REPLACE(LoadLibraryA);
  ROUSE_REPLACE(LoadLibraryW);
  ROUSE_REPLACE(LoadLibraryExA);
  ROUSE_REPLACE(LoadLibraryExW);
#undef ROUSE_REPLACE
  replace_everywhere(all);
}

/// Counts the users of the redirection and applies it.
///
/// A thread that changes tables needs the loader's lock. A thread in LoadLibrary, or one that is
/// exiting, may hold that lock already. To avoid a deadlock such a thread does not wait for
/// `mutex_`: it sets `requested_`, and the thread that has the mutex applies once more.
class redirection {
public:
  static void add_user() noexcept {
    redirection& t = instance();
    {
      const std::lock_guard lock(t.mutex_);
      ++t.users_;
      t.apply();
    }
    t.apply_requested();
  }
  static void remove_user() noexcept {
    --instance().users_;
    request_apply();
  }
  /// Has the tables changed again: a module was loaded, or the last user is gone.
  static void request_apply() noexcept {
    instance().requested_ = true;
    instance().apply_requested();
  }

private:
  void apply_requested() noexcept {
    while (requested_) {
      const std::unique_lock lock(mutex_, std::try_to_lock);
      if (!lock) return;
      requested_ = false;
      apply();
    }
  }
  void apply() noexcept {
    const bool wanted = users_ != 0;
    if (!wanted && !applied_) return;
    redirect(wanted);
    if (!wanted) socket_modes::restore_all();
    applied_ = wanted;
  }
  // Never destroyed, since libraries may be loaded until the process ends.
  static redirection& instance() noexcept {
    static redirection& all = *new redirection;
    return all;
  }

  std::mutex mutex_;
  bool applied_ = false; // guarded by mutex_
  std::atomic<int> users_{0};
  std::atomic<bool> requested_{false};
};

inline void module_loaded() noexcept { redirection::request_apply(); }

} // namespace installed

/// While one exists, the import tables of the program and its DLLs contain the functions of
/// `calls`. Threads: any.
class interposed_calls {
public:
  interposed_calls() noexcept { installed::redirection::add_user(); }
  interposed_calls(const interposed_calls&) = delete;
  interposed_calls& operator=(const interposed_calls&) = delete;
  ~interposed_calls() { installed::redirection::remove_user(); }
};

}}} // namespace rouse::ROUSE_ABI::os
#endif

// The functions that stand in the import tables in place of Winsock's, and how they come there.
//
// Each module of a process has a table with the addresses of the functions that it imports, which
// the loader fills in and every call goes through. An entry is known by the address in it: so it
// does not matter whether it was imported by name or by number, or from a DLL that forwards to
// Winsock.
#pragma once
#include <rouse/config.hpp>
#include <rouse/os/call_parker.hpp>
#include <rouse/os/windows/installed.hpp>
#include <rouse/os/windows/modes.hpp>
#include <rouse/os/windows/real_calls.hpp>
#include <rouse/os/windows/socket.hpp>

#if ROUSE_WINDOWS
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <tlhelp32.h>

namespace rouse::inline ROUSE_ABI::os {
namespace installed {

/// Whether somebody parks the caller, and the socket's calls block.
inline bool parks(SOCKET s) noexcept { return here() && !nonblocking_sockets::has(s); }

/// What a socket that was just made is, whatever an earlier one of the same number was.
inline SOCKET made(SOCKET s, bool blocks = true) noexcept {
  if (s != INVALID_SOCKET) nonblocking_sockets::note(s, blocks);
  return s;
}

void module_loaded() noexcept;

inline HMODULE loaded(HMODULE m) noexcept {
  const DWORD error = ::GetLastError();
  if (m) module_loaded();
  ::SetLastError(error);
  return m;
}

inline parked::pieces pieces(const void* data, int size, WSABUF& room) noexcept {
  room = {size < 0 ? 0 : static_cast<ULONG>(size), static_cast<char*>(const_cast<void*>(data))};
  return {&room, 1};
}

/// Stands in the tables under the names of Winsock's own.
struct calls {
  static SOCKET WSAAPI socket(int family, int type, int protocol) {
    return made(real::socket(family, type, protocol));
  }
  static SOCKET WSAAPI WSASocketA(int family, int type, int protocol, LPWSAPROTOCOL_INFOA info,
                                  GROUP group, DWORD flags) {
    return made(real::WSASocketA(family, type, protocol, info, group, flags));
  }
  static SOCKET WSAAPI WSASocketW(int family, int type, int protocol, LPWSAPROTOCOL_INFOW info,
                                  GROUP group, DWORD flags) {
    return made(real::WSASocketW(family, type, protocol, info, group, flags));
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
    return parks(s) && !to && !from ? parked::connect(s, call) : call();
  }
  // A connection has the mode of its listener.
  static SOCKET WSAAPI accept(SOCKET s, sockaddr* peer, int* length) {
    const auto call = [&] { return real::accept(s, peer, length); };
    return made(parks(s) ? parked::accept(s, call) : call(), !nonblocking_sockets::has(s));
  }
  static SOCKET WSAAPI WSAAccept(SOCKET s, sockaddr* peer, LPINT length, LPCONDITIONPROC condition,
                                 DWORD_PTR data) {
    const auto call = [&] { return real::WSAAccept(s, peer, length, condition, data); };
    return made(parks(s) ? parked::accept(s, call) : call(), !nonblocking_sockets::has(s));
  }

  static int WSAAPI recv(SOCKET s, char* data, int size, int flags) {
    const auto call = [&](DWORD f) { return real::recv(s, data, size, static_cast<int>(f)); };
    if ((flags & MSG_OOB) || !parks(s)) return call(static_cast<DWORD>(flags));
    WSABUF room;
    return static_cast<int>(
        parked::receive(s, pieces(data, size, room), static_cast<DWORD>(flags), call));
  }
  static int WSAAPI recvfrom(SOCKET s, char* data, int size, int flags, sockaddr* from,
                             int* length) {
    const auto call = [&](DWORD f) {
      return real::recvfrom(s, data, size, static_cast<int>(f), from, length);
    };
    if ((flags & MSG_OOB) || !parks(s)) return call(static_cast<DWORD>(flags));
    WSABUF room;
    return static_cast<int>(
        parked::receive(s, pieces(data, size, room), static_cast<DWORD>(flags), call));
  }
  static int WSAAPI WSARecv(SOCKET s, LPWSABUF data, DWORD count, LPDWORD bytes, LPDWORD flags,
                            LPWSAOVERLAPPED record, LPWSAOVERLAPPED_COMPLETION_ROUTINE completion) {
    return received(s, {data, count}, bytes, flags, record, [=](LPDWORD n, LPDWORD f) {
      return real::WSARecv(s, data, count, n, f, record, completion);
    });
  }
  static int WSAAPI WSARecvFrom(SOCKET s, LPWSABUF data, DWORD count, LPDWORD bytes, LPDWORD flags,
                                sockaddr* from, LPINT length, LPWSAOVERLAPPED record,
                                LPWSAOVERLAPPED_COMPLETION_ROUTINE completion) {
    return received(s, {data, count}, bytes, flags, record, [=](LPDWORD n, LPDWORD f) {
      return real::WSARecvFrom(s, data, count, n, f, from, length, record, completion);
    });
  }

  static int WSAAPI send(SOCKET s, const char* data, int size, int flags) {
    const auto call = [&] { return real::send(s, data, size, flags); };
    if ((flags & MSG_OOB) || !parks(s)) return call();
    WSABUF room;
    return static_cast<int>(parked::send(s, pieces(data, size, room), call));
  }
  static int WSAAPI sendto(SOCKET s, const char* data, int size, int flags, const sockaddr* to,
                           int length) {
    const auto call = [&] { return real::sendto(s, data, size, flags, to, length); };
    if ((flags & MSG_OOB) || !parks(s)) return call();
    WSABUF room;
    return static_cast<int>(parked::send(s, pieces(data, size, room), call));
  }
  static int WSAAPI WSASend(SOCKET s, LPWSABUF data, DWORD count, LPDWORD bytes, DWORD flags,
                            LPWSAOVERLAPPED record, LPWSAOVERLAPPED_COMPLETION_ROUTINE completion) {
    return sent(s, {data, count}, bytes, flags, record, [=](LPDWORD n) {
      return real::WSASend(s, data, count, n, flags, record, completion);
    });
  }
  static int WSAAPI WSASendTo(SOCKET s, LPWSABUF data, DWORD count, LPDWORD bytes, DWORD flags,
                              const sockaddr* to, int length, LPWSAOVERLAPPED record,
                              LPWSAOVERLAPPED_COMPLETION_ROUTINE completion) {
    return sent(s, {data, count}, bytes, flags, record, [=](LPDWORD n) {
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
    const int result = real::closesocket(s);
    if (result == 0) {
      const int error = ::WSAGetLastError();
      nonblocking_sockets::note(s, true);
      ::WSASetLastError(error);
    }
    return result;
  }
  static int WSAAPI ioctlsocket(SOCKET s, long command, u_long* value) {
    const int result = real::ioctlsocket(s, command, value);
    if (result == 0 && command == static_cast<long>(FIONBIO))
      nonblocking_sockets::note(s, *value == 0);
    return result;
  }
  static int WSAAPI WSAIoctl(SOCKET s, DWORD code, LPVOID in, DWORD in_size, LPVOID out,
                             DWORD out_size, LPDWORD bytes, LPWSAOVERLAPPED record,
                             LPWSAOVERLAPPED_COMPLETION_ROUTINE completion) {
    const int result =
        real::WSAIoctl(s, code, in, in_size, out, out_size, bytes, record, completion);
    if (result == 0 && code == static_cast<DWORD>(FIONBIO))
      nonblocking_sockets::note(s, *static_cast<const u_long*>(in) == 0);
    return result;
  }
  // Both put the socket into non-blocking mode, where it stays.
  static int WSAAPI WSAAsyncSelect(SOCKET s, HWND window, u_int message, long events) {
    const int result = real::WSAAsyncSelect(s, window, message, events);
    if (result == 0) nonblocking_sockets::note(s, false);
    return result;
  }
  static int WSAAPI WSAEventSelect(SOCKET s, WSAEVENT event, long events) {
    const int result = real::WSAEventSelect(s, event, events);
    if (result == 0) nonblocking_sockets::note(s, false);
    return result;
  }

  static INT WSAAPI getaddrinfo(PCSTR host, PCSTR service, const ADDRINFOA* hints,
                                PADDRINFOA* found) {
    return here() ? parked::look_up_name<parked::narrow_names>(host, service, hints, found)
                  : real::getaddrinfo(host, service, hints, found);
  }
  static INT WSAAPI GetAddrInfoW(PCWSTR host, PCWSTR service, const ADDRINFOW* hints,
                                 PADDRINFOW* found) {
    return here() ? parked::look_up_name<parked::wide_names>(host, service, hints, found)
                  : real::GetAddrInfoW(host, service, hints, found);
  }

  // Sleep(0) gives up the rest of a time slice, which libraries do while they wait for a lock.
  static void WINAPI Sleep(DWORD milliseconds) {
    if (milliseconds == 0 || !here()) return real::Sleep(milliseconds);
    (void)slept(milliseconds);
  }
  static DWORD WINAPI SleepEx(DWORD milliseconds, BOOL alertable) {
    if (alertable || milliseconds == 0 || !here()) return real::SleepEx(milliseconds, alertable);
    return slept(milliseconds);
  }

  static HMODULE WINAPI LoadLibraryA(LPCSTR name) { return loaded(real::LoadLibraryA(name)); }
  static HMODULE WINAPI LoadLibraryW(LPCWSTR name) { return loaded(real::LoadLibraryW(name)); }
  static HMODULE WINAPI LoadLibraryExA(LPCSTR name, HANDLE reserved, DWORD flags) {
    return loaded(real::LoadLibraryExA(name, reserved, flags));
  }
  static HMODULE WINAPI LoadLibraryExW(LPCWSTR name, HANDLE reserved, DWORD flags) {
    return loaded(real::LoadLibraryExW(name, reserved, flags));
  }

private:
  static DWORD slept(DWORD milliseconds) noexcept {
    const auto until = milliseconds == INFINITE
                           ? (clock::time_point::max)()
                           : deadline(std::chrono::milliseconds(milliseconds)).when();
    (void)parked::sleep_until(until);
    return 0;
  }

  // Overlapped calls do not block.
  template <class Call>
  static int received(SOCKET s, parked::pieces data, LPDWORD bytes, LPDWORD flags,
                      const void* record, Call call) {
    if (record || !bytes || !flags || (*flags & MSG_OOB) || !parks(s)) return call(bytes, flags);
    DWORD said = *flags; // in and out
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
  static int sent(SOCKET s, parked::pieces data, LPDWORD bytes, DWORD flags, const void* record,
                  Call call) {
    if (record || !bytes || (flags & MSG_OOB) || !parks(s)) return call(bytes);
    const std::int64_t n = parked::send(s, data, [&] {
      DWORD moved = 0;
      return call(&moved) == 0 ? std::int64_t{moved} : std::int64_t{SOCKET_ERROR};
    });
    if (n < 0) return SOCKET_ERROR;
    *bytes = static_cast<DWORD>(n);
    return 0;
  }
};

/// What stands in an import table, and what shall stand there instead.
struct replacement {
  const void* now;
  const void* then;
};

/// All of them, one way or the other.
class replacements {
public:
  explicit replacements(bool ours) noexcept {
#define ROUSE_REPLACE(name)                                                                        \
  add(ours, reinterpret_cast<const void*>(real::name.find()),                                      \
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
    if (!ours) return;
    // kernel32's have twins, which some modules import in their place.
#define ROUSE_REPLACE(name)                                                                        \
  add(true, reinterpret_cast<const void*>(real::name.in(L"kernelbase.dll")),                       \
      reinterpret_cast<const void*>(&calls::name))
    ROUSE_REPLACE(Sleep);
    ROUSE_REPLACE(SleepEx);
    ROUSE_REPLACE(LoadLibraryA);
    ROUSE_REPLACE(LoadLibraryW);
    ROUSE_REPLACE(LoadLibraryExA);
    ROUSE_REPLACE(LoadLibraryExW);
#undef ROUSE_REPLACE
  }

  /// In the table of one module, which must not go meanwhile.
  void apply(HMODULE module) const noexcept {
    auto* const base = reinterpret_cast<unsigned char*>(module);
    const auto& dos = *reinterpret_cast<const IMAGE_DOS_HEADER*>(base);
    if (dos.e_magic != IMAGE_DOS_SIGNATURE) return;
    const auto& nt = *reinterpret_cast<const IMAGE_NT_HEADERS*>(base + dos.e_lfanew);
    if (nt.Signature != IMAGE_NT_SIGNATURE) return;
    const auto& place = nt.OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_IMPORT];
    if (place.VirtualAddress == 0 || place.Size == 0) return;
    auto* from = reinterpret_cast<const IMAGE_IMPORT_DESCRIPTOR*>(base + place.VirtualAddress);
    for (; from->Name != 0 && from->FirstThunk != 0; ++from) {
      auto** entry = reinterpret_cast<void**>(base + from->FirstThunk);
      for (; *entry; ++entry) replace(*entry);
    }
  }

private:
  void add(bool ours, const void* theirs, const void* own) noexcept {
    if (theirs) all_[count_++] = ours ? replacement{theirs, own} : replacement{own, theirs};
  }

  void replace(void*& entry) const noexcept {
    for (std::size_t i = 0; i != count_; ++i) {
      if (entry != all_[i].now) continue;
      DWORD before = 0, ignored = 0;
      if (!::VirtualProtect(&entry, sizeof entry, PAGE_READWRITE, &before)) return;
      ::InterlockedExchangePointer(&entry, const_cast<void*>(all_[i].then));
      ::VirtualProtect(&entry, sizeof entry, before, &ignored);
      return;
    }
  }

  replacement all_[40];
  std::size_t count_ = 0;
};

/// Whether a module is the program's: the program itself, the one that this code is in, and
/// whatever is not below Windows' own folder.
inline bool is_the_programs(HMODULE m, const wchar_t* path) noexcept {
  HMODULE mine = nullptr;
  ::GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS |
                           GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
                       reinterpret_cast<const wchar_t*>(&is_the_programs), &mine);
  if (m == mine || m == ::GetModuleHandleW(nullptr)) return true;
  wchar_t windows[MAX_PATH];
  const UINT length = ::GetSystemWindowsDirectoryW(windows, MAX_PATH);
  if (length == 0 || length >= MAX_PATH) return false;
  int common = 0;
  while (path[common] != 0 && common != static_cast<int>(length)) ++common;
  const bool below =
      ::CompareStringOrdinal(path, common, windows, static_cast<int>(length), TRUE) == CSTR_EQUAL;
  return !below || path[common] != L'\\';
}

inline void replace_everywhere(bool ours) noexcept {
  const replacements all(ours);
  HANDLE modules = INVALID_HANDLE_VALUE;
  do { // others may load one just then
    modules = ::CreateToolhelp32Snapshot(TH32CS_SNAPMODULE, 0);
  } while (modules == INVALID_HANDLE_VALUE && ::GetLastError() == ERROR_BAD_LENGTH);
  if (modules == INVALID_HANDLE_VALUE) return;
  MODULEENTRY32W m{};
  m.dwSize = sizeof m;
  for (BOOL more = ::Module32FirstW(modules, &m); more; more = ::Module32NextW(modules, &m)) {
    if (!is_the_programs(m.hModule, m.szExePath)) continue;
    HMODULE held = nullptr; // or else it may go
    if (!::GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
                              reinterpret_cast<const wchar_t*>(m.modBaseAddr), &held))
      continue;
    all.apply(held);
    ::FreeLibrary(held);
  }
  ::CloseHandle(modules);
}

/// Whether the tables lead here, and who changes them.
class tables {
public:
  /// @param by  1 or -1: how many threads more want them to.
  static void wanted(int by) noexcept {
    tables& t = instance();
    {
      const std::lock_guard lock(t.mutex_);
      const int before = t.users_;
      t.users_ += by;
      if ((before == 0) != (t.users_ == 0)) replace_everywhere(before == 0);
      if (t.users_ == 0) nonblocking_sockets::forget_all();
    }
    t.look_again();
  }
  /// There may be new ones. The caller may hold the loader's lock, which whoever changes tables
  /// wants as well: he does not wait for that one, who then looks again.
  static void more() noexcept {
    instance().again_.store(true);
    instance().look_again();
  }

private:
  void look_again() noexcept {
    while (again_.load()) {
      const std::unique_lock lock(mutex_, std::try_to_lock);
      if (!lock) return;
      again_.store(false);
      if (users_ != 0) replace_everywhere(true);
    }
  }
  // Never destroyed: libraries may load others until the process is gone.
  static tables& instance() noexcept {
    static tables& all = *new tables;
    return all;
  }

  std::mutex mutex_;
  int users_ = 0;
  std::atomic<bool> again_{false};
};

inline void module_loaded() noexcept { tables::more(); }

} // namespace installed

/// As long as one exists, the import tables of the program and its DLLs lead here. Threads: any.
class interposed_calls {
public:
  interposed_calls() noexcept { installed::tables::wanted(1); }
  interposed_calls(const interposed_calls&) = delete;
  interposed_calls& operator=(const interposed_calls&) = delete;
  ~interposed_calls() { installed::tables::wanted(-1); }
};

} // namespace rouse::inline ROUSE_ABI::os
#endif

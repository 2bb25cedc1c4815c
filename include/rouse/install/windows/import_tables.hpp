// Import tables: each module of a process has one, with the addresses of the functions that it
// imports, which the loader fills in and every call goes through.
#pragma once
#include <rouse/config.hpp>
#include <rouse/os/windows/socket.hpp>

#if ROUSE_WINDOWS
#include <cstddef>
#include <tlhelp32.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os { namespace installed {

/// What stands in an import table, and what shall stand there instead.
struct replacement {
  const void* now;
  const void* then;
};

/// Several. An entry is known by the address in it: so it does not matter whether it was imported
/// by name or by number, or from a DLL that forwards to another.
class replacements {
public:
  /// Nothing, where one address is null.
  void add(const void* now, const void* then) noexcept {
    if (now && then && count_ != most) all_[count_++] = {now, then};
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

  static constexpr std::size_t most = 64;
  replacement all_[most];
  std::size_t count_ = 0;
};

/// Whether a module is the program's: the program itself, the one that this code is in, and
/// whatever is not below Windows' own folder.
inline bool belongs_to_program(HMODULE m, const wchar_t* path) noexcept {
  HMODULE mine = nullptr;
  ::GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS |
                           GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
                       reinterpret_cast<const wchar_t*>(&belongs_to_program), &mine);
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

/// In the tables of all modules that are the program's.
inline void replace_everywhere(const replacements& all) noexcept {
  HANDLE modules = INVALID_HANDLE_VALUE;
  do { // others may load one just then
    modules = ::CreateToolhelp32Snapshot(TH32CS_SNAPMODULE, 0);
  } while (modules == INVALID_HANDLE_VALUE && ::GetLastError() == ERROR_BAD_LENGTH);
  if (modules == INVALID_HANDLE_VALUE) return;
  MODULEENTRY32W m{};
  m.dwSize = sizeof m;
  for (BOOL more = ::Module32FirstW(modules, &m); more; more = ::Module32NextW(modules, &m)) {
    if (!belongs_to_program(m.hModule, m.szExePath)) continue;
    HMODULE held = nullptr; // or else it may go
    if (!::GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
                              reinterpret_cast<const wchar_t*>(m.modBaseAddr), &held))
      continue;
    all.apply(held);
    ::FreeLibrary(held);
  }
  ::CloseHandle(modules);
}

}}}} // namespace rouse::ROUSE_ABI::os::installed
#endif

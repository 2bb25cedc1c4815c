// Import tables. Each module of a process has one: the addresses of the functions that it imports.
// The loader fills it in, and each call of an imported function goes through it.
//
//     module (EXE or DLL)
//       IMAGE_IMPORT_DESCRIPTOR  for each imported DLL; ends with an entry of zeros
//         FirstThunk -> address, address, ..., 0     `replacements::apply` exchanges these
//
// Source: "PE Format", the import address table.
#pragma once
#include <rouse/config.hpp>
#include <rouse/os/windows/socket.hpp>

#if ROUSE_WINDOWS
#include <cstddef>
#include <tlhelp32.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os { namespace installed {

/// An address in import tables, and the address to write in its place.
struct replacement {
  const void* now;
  const void* then;
};

/// A list of replacements. Entries are found by the address that they contain, so it does not
/// matter whether a function was imported by name or by number, or from a DLL that forwards to
/// another.
class replacements {
public:
  /// Adds a replacement. Does nothing if one of the addresses is null.
  void add(const void* now, const void* then) noexcept {
    if (now && then && count_ != most) all_[count_++] = {now, then};
  }

  /// Replaces addresses in the table of a module, which must not be unloaded during the call.
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

/// Whether a module belongs to the program: the executable, the module that contains this code, and
/// all modules outside of Windows' own folder.
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

/// Applies the replacements to all modules that belong to the program.
inline void replace_everywhere(const replacements& all) noexcept {
  HANDLE modules = INVALID_HANDLE_VALUE;
  do { // fails if a module is loaded meanwhile
    modules = ::CreateToolhelp32Snapshot(TH32CS_SNAPMODULE, 0);
  } while (modules == INVALID_HANDLE_VALUE && ::GetLastError() == ERROR_BAD_LENGTH);
  if (modules == INVALID_HANDLE_VALUE) return;
  MODULEENTRY32W m{};
  m.dwSize = sizeof m;
  for (BOOL more = ::Module32FirstW(modules, &m); more; more = ::Module32NextW(modules, &m)) {
    if (!belongs_to_program(m.hModule, m.szExePath)) continue;
    HMODULE held = nullptr; // keeps the module loaded
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

// Replaces functions of Windows in the import table of the tests, for behaviour that Wine does not
// have.
#pragma once
#include <rouse/rouse.hpp>

#if ROUSE_WINDOWS
#include <catch2/catch.hpp>

namespace testing {

/// The entry of a DLL's function in this program's import table.
inline void** import_of(const char* dll, const char* function) {
  const auto address = reinterpret_cast<void*>(::GetProcAddress(::GetModuleHandleA(dll), function));
  char* program = reinterpret_cast<char*>(::GetModuleHandleW(nullptr));
  const auto& dos = *reinterpret_cast<IMAGE_DOS_HEADER*>(program);
  const auto& nt = *reinterpret_cast<IMAGE_NT_HEADERS*>(program + dos.e_lfanew);
  const auto& table = nt.OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_IMPORT];
  auto* imported = reinterpret_cast<IMAGE_IMPORT_DESCRIPTOR*>(program + table.VirtualAddress);
  for (; imported->FirstThunk != 0; ++imported) {
    auto** entry = reinterpret_cast<void**>(program + imported->FirstThunk);
    for (; *entry; ++entry)
      if (*entry == address) return entry;
  }
  return nullptr;
}

/// Replaces an imported function by one of the tests while it exists.
class replaced_import {
public:
  replaced_import(const char* dll, const char* function, void* by)
      : entry_(import_of(dll, function)) {
    REQUIRE(entry_);
    original_ = *entry_;
    write(by);
  }
  replaced_import(const replaced_import&) = delete;
  replaced_import& operator=(const replaced_import&) = delete;
  ~replaced_import() { write(original_); }

  void* original() const { return original_; }

private:
  void write(void* address) {
    DWORD protection = 0;
    ::VirtualProtect(entry_, sizeof *entry_, PAGE_READWRITE, &protection);
    *entry_ = address;
    ::VirtualProtect(entry_, sizeof *entry_, protection, &protection);
  }

  void** entry_;
  void* original_ = nullptr;
};

} // namespace testing
#endif

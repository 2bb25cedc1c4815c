// An open file.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>

#include <climits>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#if ROUSE_WINDOWS
#include <winsock2.h>

#include <windows.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os {
namespace detail {

// A path in UTF-8, for functions with names in W. Empty: it is not UTF-8, or too long.
struct wide_path {
  explicit wide_path(const char* path) noexcept {
    if (::MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, text, room) == 0) *text = 0;
  }
  static constexpr int room = 1024;
  wchar_t text[room];
};

} // namespace detail

/// Whether a directory has files. Hidden ones do not count.
inline bool has_files(const std::string& directory) {
  WIN32_FIND_DATAW next;
  const HANDLE search =
      ::FindFirstFileW(detail::wide_path((directory + "\\*").c_str()).text, &next);
  if (search == INVALID_HANDLE_VALUE) return false;
  bool found = true;
  while (found && *next.cFileName == L'.') found = ::FindNextFileW(search, &next) != 0;
  ::FindClose(search);
  return found;
}

/// A file, open for reading or for appending. The destructor closes it.
class file {
public:
  static file to_read(const std::string& path, failure& why) noexcept {
    return opened(path, GENERIC_READ, OPEN_EXISTING, why);
  }
  /// Creates the file if there is none.
  static file to_append(const std::string& path, failure& why) noexcept {
    return opened(path, FILE_APPEND_DATA, OPEN_ALWAYS, why);
  }

  file(file&& other) noexcept : handle_(std::exchange(other.handle_, INVALID_HANDLE_VALUE)) {}
  file& operator=(file&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~file() {
    if (handle_ != INVALID_HANDLE_VALUE) ::CloseHandle(handle_);
  }

  /// @param got  the bytes read; 0 at the end of the file.
  failure read(char* into, std::size_t size, std::size_t& got) const noexcept {
    DWORD result = 0;
    const DWORD room = size < INT_MAX ? static_cast<DWORD>(size) : INT_MAX;
    if (!::ReadFile(handle_, into, room, &result, nullptr)) return last_failure();
    got = result;
    return {};
  }

  /// Appends the bytes at once, so that threads and processes may append to the same file. Returns
  /// whether all of them were written.
  bool append(std::string_view bytes) const noexcept {
    DWORD result = 0;
    return ::WriteFile(handle_, bytes.data(), static_cast<DWORD>(bytes.size()), &result, nullptr) &&
           result == bytes.size();
  }

private:
  explicit file(HANDLE handle) noexcept : handle_(handle) {}
  static failure last_failure() noexcept {
    return failure::from_os(static_cast<int>(::GetLastError()));
  }
  static file opened(const std::string& path, DWORD access, DWORD how, failure& why) noexcept {
    file made{::CreateFileW(detail::wide_path(path.c_str()).text, access,
                            FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, nullptr, how,
                            FILE_ATTRIBUTE_NORMAL, nullptr)};
    if (made.handle_ == INVALID_HANDLE_VALUE) why = last_failure();
    return made;
  }

  HANDLE handle_;
};

}}} // namespace rouse::ROUSE_ABI::os
#endif

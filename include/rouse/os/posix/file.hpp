// An open file.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/posix/socket.hpp>
#include <rouse/os/posix/unique_fd.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#if !ROUSE_WINDOWS
#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// Whether a directory has files. Hidden ones do not count.
inline bool has_files(const std::string& directory) noexcept {
  DIR* const open = ::opendir(directory.c_str());
  if (!open) return false;
  const dirent* next = ::readdir(open);
  while (next && *next->d_name == '.') next = ::readdir(open);
  ::closedir(open);
  return next != nullptr;
}

/// A file, open for reading or for appending. The destructor closes it.
class file {
public:
  static file to_read(const std::string& path, failure& why) noexcept {
    return opened(path, O_RDONLY, why);
  }
  /// Creates the file if there is none, readable by its owner only.
  static file to_append(const std::string& path, failure& why) noexcept {
    return opened(path, O_WRONLY | O_APPEND | O_CREAT, why);
  }

  /// @param got  the bytes read; 0 at the end of the file.
  failure read(char* into, std::size_t size, std::size_t& got) const noexcept {
    const ssize_t result = detail::retry_interrupted([&] { return ::read(fd_.get(), into, size); });
    if (result < 0) return failure::from_os(errno);
    got = static_cast<std::size_t>(result);
    return {};
  }

  /// Appends the bytes at once, so that threads and processes may append to the same file. Returns
  /// whether all of them were written.
  bool append(std::string_view bytes) const noexcept {
    const ssize_t result =
        detail::retry_interrupted([&] { return ::write(fd_.get(), bytes.data(), bytes.size()); });
    return result == static_cast<ssize_t>(bytes.size());
  }

private:
  explicit file(int fd) noexcept : fd_(fd) {}
  static file opened(const std::string& path, int how, failure& why) noexcept {
    file made{::open(path.c_str(), how | O_CLOEXEC, S_IRUSR | S_IWUSR)};
    if (!made.fd_) why = failure::from_os(errno);
    return made;
  }

  unique_fd fd_;
};

}}} // namespace rouse::ROUSE_ABI::os
#endif

// An open file.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/posix/unique_fd.hpp>

#include <cstddef>
#include <string>
#include <utility>

#if !ROUSE_WINDOWS
#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// Whether there is a file or directory of that name.
inline bool exists(const char* path) noexcept {
  struct stat about;
  return ::stat(path, &about) == 0;
}

/// A file, open for reading. The destructor closes it.
class file {
public:
  static file to_read(const std::string& path, failure& why) noexcept {
    file made{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!made.fd_) why = failure::from_os(errno);
    return made;
  }

  /// @param got  the bytes read; 0 at the end of the file.
  failure read(char* into, std::size_t size, std::size_t& got) const noexcept {
    ssize_t result;
    do result = ::read(fd_.get(), into, size);
    while (result < 0 && errno == EINTR);
    if (result < 0) return failure::from_os(errno);
    got = static_cast<std::size_t>(result);
    return {};
  }

private:
  explicit file(int fd) noexcept : fd_(fd) {}

  unique_fd fd_;
};

}}} // namespace rouse::ROUSE_ABI::os
#endif

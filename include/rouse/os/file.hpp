// Small files, read as a whole.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/posix/file.hpp>
#include <rouse/os/windows/file.hpp>

#include <cstddef>
#include <string>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

/// Reads a file as a whole. Paths are UTF-8 on Windows.
///
/// Errors: no_such_file_or_directory, permission_denied, is_a_directory (on Windows
/// permission_denied), not_enough_memory.
inline failure read_file(const std::string& path, std::string& into) {
  failure why;
  const file from = file::to_read(path, why);
  char piece[4096];
  for (std::size_t got = 1; !why && got > 0;) {
    why = from.read(piece, sizeof piece, got);
    if (!why) into.append(piece, got);
  }
  return why;
}

}}} // namespace rouse::ROUSE_ABI::os

// A file for a test.
#pragma once
#include <rouse/rouse.hpp>

#include <catch2/catch.hpp>

#include <cstdio>
#include <string>
#if ROUSE_WINDOWS
#include <io.h>
#endif

namespace testing {

/// A temporary file, removed at the end.
class scratch_file {
public:
  explicit scratch_file(const std::string& content) : file_(std::tmpfile()) {
    REQUIRE(file_);
    REQUIRE(std::fwrite(content.data(), 1, content.size(), file_) == content.size());
    REQUIRE(std::fflush(file_) == 0);
  }
  ~scratch_file() { std::fclose(file_); }
  scratch_file(const scratch_file&) = delete;
  scratch_file& operator=(const scratch_file&) = delete;

  [[nodiscard]] rouse::native_file_type get() const {
#if ROUSE_WINDOWS
    return reinterpret_cast<HANDLE>(::_get_osfhandle(::_fileno(file_)));
#else
    return ::fileno(file_);
#endif
  }

private:
  std::FILE* file_;
};

} // namespace testing

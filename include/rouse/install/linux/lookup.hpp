// What install/lookup.hpp needs to know of the C library's getaddrinfo.
#pragma once
#include <rouse/config.hpp>
#include <rouse/install/linux/calls.hpp>
#include <rouse/install/lookup.hpp>

#if ROUSE_LINUX
#include <netdb.h>
#include <poll.h>
#include <string>
#include <sys/eventfd.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os { namespace parked {

/// Wakes a fiber from another thread.
class file_event {
public:
  [[nodiscard]] bool create() noexcept {
    fd_ = unique_fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    return static_cast<bool>(fd_);
  }
  void signal() const noexcept { ::eventfd_write(fd_.get(), 1); }
  [[nodiscard]] pollfd file() const noexcept { return {fd_.get(), POLLIN, 0}; }
  [[nodiscard]] static clock::time_point next_look() noexcept { return (clock::time_point::max)(); }

private:
  unique_fd fd_;
};

struct names {
  using string = std::string;
  using information = addrinfo;
  using event = file_event;

  static int look_up(const char* host, const char* service, const addrinfo* hints,
                     addrinfo** found) noexcept {
    return real::getaddrinfo(host, service, hints, found);
  }
  static void free(addrinfo* a) noexcept { ::freeaddrinfo(a); }

  /// Whether the result for a numeric address is final, or a resolver has to be asked.
  static bool is_final(int result) noexcept { return result != EAI_NONAME; }
  /// The errno after `result`.
  /// @param error   errno after the call.
  /// @param before  errno before the call.
  static int error_of(int result, int error, int before) noexcept {
    return result == EAI_SYSTEM ? error : before;
  }
  /// The result that says that errno has the error.
  static int failed_call() noexcept { return EAI_SYSTEM; }
  static interruption ends() noexcept { return {interruption::by::nothing, "getaddrinfo"}; }
};

}}}} // namespace rouse::ROUSE_ABI::os::parked
#endif

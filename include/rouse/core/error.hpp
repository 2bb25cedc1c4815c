// Errors: an error number of the operating system or a std::errc in four bytes, and the only
// conversion to std::error_code.
#pragma once
#include <rouse/config.hpp>
#include <rouse/detail/immortal.hpp>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <system_error>
#include <type_traits>

namespace rouse { inline namespace ROUSE_ABI {

/// The category of the operating system's error numbers: errno on Linux, Winsock and Win32 codes on
/// Windows.
///
/// An error in this category compares equal to the same std::errc on every platform: a refused
/// connection is ECONNREFUSED (111) on Linux and WSAECONNREFUSED (10061) on Windows, and both equal
/// std::errc::connection_refused.
///
/// Threads: any. Cost: none. Source: errno(3); "Windows Sockets Error Codes".
[[nodiscard]] inline const std::error_category& os_category() noexcept;

/// The category of a `std::errc` that the library itself reports (timed_out, operation_canceled,
/// ...): std::generic_category() on Linux.
///
/// On Windows it is a category with messages of its own, because a C library there may call most
/// errors "Unknown error". `ec == std::errc::timed_out` holds in either category, but error codes
/// of the two categories differ.
///
/// Threads: any. Cost: none.
[[nodiscard]] inline const std::error_category& errc_category() noexcept;

/// Why a name was not resolved: `ec == rouse::resolve_error::host_not_found`. The same on every
/// platform. Source: getaddrinfo(3); "GetAddrInfoW".
enum class resolve_error : int {
  host_not_found = 1, ///< no such host, or no address of it (EAI_NONAME; WSAHOST_NOT_FOUND)
  service_not_found, ///< no service of that name (EAI_SERVICE; WSATYPE_NOT_FOUND)
  try_again, ///< no name server replied (EAI_AGAIN; WSATRY_AGAIN)
  server_failure, ///< a name server refused or failed (EAI_FAIL; WSANO_RECOVERY)
};

/// The category of `resolve_error`.
[[nodiscard]] inline const std::error_category& resolve_category() noexcept;

[[nodiscard]] inline std::error_code make_error_code(resolve_error what) noexcept {
  return {static_cast<int>(what), resolve_category()};
}

namespace detail {

/// The category of `failure::from_tls`, which tls.hpp sets before it reports the first one.
inline constinit std::atomic<const std::error_category*> tls_category_of_failures{nullptr};

} // namespace detail

/// The error of an operation in four bytes: none (0), a number of the operating system (> 0), a
/// std::errc, a resolve_error, or a number of the category of rouse::tls (< 0).
class [[nodiscard]] failure {
public:
  constexpr failure() noexcept = default;
  constexpr failure(std::errc what) noexcept : value_(-static_cast<int>(what)) {}
  constexpr failure(resolve_error what) noexcept : value_(beyond_errc - static_cast<int>(what)) {}
  /// From errno, WSAGetLastError() or GetLastError().
  static constexpr failure from_os(int number) noexcept {
    failure f;
    f.value_ = number;
    return f;
  }

  /// @param number  of the category of rouse::tls, at least 1.
  static constexpr failure from_tls(int number) noexcept {
    failure f;
    f.value_ = beyond_resolve - number;
    return f;
  }

  constexpr explicit operator bool() const noexcept { return value_ != 0; }
  /// The operating system's number; 0 if the failure did not come from the system.
  constexpr int os_number() const noexcept { return value_ > 0 ? value_ : 0; }
  /// Compares the numbers. To compare meanings across platforms, compare the error_code with a
  /// std::errc.
  friend constexpr bool operator==(failure, failure) noexcept = default;

  /// The error code. This is the only place that makes one of a number.
  [[nodiscard]] ROUSE_ALWAYS_INLINE std::error_code code() const noexcept {
    if (value_ == 0) return {};
    return name_it();
  }

private:
  static constexpr int beyond_errc = -0x10000; // smaller values are resolve_errors
  static constexpr int beyond_resolve = -0x20000; // smaller values are errors of rouse::tls

  [[nodiscard]] ROUSE_COLD std::error_code name_it() const noexcept {
    if (value_ < beyond_resolve)
      return {beyond_resolve - value_, *detail::tls_category_of_failures};
    if (value_ < beyond_errc)
      return make_error_code(static_cast<resolve_error>(beyond_errc - value_));
    if (value_ < 0) return {-value_, errc_category()};
    return {value_, os_category()};
  }

  int value_ = 0;
};

namespace detail {

#if ROUSE_EXCEPTIONS
[[noreturn]] inline void throw_error(std::error_code ec, const std::string& what) {
  throw std::system_error(ec, what);
}
#else
[[noreturn]] inline void throw_error(std::error_code ec, const std::string& what) {
  std::fprintf(stderr, "%s: %s\n", what.c_str(), ec.message().c_str());
  std::abort();
}
#endif

// The std::errc of a Windows error number. The tables of the C++ libraries differ from each other
// and lack most of Winsock.
constexpr std::errc meaning_of(int number) noexcept {
  switch (number) {
  case 2 /*ERROR_FILE_NOT_FOUND*/:
  case 3 /*ERROR_PATH_NOT_FOUND*/:
    return std::errc::no_such_file_or_directory;
  case 5 /*ERROR_ACCESS_DENIED*/:
  case 10013 /*WSAEACCES*/:
    return std::errc::permission_denied;
  case 6 /*ERROR_INVALID_HANDLE*/:
  case 10009 /*WSAEBADF*/:
    return std::errc::bad_file_descriptor;
  case 8 /*ERROR_NOT_ENOUGH_MEMORY*/:
  case 14 /*ERROR_OUTOFMEMORY*/:
    return std::errc::not_enough_memory;
  case 64 /*ERROR_NETNAME_DELETED*/:
  case 10054 /*WSAECONNRESET*/:
    return std::errc::connection_reset;
  case 87 /*ERROR_INVALID_PARAMETER*/:
  case 10022 /*WSAEINVAL*/:
    return std::errc::invalid_argument;
  case 109 /*ERROR_BROKEN_PIPE*/:
  case 232 /*ERROR_NO_DATA*/:
  case 10058 /*WSAESHUTDOWN*/:
    return std::errc::broken_pipe;
  case 121 /*ERROR_SEM_TIMEOUT*/:
  case 258 /*WAIT_TIMEOUT*/:
  case 10060 /*WSAETIMEDOUT*/:
    return std::errc::timed_out;
  case 995 /*ERROR_OPERATION_ABORTED*/:
  case 1223 /*ERROR_CANCELLED*/:
  case 10103 /*WSAECANCELLED*/:
    return std::errc::operation_canceled;
  case 1225 /*ERROR_CONNECTION_REFUSED*/:
  case 10061 /*WSAECONNREFUSED*/:
    return std::errc::connection_refused;
  case 1231 /*ERROR_NETWORK_UNREACHABLE*/:
  case 10051 /*WSAENETUNREACH*/:
    return std::errc::network_unreachable;
  case 1232 /*ERROR_HOST_UNREACHABLE*/:
  case 10065 /*WSAEHOSTUNREACH*/:
    return std::errc::host_unreachable;
  case 1236 /*ERROR_CONNECTION_ABORTED*/:
  case 10053 /*WSAECONNABORTED*/:
    return std::errc::connection_aborted;
  case 234 /*ERROR_MORE_DATA*/:
  case 10040 /*WSAEMSGSIZE*/:
    return std::errc::message_size;
  case 10004 /*WSAEINTR*/:
    return std::errc::interrupted;
  case 10014 /*WSAEFAULT*/:
    return std::errc::bad_address;
  case 10024 /*WSAEMFILE*/:
  case 4 /*ERROR_TOO_MANY_OPEN_FILES*/:
    return std::errc::too_many_files_open;
  case 10035 /*WSAEWOULDBLOCK*/:
    return std::errc::operation_would_block;
  case 10036 /*WSAEINPROGRESS*/:
    return std::errc::operation_in_progress;
  case 10037 /*WSAEALREADY*/:
    return std::errc::connection_already_in_progress;
  case 10038 /*WSAENOTSOCK*/:
    return std::errc::not_a_socket;
  case 10039 /*WSAEDESTADDRREQ*/:
    return std::errc::destination_address_required;
  case 10041 /*WSAEPROTOTYPE*/:
    return std::errc::wrong_protocol_type;
  case 10042 /*WSAENOPROTOOPT*/:
    return std::errc::no_protocol_option;
  case 10043 /*WSAEPROTONOSUPPORT*/:
    return std::errc::protocol_not_supported;
  case 50 /*ERROR_NOT_SUPPORTED*/:
  case 10045 /*WSAEOPNOTSUPP*/:
    return std::errc::operation_not_supported;
  case 10047 /*WSAEAFNOSUPPORT*/:
    return std::errc::address_family_not_supported;
  case 10048 /*WSAEADDRINUSE*/:
    return std::errc::address_in_use;
  case 10049 /*WSAEADDRNOTAVAIL*/:
    return std::errc::address_not_available;
  case 10050 /*WSAENETDOWN*/:
    return std::errc::network_down;
  case 10052 /*WSAENETRESET*/:
    return std::errc::network_reset;
  case 10055 /*WSAENOBUFS*/:
    return std::errc::no_buffer_space;
  case 10056 /*WSAEISCONN*/:
    return std::errc::already_connected;
  case 10057 /*WSAENOTCONN*/:
    return std::errc::not_connected;
  default:
    return std::errc{};
  }
}

struct errc_words {
  std::errc what;
  const char* words;
};

// The messages. (The errors of STREAMS, which C++23 deprecates, are left out.)
inline constexpr errc_words all_errc_words[] = {
    {std::errc::address_family_not_supported, "address family not supported"},
    {std::errc::address_in_use, "address in use"},
    {std::errc::address_not_available, "address not available"},
    {std::errc::already_connected, "already connected"},
    {std::errc::argument_list_too_long, "argument list too long"},
    {std::errc::argument_out_of_domain, "argument out of domain"},
    {std::errc::bad_address, "bad address"},
    {std::errc::bad_file_descriptor, "bad file descriptor"},
    {std::errc::bad_message, "bad message"},
    {std::errc::broken_pipe, "broken pipe"},
    {std::errc::connection_aborted, "connection aborted"},
    {std::errc::connection_already_in_progress, "connection already in progress"},
    {std::errc::connection_refused, "connection refused"},
    {std::errc::connection_reset, "connection reset"},
    {std::errc::cross_device_link, "cross-device link"},
    {std::errc::destination_address_required, "destination address required"},
    {std::errc::device_or_resource_busy, "device or resource busy"},
    {std::errc::directory_not_empty, "directory not empty"},
    {std::errc::executable_format_error, "executable format error"},
    {std::errc::file_exists, "file exists"},
    {std::errc::file_too_large, "file too large"},
    {std::errc::filename_too_long, "file name too long"},
    {std::errc::function_not_supported, "function not supported"},
    {std::errc::host_unreachable, "host unreachable"},
    {std::errc::identifier_removed, "identifier removed"},
    {std::errc::illegal_byte_sequence, "illegal byte sequence"},
    {std::errc::inappropriate_io_control_operation, "inappropriate I/O control operation"},
    {std::errc::interrupted, "interrupted"},
    {std::errc::invalid_argument, "invalid argument"},
    {std::errc::invalid_seek, "invalid seek"},
    {std::errc::io_error, "I/O error"},
    {std::errc::is_a_directory, "is a directory"},
    {std::errc::message_size, "message too long"},
    {std::errc::network_down, "network down"},
    {std::errc::network_reset, "network reset"},
    {std::errc::network_unreachable, "network unreachable"},
    {std::errc::no_buffer_space, "no buffer space"},
    {std::errc::no_child_process, "no child process"},
    {std::errc::no_link, "no link"},
    {std::errc::no_lock_available, "no lock available"},
    {std::errc::no_message, "no message"},
    {std::errc::no_protocol_option, "no such protocol option"},
    {std::errc::no_space_on_device, "no space on device"},
    {std::errc::no_such_device, "no such device"},
    {std::errc::no_such_device_or_address, "no such device or address"},
    {std::errc::no_such_file_or_directory, "no such file or directory"},
    {std::errc::no_such_process, "no such process"},
    {std::errc::not_a_directory, "not a directory"},
    {std::errc::not_a_socket, "not a socket"},
    {std::errc::not_connected, "not connected"},
    {std::errc::not_enough_memory, "not enough memory"},
    {std::errc::not_supported, "not supported"},
    {std::errc::operation_canceled, "operation canceled"},
    {std::errc::operation_in_progress, "operation in progress"},
    {std::errc::operation_not_permitted, "operation not permitted"},
    {std::errc::operation_not_supported, "operation not supported"},
    {std::errc::operation_would_block, "operation would block"},
    {std::errc::owner_dead, "owner dead"},
    {std::errc::permission_denied, "permission denied"},
    {std::errc::protocol_error, "protocol error"},
    {std::errc::protocol_not_supported, "protocol not supported"},
    {std::errc::read_only_file_system, "read-only file system"},
    {std::errc::resource_deadlock_would_occur, "resource deadlock would occur"},
    {std::errc::resource_unavailable_try_again, "resource unavailable, try again"},
    {std::errc::result_out_of_range, "result out of range"},
    {std::errc::state_not_recoverable, "state not recoverable"},
    {std::errc::text_file_busy, "text file busy"},
    {std::errc::timed_out, "timed out"},
    {std::errc::too_many_files_open, "too many files open"},
    {std::errc::too_many_files_open_in_system, "too many files open in the system"},
    {std::errc::too_many_links, "too many links"},
    {std::errc::too_many_symbolic_link_levels, "too many levels of symbolic links"},
    {std::errc::value_too_large, "value too large"},
    {std::errc::wrong_protocol_type, "wrong protocol type"},
};

// Null: no message is known.
constexpr const char* words_of(std::errc what) noexcept {
  for (const errc_words& row : all_errc_words) {
    if (row.what == what) return row.words;
  }
  return nullptr;
}

// A category for std::errc that has a message for each, whatever the C library knows.
class worded_errc_category final : public std::error_category {
public:
  const char* name() const noexcept override { return "rouse.errc"; }
  std::string message(int number) const override {
    const char* const words = words_of(static_cast<std::errc>(number));
    return words ? words : std::generic_category().message(number);
  }
  std::error_condition default_error_condition(int number) const noexcept override {
    return {number, std::generic_category()};
  }
};

class windows_category final : public std::error_category {
public:
  const char* name() const noexcept override { return "rouse.windows"; }
  // The system_category of some C++ libraries has no messages for Winsock's numbers.
  std::string message(int number) const override {
    const std::errc meaning = meaning_of(number);
    return meaning == std::errc{} ? std::system_category().message(number) : words_of(meaning);
  }
  std::error_condition default_error_condition(int number) const noexcept override {
    const std::errc meaning = meaning_of(number);
    if (meaning == std::errc{}) return {number, *this};
    return std::make_error_condition(meaning);
  }
};

class resolve_error_category final : public std::error_category {
public:
  const char* name() const noexcept override { return "rouse.resolve"; }
  std::string message(int number) const override {
    switch (static_cast<resolve_error>(number)) {
    case resolve_error::host_not_found:
      return "host not found";
    case resolve_error::service_not_found:
      return "service not found";
    case resolve_error::try_again:
      return "no name server answered";
    case resolve_error::server_failure:
      return "a name server failed";
    default:
      return "unknown error";
    }
  }
  std::error_condition default_error_condition(int number) const noexcept override {
    if (static_cast<resolve_error>(number) == resolve_error::try_again)
      return std::make_error_condition(std::errc::resource_unavailable_try_again);
    return {number, *this};
  }
};

} // namespace detail

inline const std::error_category& resolve_category() noexcept {
  return detail::immortal<detail::resolve_error_category>();
}

inline const std::error_category& errc_category() noexcept {
  if constexpr (ROUSE_WINDOWS) {
    return detail::immortal<detail::worded_errc_category>();
  } else {
    return std::generic_category();
  }
}

inline const std::error_category& os_category() noexcept {
  if constexpr (ROUSE_WINDOWS) {
    return detail::immortal<detail::windows_category>();
  } else {
    return std::system_category();
  }
}

}} // namespace rouse::ROUSE_ABI

template <>
struct std::is_error_code_enum<rouse::resolve_error> : std::true_type {};

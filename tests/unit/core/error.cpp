#include <rouse/rouse.hpp>

#include <catch2/catch.hpp>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>
#include <vector>
#if ROUSE_WINDOWS
#include <winsock2.h>
#endif

using rouse::failure;

namespace {
const rouse::detail::windows_category windows; // with the same table on every platform

using meaning = std::pair<int, std::errc>;
const std::vector<meaning> meanings{
#if ROUSE_WINDOWS
    {ERROR_CONNECTION_REFUSED, std::errc::connection_refused},
    {WSAECONNREFUSED, std::errc::connection_refused},
    {ERROR_NETNAME_DELETED, std::errc::connection_reset},
    {WSAECONNRESET, std::errc::connection_reset},
    {ERROR_CONNECTION_ABORTED, std::errc::connection_aborted},
    {WSAECONNABORTED, std::errc::connection_aborted},
    {ERROR_SEM_TIMEOUT, std::errc::timed_out},
    {WAIT_TIMEOUT, std::errc::timed_out},
    {WSAETIMEDOUT, std::errc::timed_out},
    {ERROR_OPERATION_ABORTED, std::errc::operation_canceled},
    {WSAEADDRINUSE, std::errc::address_in_use},
    {WSAEADDRNOTAVAIL, std::errc::address_not_available},
    {WSAENOTCONN, std::errc::not_connected},
    {WSAEISCONN, std::errc::already_connected},
    {ERROR_INVALID_HANDLE, std::errc::bad_file_descriptor},
    {WSAEBADF, std::errc::bad_file_descriptor},
    {WSAENOTSOCK, std::errc::not_a_socket},
    {ERROR_NETWORK_UNREACHABLE, std::errc::network_unreachable},
    {WSAENETUNREACH, std::errc::network_unreachable},
    {ERROR_HOST_UNREACHABLE, std::errc::host_unreachable},
    {WSAEHOSTUNREACH, std::errc::host_unreachable},
    {ERROR_MORE_DATA, std::errc::message_size},
    {WSAEMSGSIZE, std::errc::message_size},
    {WSAEMFILE, std::errc::too_many_files_open},
    {ERROR_BROKEN_PIPE, std::errc::broken_pipe},
    {WSAESHUTDOWN, std::errc::broken_pipe},
    {WSAENOPROTOOPT, std::errc::no_protocol_option},
    {WSAEACCES, std::errc::permission_denied},
#else
    {ECONNREFUSED, std::errc::connection_refused},
    {ECONNRESET, std::errc::connection_reset},
    {ECONNABORTED, std::errc::connection_aborted},
    {ETIMEDOUT, std::errc::timed_out},
    {ECANCELED, std::errc::operation_canceled},
    {EADDRINUSE, std::errc::address_in_use},
    {EADDRNOTAVAIL, std::errc::address_not_available},
    {ENOTCONN, std::errc::not_connected},
    {EISCONN, std::errc::already_connected},
    {EBADF, std::errc::bad_file_descriptor},
    {ENOTSOCK, std::errc::not_a_socket},
    {ENETUNREACH, std::errc::network_unreachable},
    {EHOSTUNREACH, std::errc::host_unreachable},
    {EMSGSIZE, std::errc::message_size},
    {EMFILE, std::errc::too_many_files_open},
    {EPIPE, std::errc::broken_pipe},
    {ENOPROTOOPT, std::errc::no_protocol_option},
    {EACCES, std::errc::permission_denied},
#endif
};
} // namespace

TEST_CASE("failure: a default-constructed one is no failure", "[error]") {
  CHECK(!failure());
  CHECK(!failure::from_os(0));
  CHECK(!failure().code());
}

TEST_CASE("failure: a std::errc keeps its meaning and has no system number", "[error]") {
  const failure f(std::errc::timed_out);
  CHECK(f.os_number() == 0);
  CHECK(f.code() == std::errc::timed_out);
  CHECK(f.code().category() == rouse::errc_category());
}

TEST_CASE("failure: each std::errc has a text and equals itself", "[unit][error]") {
  for (const auto& row : rouse::detail::all_errc_words) {
    const std::error_code ec = failure(row.what).code();
    INFO(row.words);
    CHECK(ec == row.what);
    CHECK(!ec.message().empty());
    CHECK(ec.message().find("nknown error") == std::string::npos);
    CHECK(std::string(std::system_error(ec, "what").what()) == "what: " + ec.message());
  }
}

TEST_CASE("failure: on Linux a std::errc has the text of the C library", "[unit][error]") {
  if constexpr (!ROUSE_WINDOWS) {
    CHECK(failure(std::errc::timed_out).code() == std::make_error_code(std::errc::timed_out));
    CHECK(failure(std::errc::timed_out).code().message() == "Connection timed out");
  }
}

TEST_CASE("the category of std::errc on Windows has the meaning of the standard's",
          "[unit][error]") {
  const rouse::detail::worded_errc_category worded;
  for (const auto& row : rouse::detail::all_errc_words) {
    const auto number = static_cast<int>(row.what);
    INFO(row.words);
    CHECK(std::error_code(number, worded) == row.what);
    CHECK(std::error_code(number, worded) != std::error_code(number, std::generic_category()));
    CHECK(std::error_code(number, worded).default_error_condition() ==
          std::make_error_condition(row.what));
  }
  CHECK(worded.message(static_cast<int>(std::errc::timed_out)) == "timed out");
}

TEST_CASE("failure: a system number keeps its category", "[error]") {
  CHECK(failure::from_os(5).os_number() == 5);
  CHECK(failure::from_os(5).code() == std::error_code(5, rouse::os_category()));
}

TEST_CASE("failure: a resolve_error keeps its meaning, and equals no std::errc and no system error",
          "[error][N07]") {
  using rouse::resolve_error;
  for (const auto what : {resolve_error::host_not_found, resolve_error::service_not_found,
                          resolve_error::try_again, resolve_error::server_failure}) {
    const failure f(what);
    CHECK(f);
    CHECK(f.os_number() == 0);
    CHECK(f.code() == what);
    CHECK(f.code().category() == rouse::resolve_category());
    CHECK(f.code().message() != "unknown error");
    CHECK(f != failure(std::errc::operation_not_permitted));
  }
  CHECK(failure(resolve_error::try_again).code() == std::errc::resource_unavailable_try_again);
  CHECK(failure(resolve_error::host_not_found).code() != resolve_error::service_not_found);
}

TEST_CASE("windows_category: numbers of Winsock and Win32 map to the same std::errc", "[error]") {
  CHECK(std::error_code(10061, windows) == std::errc::connection_refused);
  CHECK(std::error_code(1225, windows) == std::errc::connection_refused);
  CHECK(std::error_code(10054, windows) == std::errc::connection_reset);
  CHECK(std::error_code(64, windows) == std::errc::connection_reset);
}

TEST_CASE("windows_category: a number without a meaning equals only itself", "[error]") {
  CHECK(std::error_code(21, windows) == std::error_condition(21, windows));
  CHECK(std::error_code(21, windows) != std::error_condition(21, std::generic_category()));
}

TEST_CASE("windows_category: a number with a meaning has the text of its std::errc", "[error]") {
  CHECK(windows.message(10061) == "connection refused");
  CHECK(windows.message(1225) == "connection refused");
}

TEST_CASE("windows_category: a number without a meaning has the system's text", "[error]") {
  CHECK(windows.message(21) == std::system_category().message(21));
}

TEST_CASE("failure: a system number equals the std::errc that it means", "[unit][error]") {
  for (const auto& [number, what] : meanings) {
    INFO(number);
    CHECK(failure::from_os(number).code() == what);
  }
}

TEST_CASE("failure: a system number equals no other std::errc", "[unit][error]") {
  for (const auto& [number, what] : meanings) {
    for (const auto& [other, meant] : meanings) {
      INFO(number << " and " << other);
      CHECK((failure::from_os(number).code() == meant) == (what == meant));
    }
  }
}

TEST_CASE("failure: the code of a std::errc equals no other std::errc", "[unit][error]") {
  CHECK(failure(std::errc::connection_refused).code() == std::errc::connection_refused);
  CHECK(failure(std::errc::connection_refused).code() != std::errc::connection_reset);
}

TEST_CASE("failure: two failures are equal if number and source are equal", "[unit][error]") {
  CHECK(failure::from_os(5) == failure::from_os(5));
  CHECK(failure::from_os(5) != failure::from_os(6));
  CHECK(failure(std::errc::io_error) == failure(std::errc::io_error));
  CHECK(failure::from_os(EIO) != failure(std::errc::io_error));
}

TEST_CASE("throw_error: throws a system_error with the code and the name of the call",
          "[unit][error]") {
  try {
    rouse::detail::throw_error(failure(std::errc::timed_out).code(), "rouse: connect");
    FAIL("nothing was thrown");
  } catch (const std::system_error& e) {
    CHECK(e.code() == std::errc::timed_out);
    CHECK(std::string(e.what()).rfind("rouse: connect", 0) == 0);
  }
}

// OVERLAPPED::Internal, which is an NTSTATUS: the result of an overlapped call.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/os/windows/socket.hpp>

#include <cstdint>
#include <system_error>

#if ROUSE_WINDOWS
namespace rouse { inline namespace ROUSE_ABI { namespace os {

namespace detail {
inline FARPROC ntdll_function(const char* name) noexcept {
  const HMODULE ntdll = ::GetModuleHandleW(L"ntdll.dll");
  return ntdll ? ::GetProcAddress(ntdll, name) : nullptr;
}
} // namespace detail

/// STATUS_BUFFER_OVERFLOW: the datagram was larger than the buffer.
inline constexpr std::uint32_t status_cut_short = 0x80000005;

/// Whether a call that failed with `error` has a packet all the same. A call that failed with
/// WSAEMSGSIZE does if the kernel stored its status, which is only a warning, in the record.
inline bool packet_follows(const OVERLAPPED& record, int error) noexcept {
  return error == WSAEMSGSIZE && static_cast<std::uint32_t>(record.Internal) == status_cut_short;
}

/// The Winsock error number for a status of the network stack; 0 for any other status.
constexpr int winsock_number(std::uint32_t status) noexcept {
  switch (status) {
  case 0xC0000008 /*INVALID_HANDLE*/:
  case 0xC0000024 /*OBJECT_TYPE_MISMATCH*/:
    return WSAENOTSOCK;
  case 0xC0000017 /*NO_MEMORY*/:
  case 0xC0000044 /*QUOTA_EXCEEDED*/:
  case 0xC000009A /*INSUFFICIENT_RESOURCES*/:
  case 0xC00000A1 /*WORKING_SET_QUOTA*/:
  case 0xC000012D /*COMMITMENT_LIMIT*/:
  case 0xC000013D /*REMOTE_RESOURCES*/:
    return WSAENOBUFS;
  case 0xC0000043 /*SHARING_VIOLATION*/:
  case 0xC0000209 /*TOO_MANY_ADDRESSES*/:
  case 0xC000020A /*ADDRESS_ALREADY_EXISTS*/:
    return WSAEADDRINUSE;
  case 0x00000102 /*TIMEOUT*/:
  case 0xC00000B5 /*IO_TIMEOUT*/:
  case 0xC000013F /*LINK_TIMEOUT*/:
    return WSAETIMEDOUT;
  case 0xC000013C /*REMOTE_DISCONNECT*/:
  case 0xC000013E /*LINK_FAILED*/:
  case 0xC000020C /*CONNECTION_DISCONNECTED*/:
  case 0xC000020D /*CONNECTION_RESET*/:
  case 0xC000023F /*PORT_UNREACHABLE*/:
  case 0xC000A012 /*HOPLIMIT_EXCEEDED*/:
    return WSAECONNRESET;
  case 0xC000013B /*LOCAL_DISCONNECT*/:
  case 0xC000020F /*TRANSACTION_ABORTED*/:
  case 0xC0000241 /*CONNECTION_ABORTED*/:
    return WSAECONNABORTED;
  case 0xC00000BE /*BAD_NETWORK_PATH*/:
  case 0xC000023C /*NETWORK_UNREACHABLE*/:
  case 0xC000023E /*PROTOCOL_UNREACHABLE*/:
    return WSAENETUNREACH;
  case 0xC000023D /*HOST_UNREACHABLE*/:
    return WSAEHOSTUNREACH;
  case 0xC00000BC /*REMOTE_NOT_LISTENING*/:
  case 0xC0000236 /*CONNECTION_REFUSED*/:
    return WSAECONNREFUSED;
  case 0xC0000140 /*INVALID_CONNECTION*/:
    return WSAENOTCONN;
  case 0xC000023B /*CONNECTION_ACTIVE*/:
    return WSAEISCONN;
  case 0xC00000B0 /*PIPE_DISCONNECTED*/:
  case 0xC0000237 /*GRACEFUL_DISCONNECT*/:
    return WSAESHUTDOWN;
  case status_cut_short:
  case 0xC0000206 /*INVALID_BUFFER_SIZE*/:
    return WSAEMSGSIZE;
  case 0xC0000005 /*ACCESS_VIOLATION*/:
  case 0xC0000023 /*BUFFER_TOO_SMALL*/:
    return WSAEFAULT;
  case 0xC0000018 /*CONFLICTING_ADDRESSES*/:
  case 0xC0000141 /*INVALID_ADDRESS*/:
  case 0xC0000207 /*INVALID_ADDRESS_COMPONENT*/:
    return WSAEADDRNOTAVAIL;
  case 0xC00000BF /*NETWORK_BUSY*/:
  case 0xC00000C4 /*UNEXPECTED_NETWORK_ERROR*/:
    return WSAENETDOWN;
  case 0xC0000002 /*NOT_IMPLEMENTED*/:
  case 0xC00000BB /*NOT_SUPPORTED*/:
    return WSAEOPNOTSUPP;
  case 0xC000000D /*INVALID_PARAMETER*/:
    return WSAEINVAL;
  case 0xC0000022 /*ACCESS_DENIED*/:
    return WSAEACCES;
  default:
    return 0;
  }
}

/// The system's error number for an error or a warning; 0 for a success.
inline int number_of(std::uint32_t status) noexcept {
  if (const int number = winsock_number(status)) return number;
  if (status < 0x80000000) return 0;
  using function = ULONG(WINAPI*)(LONG);
  static const auto convert = reinterpret_cast<function>(
      reinterpret_cast<void (*)()>(detail::ntdll_function("RtlNtStatusToDosError")));
  return static_cast<int>(convert ? convert(static_cast<LONG>(status)) : ULONG{ERROR_GEN_FAILURE});
}

/// The result of an overlapped call. Success and information statuses are no failures. Warnings
/// are, since an aborted call may end with one.
inline failure from_status(ULONG_PTR internal) noexcept {
  const auto status = static_cast<std::uint32_t>(internal);
  switch (status) {
  case 0xC0000120: /*CANCELLED*/
  case 0xC0000240: /*REQUEST_ABORTED*/
  case 0x8000000A: /*HANDLES_CLOSED*/
    return std::errc::operation_canceled;
  default:
    return failure::from_os(number_of(status));
  }
}

}}} // namespace rouse::ROUSE_ABI::os
#endif

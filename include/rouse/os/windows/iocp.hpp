// I/O completion ports, and the calls that complete at them.
//
//   start_recv, start_send, ...       -> 0: succeeded | WSA_IO_PENDING | an error number
//   packet from completion_port::wait -> OVERLAPPED::Internal, an NTSTATUS -> from_status: failure
//
// A call that returns 0 has a packet too, unless `skip_packets` is in effect for its handle. A call
// that fails has none, with one exception: see `packet_follows`.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/detail/chrono.hpp>
#include <rouse/os/windows/socket.hpp>
#include <rouse/os/windows/status.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <ratio>

#if ROUSE_WINDOWS
#include <mswsock.h>

namespace rouse { inline namespace ROUSE_ABI { namespace os {

inline HANDLE as_file(native_handle_type h) noexcept { return reinterpret_cast<HANDLE>(h); }

/// An I/O completion port. The destructor closes it.
class completion_port {
public:
  static constexpr std::size_t batch = 64;

  completion_port() noexcept = default;
  completion_port(const completion_port&) = delete;
  completion_port& operator=(const completion_port&) = delete;
  ~completion_port() {
    if (timer_) ::CloseHandle(timer_);
    if (port_) ::CloseHandle(port_);
  }

  failure create() noexcept {
    port_ = ::CreateIoCompletionPort(INVALID_HANDLE_VALUE, nullptr, 0, 1);
    if (!port_) return last_error();
    // CREATE_WAITABLE_TIMER_HIGH_RESOLUTION: since Windows 10, 1803.
    constexpr DWORD high_resolution = 2;
    timer_ = ::CreateWaitableTimerExW(nullptr, nullptr, high_resolution, TIMER_ALL_ACCESS);
    return {}; // a missing timer only makes waits less precise
  }

  /// Associates `h` with this port: the overlapped calls on it then complete here. A handle can
  /// have one port at a time.
  /// @returns ERROR_INVALID_PARAMETER if the handle has a port already, or was not made for
  ///   overlapped use.
  failure add(native_handle_type h) noexcept {
    return ::CreateIoCompletionPort(as_file(h), port_, 0, 0) ? failure{} : last_error();
  }

  /// Makes one `wait` return, the current or the next one. Threads: any.
  void wake() noexcept { ::PostQueuedCompletionStatus(port_, 0, 0, nullptr); }

  /// Waits for packets. The packets of `wake` have no OVERLAPPED.
  /// @param most  the number of packets that can come at all. A batch is one system call on
  ///   Windows. Wine calls its server once for each packet, and once more to see that there are no
  ///   others, unless this number says that there cannot be.
  /// @param until  `min`: does not wait; `max`: for ever. The wait never ends early.
  /// @returns the number of packets; 0 if none came before `until`.
  ///
  /// The port's own timeout ends with a tick of the system's clock, up to 15.6 ms late. So a timer
  /// ends short waits, with a precision of about half a millisecond: its routine interrupts the
  /// wait, which must be alertable for that. (Other routines that are queued for the thread then
  /// run, too.) Source: GetQueuedCompletionStatusEx, CreateWaitableTimerExW, SetWaitableTimer.
  std::size_t wait(OVERLAPPED_ENTRY (&entries)[batch], std::size_t most,
                   clock::time_point until) noexcept {
    const auto room = static_cast<ULONG>(most == 0 ? 1 : most < batch ? most : batch);
    const bool timed = start_timer(until);
    const DWORD timeout = timed ? INFINITE : milliseconds(until);
    ULONG n = 0;
    if (!::GetQueuedCompletionStatusEx(port_, entries, room, &n, timeout, timed)) n = 0;
    if (timed) ::CancelWaitableTimer(timer_); // also removes the queued routine
    return n;
  }

private:
  static void CALLBACK interrupt_wait(void*, DWORD, DWORD) noexcept {}

  // Sets the timer if it is to end the wait. @returns whether it is.
  bool start_timer(clock::time_point until) noexcept {
    if (!timer_ || until == (clock::time_point::min)() || until == (clock::time_point::max)())
      return false;
    const auto left = until - clock::now();
    if (left <= clock::duration::zero() || left > longest_timed) return false;
    using ticks = std::chrono::duration<std::int64_t, std::ratio<1, 10'000'000>>;
    LARGE_INTEGER due;
    due.QuadPart = -std::chrono::ceil<ticks>(left).count(); // negative: relative
    return ::SetWaitableTimer(timer_, &due, 0, &completion_port::interrupt_wait, nullptr, FALSE);
  }

  static DWORD milliseconds(clock::time_point until) noexcept {
    if (until == (clock::time_point::min)()) return 0;
    if (until == (clock::time_point::max)()) return INFINITE;
    constexpr std::int64_t longest = 1'000'000'000;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - clock::now()).count();
    return static_cast<DWORD>(left < 0 ? 0 : left < longest ? left : longest);
  }

  // For longer waits a tick of the clock is precise enough, and they save two system calls.
  static constexpr auto longest_timed = std::chrono::milliseconds(500);

  HANDLE port_ = nullptr;
  HANDLE timer_ = nullptr; // null without high-resolution timers
};

/// Switches off the packets of calls on `h` that succeed at once. Returns false if that is not
/// possible: a layered service provider (LSP) below Winsock may use handles that are not the
/// kernel's.
///
/// For streams only: it would not be certain whether a truncated datagram has a packet.
inline bool skip_packets(native_handle_type h) noexcept {
  WSAPROTOCOL_INFOW info;
  std::size_t size = sizeof info;
  if (get_option(h, SOL_SOCKET, SO_PROTOCOL_INFOW, &info, size) ||
      !(info.dwServiceFlags1 & XP1_IFS_HANDLES))
    return false;
  return ::SetFileCompletionNotificationModes(as_file(h), FILE_SKIP_COMPLETION_PORT_ON_SUCCESS |
                                                              FILE_SKIP_SET_EVENT_ON_HANDLE);
}

namespace detail {
inline failure control(native_handle_type h, DWORD code, const void* value,
                       std::size_t size) noexcept {
  DWORD written = 0;
  return outcome(::WSAIoctl(h, code, const_cast<void*>(value), static_cast<DWORD>(size), nullptr, 0,
                            &written, nullptr, nullptr));
}
} // namespace detail

/// Separates `h` from its port, so that it can be added to another. Since Windows 8.1; does nothing
/// on older systems and under Wine. Precondition: nothing is pending on `h`. Source:
/// NtSetInformationFile, FileReplaceCompletionInformation.
inline void leave_port(native_handle_type h) noexcept {
  struct status_block {
    void* status;
    ULONG_PTR information;
  } block{};
  struct completion_information {
    HANDLE port;
    void* key;
  } none{};
  constexpr int replace_completion = 61;
  using function = LONG(WINAPI*)(HANDLE, status_block*, void*, ULONG, int);
  if (const auto f = reinterpret_cast<function>(
          reinterpret_cast<void (*)()>(detail::ntdll_function("NtSetInformationFile"))))
    f(as_file(h), &block, &none, sizeof none, replace_completion);
}

/// A sent datagram that found no receiver must not fail the next recv, which may be for a datagram
/// of another peer.
inline void ignore_unreachable_peers(native_handle_type h) noexcept {
  const BOOL report = FALSE;
  constexpr DWORD connection_reset = IOC_IN | IOC_VENDOR | 12; // SIO_UDP_CONNRESET
  // SIO_UDP_NETRESET; some systems lack it.
  constexpr DWORD network_reset = IOC_IN | IOC_VENDOR | 15;
  (void)detail::control(h, connection_reset, &report, sizeof report);
  (void)detail::control(h, network_reset, &report, sizeof report);
}

/// Makes a connect to this machine fail at the first refusal. Otherwise Windows tries again for two
/// seconds. Since Windows 10, 1709.
inline void refuse_at_once(native_handle_type h) noexcept {
  struct {
    USHORT round_trip = 0xFFFF; // TCP_INITIAL_RTO_UNSPECIFIED_RTT
    UCHAR retransmissions = 0xFE; // TCP_INITIAL_RTO_NO_SYN_RETRANSMISSIONS
  } const parameters;
  constexpr DWORD initial_rto = IOC_IN | IOC_VENDOR | 17; // SIO_TCP_INITIAL_RTO
  (void)detail::control(h, initial_rto, &parameters, sizeof parameters);
}

/// Finds an extension function of the Winsock provider of `h`, which no library exports by name.
template <class Function>
failure find_extension(native_handle_type h, GUID id, Function& out) noexcept {
  DWORD written = 0;
  return outcome(::WSAIoctl(h, SIO_GET_EXTENSION_FUNCTION_POINTER, &id, sizeof id, &out, sizeof out,
                            &written, nullptr, nullptr));
}

/// Whether a send failed with `error` because it had no destination. That is WSAENOTCONN, and under
/// Wine WSAEINVAL, which may have other reasons.
inline bool lacks_destination(native_handle_type h, failure error) noexcept {
  if (error == failure::from_os(WSAENOTCONN)) return true;
  endpoint peer;
  return error == failure::from_os(WSAEINVAL) &&
         remote_endpoint(h, peer) == failure::from_os(WSAENOTCONN);
}

/// Returns WSAEINVAL if `h` does not listen.
inline failure check_listening(native_handle_type h) noexcept {
  BOOL listens = FALSE;
  std::size_t size = sizeof listens;
  const failure f = get_option(h, SOL_SOCKET, SO_ACCEPTCONN, &listens, size);
  return f || listens ? f : failure::from_os(WSAEINVAL);
}

// ---- the calls that start an operation
// Each returns 0 if the operation has succeeded, WSA_IO_PENDING, or an error number.

inline int start_recv(native_handle_type h, void* data, std::size_t size, OVERLAPPED& record,
                      DWORD& bytes) noexcept {
  WSABUF buffer{static_cast<ULONG>(size), static_cast<char*>(data)};
  DWORD flags = 0;
  return ::WSARecv(h, &buffer, 1, &bytes, &flags, &record, nullptr) == 0 ? 0 : ::WSAGetLastError();
}

inline int start_send(native_handle_type h, void* data, std::size_t size, OVERLAPPED& record,
                      DWORD& bytes) noexcept {
  WSABUF buffer{static_cast<ULONG>(size), static_cast<char*>(data)};
  return ::WSASend(h, &buffer, 1, &bytes, 0, &record, nullptr) == 0 ? 0 : ::WSAGetLastError();
}

inline int start_recv_from(native_handle_type h, message& m, OVERLAPPED& record,
                           DWORD& bytes) noexcept {
  DWORD flags = 0;
  sockaddr* const from = m.address();
  return ::WSARecvFrom(h, m.pieces(), m.count(), &bytes, &flags, from,
                       from ? &m.address_length() : nullptr, &record, nullptr) == 0
             ? 0
             : ::WSAGetLastError();
}

inline int start_send_to(native_handle_type h, message& m, OVERLAPPED& record,
                         DWORD& bytes) noexcept {
  return ::WSASendTo(h, m.pieces(), m.count(), &bytes, 0, m.address(), m.address_length(), &record,
                     nullptr) == 0
             ? 0
             : ::WSAGetLastError();
}

/// Room for the two addresses that AcceptEx writes. They are never read: the accepted socket itself
/// reports them more reliably.
struct accept_scratch {
  static constexpr DWORD address_room = sizeof(sockaddr_storage) + 16;
  unsigned char bytes[2 * address_room];
};

inline int start_accept(LPFN_ACCEPTEX accept_ex, native_handle_type listener,
                        native_handle_type incoming, accept_scratch& unread,
                        OVERLAPPED& record) noexcept {
  DWORD bytes = 0;
  constexpr DWORD room = accept_scratch::address_room;
  return accept_ex(listener, incoming, unread.bytes, 0, room, room, &bytes, &record)
             ? 0
             : ::WSAGetLastError();
}

/// Completes an AcceptEx. Before this call, an accepted socket has no addresses and cannot be shut
/// down.
inline failure inherit_from_listener(native_handle_type accepted,
                                     native_handle_type listener) noexcept {
  return set_option(accepted, SOL_SOCKET, SO_UPDATE_ACCEPT_CONTEXT, &listener, sizeof listener);
}

inline int start_connect(LPFN_CONNECTEX connect_ex, native_handle_type h,
                         const socket_address& peer, OVERLAPPED& record) noexcept {
  DWORD bytes = 0;
  return connect_ex(h, &peer.any, peer.length, nullptr, 0, &bytes, &record) ? 0
                                                                            : ::WSAGetLastError();
}

/// Completes a ConnectEx. Before this call, a connected socket has no peer and cannot be shut down.
inline failure note_connected(native_handle_type h) noexcept {
  return outcome(::setsockopt(h, SOL_SOCKET, SO_UPDATE_CONNECT_CONTEXT, nullptr, 0));
}

inline bool is_loopback(const socket_address& a) noexcept {
  if (a.any.sa_family == AF_INET) return (::ntohl(a.v4.sin_addr.s_addr) >> 24) == 127;
  return a.any.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&a.v6.sin6_addr);
}

/// The address to connect to. The "any" address means this machine, as on Linux; Windows itself
/// refuses it.
inline socket_address as_destination(const endpoint& peer) noexcept {
  socket_address a(peer);
  if (a.any.sa_family == AF_INET && a.v4.sin_addr.s_addr == 0)
    a.v4.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  else if (a.any.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a.v6.sin6_addr))
    a.v6.sin6_addr.s6_addr[15] = 1;
  return a;
}

// ---- readiness
// Winsock has no overlapped call for readiness. So the request that select and WSAPoll send to
// Winsock's driver (AFD) is sent directly, as an overlapped one. (libuv, mio and wepoll do it too.)

/// AFD_POLL_INFO, for one handle.
struct poll_request {
  LARGE_INTEGER timeout;
  ULONG count;
  ULONG exclusive;
  HANDLE handle;
  ULONG events;
  LONG status;
};

constexpr ULONG readiness(action what) noexcept {
  constexpr ULONG receive = 0x1, expedited = 0x2, send = 0x4, disconnect = 0x8, abort = 0x10,
                  accept = 0x80, connect_fail = 0x100;
  if (what == action::when_writable) return send | abort | connect_fail;
  return what == action::when_urgent ? expedited | abort : receive | accept | disconnect | abort;
}

/// Whether the result of the request is that the peer has reset the connection.
inline bool found_reset(const void* request) noexcept {
  constexpr ULONG abort = 0x10;
  return (static_cast<const poll_request*>(request)->events & abort) != 0;
}

/// The handle of `h` in Winsock's driver. With a layered provider it differs from `h`
/// (SIO_BASE_HANDLE).
inline native_handle_type base_handle(native_handle_type h) noexcept {
  native_handle_type base = h;
  DWORD written = 0;
  const bool known = ::WSAIoctl(h, SIO_BASE_HANDLE, nullptr, 0, &base, sizeof base, &written,
                                nullptr, nullptr) == 0;
  return known ? base : h;
}

/// A poll request about several handles, in the form of the driver. It must stay in place until it
/// has completed.
struct polled_files {
  void* request;
  ULONG size;
};

/// Starts a poll request about several handles.
/// @param h  any socket; the request contains the handles to poll.
inline int start_poll(native_handle_type h, const polled_files& files,
                      OVERLAPPED& record) noexcept {
  constexpr ULONG poll = 0x00012024; // IOCTL_AFD_POLL
  constexpr LONG pending = 0x103;
  using function =
      LONG(WINAPI*)(HANDLE, HANDLE, void*, void*, void*, ULONG, void*, ULONG, void*, ULONG);
  static const auto control = reinterpret_cast<function>(
      reinterpret_cast<void (*)()>(detail::ntdll_function("NtDeviceIoControlFile")));
  if (!control) return WSAEOPNOTSUPP;
  record.Internal = pending;
  const LONG status = control(as_file(h), nullptr, nullptr, &record, &record.Internal, poll,
                              files.request, files.size, files.request, files.size);
  if (status == pending) return WSA_IO_PENDING;
  return status >= 0 ? 0 : number_of(static_cast<std::uint32_t>(status));
}

/// Starts a poll request about `h` alone.
/// @param request  must stay in place until it has completed.
inline int start_poll(native_handle_type h, ULONG events, poll_request& request,
                      OVERLAPPED& record) noexcept {
  request = {};
  request.timeout.QuadPart = (std::numeric_limits<LONGLONG>::max)();
  request.count = 1;
  request.handle = as_file(base_handle(h));
  request.events = events;
  return start_poll(h, polled_files{&request, sizeof request}, record);
}

}}} // namespace rouse::ROUSE_ABI::os
#endif

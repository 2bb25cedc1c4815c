// Readiness: to wait until a socket has something, or room, and take nothing.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>

#include <utility>

namespace rouse::inline ROUSE_ABI {

/// What `wait` waits for.
enum class readiness : unsigned char {
  readable, ///< bytes, the end of the stream, a datagram, a connection to accept
  writable, ///< room to send
  urgent, ///< out-of-band data, or the end of the stream
};
inline constexpr readiness readable = readiness::readable;
inline constexpr readiness writable = readiness::writable;
inline constexpr readiness urgent = readiness::urgent;

namespace detail {

struct wait_call : attempt {
  using value_type = done;
  static constexpr const char* name = "rouse: wait";
  descriptor* socket;
  readiness what;

  wait_call(descriptor* d, readiness r) noexcept : attempt(nullptr), socket(d), what(r) {}

  bool prepare(operation& op) noexcept {
    constexpr action actions[] = {action::when_readable, action::when_writable,
                                  action::when_urgent};
    op.what = actions[static_cast<unsigned>(what)];
    op.target = socket;
    op.attempt = this;
    op.size = 0;
    return true;
  }
  bool advance(operation&) noexcept { return true; }
  done value(operation&) noexcept { return {}; }
};

/// A part of `socket`: its calls that wait for readiness.
template <class Socket>
class readiness_calls {
public:
  /// Waits until a call would not have to wait, and takes nothing: `wait(rouse::readable)`,
  /// `wait(rouse::writable)`, `wait(rouse::urgent)`. For libraries that make their own system calls
  /// on the handle.
  ///
  /// A hint: who reads in between takes the bytes away. Also done when the connection fails or has
  /// ended: the next call says how. It takes its turn among the calls of the same direction that
  /// wait (recv and accept; send and connect).
  ///
  /// Errors: only those of every call. A socket that is not connected is ready on Linux, which
  /// reports a hangup; on Windows it waits.
  /// Cost: no allocation; epoll one poll(2), io_uring that and an entry, IOCP one request.
  /// Source: poll(2); IORING_OP_POLL_ADD, Linux 5.1; IOCTL_AFD_POLL, which is below WSAPoll.
  template <class... How>
    requires(!limit_first<How...>)
  decltype(auto) wait(readiness what, How&&... how) {
    return self().begin(wait_call{self().record_, what}, no_limit{}, std::forward<How>(how)...);
  }
  template <class... How>
  decltype(auto) wait(readiness what, limit l, How&&... how) {
    return self().begin(wait_call{self().record_, what}, std::move(l), std::forward<How>(how)...);
  }

protected:
  readiness_calls() noexcept = default;
  readiness_calls(readiness_calls&&) noexcept = default;
  readiness_calls& operator=(readiness_calls&&) noexcept = default;
  ~readiness_calls() = default;

private:
  Socket& self() noexcept { return static_cast<Socket&>(*this); }
};

} // namespace detail
} // namespace rouse::inline ROUSE_ABI

// The driver of this platform: completion ports on Windows, kqueue on macOS; on Linux io_uring, or
// epoll if the kernel refuses it.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/waiting.hpp>
#include <rouse/detail/buffer_pool.hpp>
#include <rouse/detail/threading.hpp>
#include <rouse/engines/engine.hpp>
#include <rouse/engines/engine_details.hpp>
#include <rouse/engines/engine_sockets.hpp>
#include <rouse/engines/epoll.hpp>
#include <rouse/engines/io_uring.hpp>
#include <rouse/engines/iocp.hpp>
#include <rouse/engines/kqueue.hpp>
#include <rouse/os/system_sockets.hpp>

#include <cstdlib>
#include <string>
#include <string_view>
#include <type_traits>

#if ROUSE_WINDOWS
namespace rouse { inline namespace ROUSE_ABI {

template <bool Shared>
using native_driver = iocp_driver;

template <class Threading = one_thread>
using basic_native_engine = basic_engine<native_driver<Threading::shared>, Threading>;

using native_engine = basic_native_engine<>;
/// The same for any thread: what `threads` uses.
using shared_native_engine = basic_native_engine<any_thread>;

}} // namespace rouse::ROUSE_ABI
#elif ROUSE_KQUEUE
namespace rouse { inline namespace ROUSE_ABI {

template <bool Shared>
using native_driver = kqueue_driver;

template <class Threading = one_thread>
using basic_native_engine = basic_engine<native_driver<Threading::shared>, Threading>;

using native_engine = basic_native_engine<>;
/// The same for any thread: what `threads` uses.
using shared_native_engine = basic_native_engine<any_thread>;

}} // namespace rouse::ROUSE_ABI
#else
namespace rouse { inline namespace ROUSE_ABI {

/// The best driver that opens. `engine_report()` says which one it is and why a better one was
/// refused; with `ROUSE_ENGINE=epoll` or `ROUSE_ENGINE=io_uring` in the environment, only that one
/// is tried, for diagnosis.
///
/// @tparam Shared  whether several threads call. epoll then comes first: io_uring completes a
/// request on the thread that submitted it, which has to be woken for that, and woken again to hear
/// of it.
template <bool Shared>
class native_driver {
  using first = io_uring_driver<Shared>;
  using second = epoll_driver;

public:
  using operation = rouse::operation;
  using sockets = os::system_sockets;
  using interrupts = typename second::interrupts;

  failure open(detail::buffer_pool& buffers) {
    failure why;
    if (Shared && try_open(epoll_, "epoll", buffers, why)) return {};
    uring_ = try_open(io_uring_, "io_uring", buffers, why);
    if (uring_ || (!Shared && try_open(epoll_, "epoll", buffers, why))) return {};
    return why;
  }
  [[nodiscard]] std::string report() const {
    return (uring_ ? io_uring_.report() : epoll_.report()) + refusals_;
  }
  [[nodiscard]] bool blocking_handles() const noexcept { return uring_; }
  [[nodiscard]] socket_state* make_state() noexcept {
    return with_open([](auto& d) { return d.make_state(); });
  }
  failure attach(socket_state& s) noexcept {
    return with_open([&](auto& d) { return d.attach(s); });
  }
  void detach(socket_state& s, bool keep_open) noexcept {
    with_open([&](auto& d) { d.detach(s, keep_open); });
  }
  bool start(operation& op) noexcept {
    return with_open([&](auto& d) { return d.start(op); });
  }
  void request_cancel(operation& op, completions& done) noexcept {
    with_open([&](auto& d) { d.request_cancel(op, done); });
  }
  template <class Lock>
  void wait(clock::time_point until, Lock& lock, completions& done) noexcept {
    with_open([&](auto& d) { d.wait(until, lock, done); });
  }
  void wake() noexcept {
    with_open([](auto& d) { d.wake(); });
  }

  [[nodiscard]] bool may_be_direct(const operation& op) const noexcept {
    return !uring_ && epoll_.may_be_direct(op);
  }
  static bool attempt_first(operation& op) noexcept { return second::attempt_first(op); }
  static bool attempt(operation& op) noexcept { return second::attempt(op); }

  [[nodiscard]] bool usable_here() const noexcept { return !uring_ || io_uring_.usable_here(); }
  [[nodiscard]] native_handle_type wait_handle() noexcept {
    return with_open([](auto& d) { return d.wait_handle(); });
  }
  bool arm_wait_handle(completions& done) noexcept {
    return !uring_ || io_uring_.arm_wait_handle(done);
  }

  /// Calls `f` with the type of the driver that is open, and gives access to it.
  template <class F>
  decltype(auto) visit(F f) noexcept {
    return uring_ ? f(std::type_identity<first>()) : f(std::type_identity<second>());
  }
  template <class Driver>
  Driver& the() noexcept {
    if constexpr (std::is_same_v<Driver, first>)
      return io_uring_;
    else
      return epoll_;
  }

private:
  template <class F>
  decltype(auto) with_open(F f) noexcept {
    return uring_ ? f(io_uring_) : f(epoll_);
  }

  template <class Driver>
  bool try_open(Driver& driver, std::string_view name, detail::buffer_pool& buffers, failure& why) {
    if (!wanted(name, why)) return false;
    why = driver.open(buffers);
    if (why) add_refusal(name, " refused: ", why.code().message());
    return !why;
  }

  bool wanted(std::string_view name, failure& why) {
    const char* const only = std::getenv("ROUSE_ENGINE");
    if (!only || !*only || only == name) return true;
    add_refusal(name, " not wanted: ROUSE_ENGINE=", only);
    if (!why) why = std::errc::invalid_argument;
    return false;
  }

  ROUSE_COLD void add_refusal(std::string_view name, const char* what, std::string_view why) {
    refusals_.append("; ").append(name).append(what).append(why);
  }

  bool uring_ = false; // which of the two is open
  first io_uring_;
  second epoll_;
  std::string refusals_;
};

template <class Threading = one_thread>
using basic_native_engine = basic_engine<native_driver<Threading::shared>, Threading>;

using native_engine = basic_native_engine<>;
/// The same for any thread: what `threads` uses.
using shared_native_engine = basic_native_engine<any_thread>;

}} // namespace rouse::ROUSE_ABI
#endif

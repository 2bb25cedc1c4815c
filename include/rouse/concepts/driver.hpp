// What a driver is: one kernel interface.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/waiting.hpp>
#include <rouse/detail/buffer_pool.hpp>
#include <rouse/detail/threading.hpp>
#include <rouse/fwd.hpp>

#include <concepts>
#include <cstddef>
#include <string>

namespace rouse { inline namespace ROUSE_ABI {

/// A driver: io_uring, epoll, completion ports, or a network in memory. `basic_engine` owns one and
/// calls it; a driver calls nothing above it, it hands results back through `completions`. All
/// functions but `wake` are called with the engine's lock held; only `open` and `report` may throw.
///
/// - `D::operation` derives from `rouse::operation`, inherits its constructor, and has room for
///   what the kernel writes to while the operation is pending.
/// - `D::sockets`: static functions for all that needs no waiting. See `system_sockets`.
/// - `d.open(buffers)` opens the kernel interface; a `failure` if the kernel refuses. `receive`
///   takes its buffers from the pool, which outlives the driver.
/// - `d.report()`: its name, in words.
/// - `d.blocking_handles()`: whether it wants sockets in blocking mode.
/// - `d.make_state()`: a new record, of a class that derives from `socket_state` and holds what the
///   driver knows about one socket; null if memory is short. The engine owns it.
/// - `d.attach(s)`: the handle in `s` joins the kernel interface. `s` may have held another one.
/// - `d.detach(s, keep_open)`: it leaves, and is closed next, or kept open for the user. Nothing is
///   pending on it.
/// - `d.start(op)`: true: done, the result is in `op` (`bytes`, `error`; `handle` for accept,
///   `data` for receive; a connect clears `target->unconnected`). False: a later `wait` adds it to
///   its `done`. Other operations of the socket may be pending; those in one direction take effect
///   in the order of their starts.
/// - `d.request_cancel(op, done)`: `op` is pending; it still completes: with operation_canceled,
///   added to `done` here or in `wait`, or with the kernel's result if that comes first. No byte
///   that was received may be lost.
/// - `d.wait(until, lock, done)`: waits until something has completed, `wake` is called or `until`
///   has passed (min: not at all; max: for ever), and adds what has completed to `done`. Releases
///   the lock while it waits. After a `wake`, it calls `done.interrupt()`.
/// - `d.wake()`: from any thread: ends the current wait, or the next one.
/// - In a forked child the engine destroys its driver, and opens a new one if it was not used yet:
///   the destructor must not disturb the parent.
///
/// Optional:
/// - `d.usable_here()`: false if operations in flight belong to another thread.
/// - `d.wait_handle()`: a handle that a foreign loop polls for readability; and
///   `d.arm_wait_handle(done)`, called after a `wait` that did not wait: from now on the handle
///   becomes readable when something completes; false if something has already.
/// - `D::interrupts`, `d.may_be_direct(op)`, `D::attempt(op)` and `D::attempt_first(op)`: threads
///   then make calls without the driver; see engines/direct_calls.hpp and `poll_driver`.
/// - `d.visit(f)` and `d.the<E>()`, for a driver that is one of several (`native_driver`): calls
///   `f` with the std::type_identity of the one that is open, and gives access to it.
template <class D>
concept driver =
    std::default_initializable<D> && std::derived_from<typename D::operation, operation> &&
    requires(D& d, typename D::operation& op, socket_state& s, completions& done,
             detail::buffer_pool& buffers, typename one_thread::lock& lock) {
      typename D::sockets;
      { d.open(buffers) } -> std::same_as<failure>;
      { d.report() } -> std::convertible_to<std::string>;
      { d.blocking_handles() } -> std::same_as<bool>;
      { d.make_state() } -> std::convertible_to<socket_state*>;
      { d.attach(s) } -> std::same_as<failure>;
      d.detach(s, true);
      { d.start(op) } -> std::same_as<bool>;
      d.request_cancel(op, done);
      d.wait((clock::time_point::max)(), lock, done);
      d.wake();
    };

/// An engine: `native_engine`, or `basic_engine<D>` for a driver of your own.
template <class E>
concept engine = requires {
  typename E::driver_type;
  typename E::threading;
  typename E::operation;
};

namespace detail {

template <class D>
consteval void explain_operations() {
  if constexpr (requires { typename D::operation; }) {
    static_assert(std::derived_from<typename D::operation, operation>,
                  "rouse: a driver's operation derives from rouse::operation");
    static_assert(
        requires(D& d, typename D::operation& op) {
          { d.start(op) } -> std::same_as<bool>;
        }, "rouse: a driver has \"bool start(operation&)\": true if the operation is done at once");
    static_assert(
        requires(D& d, typename D::operation& op, completions& done) {
          d.request_cancel(op, done);
        }, "rouse: a driver has \"void request_cancel(operation&, completions&)\"");
  }
  static_assert(
      requires(D& d, one_thread::lock& lock, completions& done) {
        d.wait((clock::time_point::max)(), lock, done);
      },
      "rouse: a driver has \"void wait(clock::time_point until, Lock&, completions&)\", for every "
      "type of lock that an engine may have");
  static_assert(
      requires(D& d) { d.wake(); },
      "rouse: a driver has \"void wake()\", which ends a wait from any thread");
}

} // namespace detail

/// Says in words what a type lacks to be a driver.
template <class D>
consteval void explain_driver() {
  static_assert(std::default_initializable<D>,
                "rouse: a driver is made closed, by its default constructor; open() opens it");
  static_assert(
      requires { typename D::operation; },
      "rouse: a driver names its operation: \"using operation = rouse::operation;\", or a class "
      "derived from that with room for what the kernel writes");
  static_assert(
      requires { typename D::sockets; }, "rouse: a driver names its sockets: \"using sockets = "
                                         "rouse::os::system_sockets;\", or a type "
                                         "with the same static functions");
  static_assert(
      requires(D& d, detail::buffer_pool& buffers) {
        { d.open(buffers) } -> std::same_as<failure>;
      }, "rouse: a driver has \"failure open(detail::buffer_pool&)\", which opens the kernel "
         "interface");
  static_assert(
      requires(D& d) {
        { d.report() } -> std::convertible_to<std::string>;
      }, "rouse: a driver has \"std::string report() const\", its name in words");
  static_assert(
      requires(D& d) {
        { d.blocking_handles() } -> std::same_as<bool>;
      }, "rouse: a driver has \"bool blocking_handles() const\": whether it wants sockets in "
         "blocking mode");
  static_assert(
      requires(D& d) {
        { d.make_state() } -> std::convertible_to<socket_state*>;
      }, "rouse: a driver has \"socket_state* make_state()\": a new record of one socket, or null");
  static_assert(
      requires(D& d, socket_state& s) {
        { d.attach(s) } -> std::same_as<failure>;
        d.detach(s, true);
      },
      "rouse: a driver has \"failure attach(socket_state&)\" and \"void detach(socket_state&, bool "
      "keep_open)\", by which handles join and leave it");
  detail::explain_operations<D>();
}

/// Says in words what a type lacks to be an engine.
template <class E>
consteval void explain_engine() {
  static_assert(engine<E>, "rouse: the first argument of basic_scheduler is an engine: "
                           "native_engine, or basic_engine<D> for a driver D of your own");
}

}} // namespace rouse::ROUSE_ABI

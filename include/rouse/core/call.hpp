// A call in progress, from which the calls of every waker derive. Its life:
//
//   start()                                       refused
//     call.prepare(op) ---------------false----------------> engine.count(op)
//       |true                                                  |true       |false
//       v                                                      |           v  in the next turn
//     engine.submit(op) --false--> pending --> on_completed()  |      on_finished()
//       ^     |true                                 |          |           |
//       |     v                                     |          |           |
//       |   call.advance(op) <----------------------+          |           |
//       |     |        |true                                   |           |
//       +-----+        v                                       v           v
//    another round   start() returns true, or else deliver() is called; then take()
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/call_arguments.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/stop_watch.hpp>
#include <rouse/detail/running.hpp>
#include <rouse/fwd.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace rouse { inline namespace ROUSE_ABI {

/// The value of a call that has no result, such as `connect` or `sleep_for`. It is an empty type
/// and not void so that a task can await it where calls return directly.
struct done {};

namespace detail {

template <class T, class... Types>
inline constexpr bool one_of = (std::same_as<T, Types> || ...);

} // namespace detail

/// True if a call that returns its value directly (with `fibers`, `threads` or another parking
/// waker) may return a `T`. A `task` can await only such values and awaitables. Specialize it for
/// the return types of your own functions that are written for every scheduler:
///
///     template <>
///     inline constexpr bool rouse::returned_by_call<my_reply> = true;
template <class T>
inline constexpr bool returned_by_call =
    detail::one_of<T, done, std::size_t, std::uint64_t, int, std::string_view, loan, datagram,
                   delivery, std::vector<endpoint>>; // int: a signal
template <class T>
inline constexpr bool returned_by_call<std::optional<T>> = true; // a channel's
template <class Scheduler>
inline constexpr bool returned_by_call<socket<Scheduler>> = true;

namespace detail {

template <class C>
struct request_of {
  using type = C;
};
template <class C>
  requires requires { typename C::request; }
struct request_of<C> {
  using type = typename C::request;
};
// The part of a description that a pending call keeps. A description with `fill(op)` writes its
// request into the operation, and only its member type `request` is kept; of another one everything
// is.
template <class C>
using kept = typename request_of<C>::type;

// The call's value, which some descriptions read from the operation.
template <class C>
decltype(auto) value_of(C& call, operation& op) {
  if constexpr (requires { call.value(op); })
    return call.value(op);
  else
    return call.value();
}

struct any_engine; // stands for every type of engine

} // namespace detail

/// The description of a call. It depends on neither the engine nor the waker. A composed call makes
/// several requests, one in each round.
template <class C>
concept call_description = requires(detail::kept<C> c, operation& op) {
  typename C::value_type;
  { C::name } -> std::convertible_to<const char*>;
  // Fills in the first request; false: refused, `op.error` says why.
  { c.prepare(op) } noexcept -> std::same_as<bool>;
  // Looks at a result; false: `op` requests another round. May take the engine as well.
  requires requires {
    { c.advance(op) } noexcept -> std::same_as<bool>;
  } || requires(detail::any_engine& e) { c.advance(op, e); };
  { detail::value_of(c, op) } -> std::same_as<typename C::value_type>;
};

namespace detail {

// What the exception adds to invalid_argument if the call itself refuses an argument.
template <class C>
inline constexpr const char* misuse_of = nullptr;
template <class C>
  requires requires { C::misuse; }
inline constexpr const char* misuse_of<C> = C::misuse;

// Refused where a result of 0 means something else.
inline constexpr const char* empty_buffer = "empty buffer";

// Throws the error of a call. The text names the reason if the library, not the system, ended it.
[[noreturn]] inline void throw_failed(failure error, const char* call, const char* misuse) {
  std::string what = call;
  if (error == failure(std::errc::timed_out) && !ROUSE_WINDOWS)
    what += ": timed out"; // the C library's words go on about a connection
  else if (error == failure(std::errc::invalid_argument) && misuse)
    what.append(": ").append(misuse);
  throw_error(error.code(), what);
}

// True for a call that neither ends with its flow nor ends it, for destructors that must wait.
template <class C>
inline constexpr bool shielded = requires { requires C::shielded; };

// The part of a pending call that is the same for every waker.
//
// @tparam Receiver  derives from it. Its `void deliver() noexcept` is called when a call that
// `start` left unfinished has finished, and may destroy the call.
template <class Engine, class Call, class Limit, class Receiver>
class pending_call : public Engine::operation {
  static_assert(call_description<Call>);

public:
  using value_type = typename Call::value_type;
  static constexpr bool may_end = requires(const Limit& l) { l.when(); };
  static constexpr bool may_be_stopped = requires(const Limit& l) { l.token(); };

  pending_call(const pending_call&) = delete;
  pending_call& operator=(const pending_call&) = delete;

protected:
  /// @param engine  null if the socket has none: the call fails with bad_file_descriptor.
  pending_call(Engine* engine, Call&& call, Limit l)
      : Engine::operation(&pending_call::on_completed), engine_(engine), call_(keep(call)) {
    if constexpr (requires { this->mark.where; }) this->mark.where = l.at(); // for an observer
    if constexpr (may_end) this->due = l.when().when();
    if constexpr (may_be_stopped) token_ = l.token();
  }

  ~pending_call() {
    if constexpr (may_be_stopped) {
      if (engine_) watch_.forget(*engine_);
    }
    if (in_progress()) engine_->abandon(*this);
    // A result that was not taken.
    if constexpr (requires { call_.discard(*this, *engine_); }) {
      if (engine_) call_.discard(*this, *engine_);
    }
  }

  /// True: finished. False: `deliver` will be called; on a shared engine possibly before this
  /// function returns.
  bool start() noexcept {
    if (engine_ && prepare()) return start_prepared();
    return end_without_request();
  }

  /// Before `start`: makes the call fail with operation_canceled.
  void refuse() noexcept { this->cancel_reason = cancel_reason::request; }
  /// For receivers that must not be called inside `start`: `deliver` runs in the next turn.
  void deliver_later() noexcept {
    this->complete = &pending_call::on_finished;
    engine_->defer(*this);
  }

  /// True from `start` until the completion.
  [[nodiscard]] bool in_progress() const noexcept { return this->state != operation_state::idle; }
  [[nodiscard]] Engine* engine() const noexcept { return engine_; }
  [[nodiscard]] std::error_code code() const noexcept { return this->error.code(); }
  [[nodiscard]] value_type value() { return value_of(call_, *this); }

  /// The value. An error is stored in `ec`, or thrown if `ec` is null.
  value_type take(std::error_code* ec) {
    if (this->error || (ec && *ec)) report(this->error, ec);
    return value();
  }
  ROUSE_COLD static void report(failure error, std::error_code* ec) {
    if (!ec) throw_failed(error, Call::name, misuse_of<Call>);
    *ec = error.code();
  }

private:
  kept<Call> keep(Call& call) {
    if constexpr (std::is_same_v<kept<Call>, Call>) {
      return std::move(call);
    } else {
      call.fill(*this);
      return {};
    }
  }

  // Finishes a call that made no request. It counts against the fairness budget as any other does;
  // without an engine, that of the loop that the caller runs in.
  ROUSE_NOINLINE bool end_without_request() noexcept {
    if (!engine_) {
      this->error = std::errc::bad_file_descriptor;
      engine_ = running<Engine>::here();
      if (!engine_) return true;
    }
    this->complete = &pending_call::on_finished;
    return engine_->count(*this);
  }

  // `prepare` of a sleep sets `due`; the limit then applies only if it is earlier.
  bool prepare() noexcept {
    if constexpr (!may_end) {
      return call_.prepare(*this);
    } else {
      const clock::time_point when = this->due;
      const bool prepared = call_.prepare(*this);
      if (!this->limited || when < this->due) this->limit_to(when);
      return prepared;
    }
  }

  bool start_prepared() noexcept {
    if constexpr (may_be_stopped) {
      if (token_.stop_requested())
        refuse();
      else
        watch_.watch(*engine_, *this, token_);
    }
    if (!submit_first()) return false;
    if (!advance() && !proceed()) return false;
    disarm();
    return true;
  }
  bool advance() noexcept {
    if constexpr (requires { call_.advance(*this, *engine_); })
      return call_.advance(*this, *engine_);
    else
      return call_.advance(*this);
  }
  bool submit_first() noexcept {
    if constexpr (requires(completions& c) { call_.waiter.enter(*this, c); })
      return engine_->submit(*this, call_.waiter);
    else
      return submit();
  }
  bool submit() noexcept {
    // Then the engine need not look it up.
    if constexpr (requires { kept<Call>::only_action; })
      ROUSE_ASSUME(this->action == kept<Call>::only_action);
    return engine_->submit(*this);
  }

  // Starts further rounds until one has to wait (false) or the call is finished (true). After
  // false, `this` may be destroyed.
  ROUSE_NOINLINE bool proceed() noexcept {
    do {
      this->continues = true;
      this->error = {};
      this->bytes = 0;
      if (!submit()) return false;
    } while (!advance());
    return true;
  }

  void disarm() noexcept {
    if constexpr (may_be_stopped) watch_.forget(*engine_);
  }

  static void on_completed(rouse::operation& base) noexcept {
    auto& self = static_cast<pending_call&>(static_cast<typename Engine::operation&>(base));
    if (!self.advance() && !self.proceed()) return;
    self.disarm();
    static_cast<Receiver&>(self).deliver();
  }
  static void on_finished(rouse::operation& base) noexcept {
    auto& self = static_cast<pending_call&>(static_cast<typename Engine::operation&>(base));
    static_cast<Receiver&>(self).deliver();
  }

  Engine* engine_;
  ROUSE_NO_UNIQUE_ADDRESS kept<Call> call_;
  ROUSE_NO_UNIQUE_ADDRESS std::conditional_t<may_be_stopped, std::stop_token, nothing> token_;
  ROUSE_NO_UNIQUE_ADDRESS std::conditional_t<may_be_stopped, stop_watch<Engine>, no_watch> watch_;
};

} // namespace detail

/// A call in progress, for wakers of your own that return something other than the call's value.
///
/// The object that `initiate` creates derives from it, as `Receiver`. It calls `start`; if the call
/// is then unfinished, `void deliver() noexcept` is called once it has finished, on the thread that
/// runs the engine, and may destroy the call. `take` returns the value or throws the error.
/// Destroying an unfinished call cancels it and waits until the kernel no longer uses it (O5).
template <class Engine, class Call, class Limit, class Receiver>
using pending_call = detail::pending_call<Engine, Call, Limit, Receiver>;

}} // namespace rouse::ROUSE_ABI

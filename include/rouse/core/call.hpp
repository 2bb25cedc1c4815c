// A call in progress: its description, its operation, its limits. What wakers derive from.
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

/// What a call gives that has nothing to give: `connect`, `sleep_for`. (An empty value, so that it
/// may be awaited also where calls return directly.)
struct done {};

namespace detail {

template <class T, class... Types>
inline constexpr bool one_of = (std::same_as<T, Types> || ...);

} // namespace detail

/// Whether a call that returns directly (of `fibers`, `threads` or another parking waker) may
/// return a `T`: only such values, and awaitables, can be awaited in a `task`. For functions of
/// your own that are written for every scheduler:
///
///     template <>
///     inline constexpr bool rouse::returned_by_call<my_reply> = true;
template <class T>
inline constexpr bool returned_by_call =
    detail::one_of<T, done, std::size_t, std::uint64_t, int, std::string_view, loan, datagram,
                   delivery, std::vector<endpoint>>; // int: the number of a signal
template <class T>
inline constexpr bool returned_by_call<std::optional<T>> = true; // of a channel
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
// What a call in progress keeps of its description: all of it, unless `fill(op)` puts what is asked
// into the operation; then `request`, which has the rest.
template <class C>
using kept = typename request_of<C>::type;

// What the call gives: that of its answer, or what it holds itself.
template <class C>
decltype(auto) value_of(C& call, operation& op) {
  if constexpr (requires { call.value(op); })
    return call.value(op);
  else
    return call.value();
}

} // namespace detail

/// A description of a call, which knows neither engine nor waker. A composed call is one that asks
/// for another round.
template <class C>
concept call_description = requires(detail::kept<C> c, operation& op) {
  typename C::value_type;
  { C::name } -> std::convertible_to<const char*>;
  {
    c.prepare(op)
  } noexcept
      -> std::same_as<bool>; // fills in the first request; false: refused, `op.error` says why
  {
    c.advance(op)
  } noexcept -> std::same_as<bool>; // looks at an answer; false: `op` asks for another round
  { detail::value_of(c, op) } -> std::same_as<typename C::value_type>;
};

namespace detail {

// The words for invalid_argument where the call itself, not the system, refuses what it was given.
template <class C>
inline constexpr const char* misuse_of = nullptr;
template <class C>
  requires requires { C::misuse; }
inline constexpr const char* misuse_of<C> = C::misuse;

// Where a result of 0 would have another meaning.
inline constexpr const char* empty_buffer = "empty buffer";

// Throws what a call ended with, and says why where the library itself ended it.
[[noreturn]] ROUSE_COLD inline void throw_failed(failure error, const char* call,
                                                 const char* misuse) {
  std::string what = call;
  if (error == failure(std::errc::timed_out) && !ROUSE_WINDOWS)
    what += ": timed out"; // the C library's words go on about a connection
  else if (error == failure(std::errc::invalid_argument) && misuse)
    what.append(": ").append(misuse);
  throw_error(error.code(), what);
}

// A call that neither ends with its flow nor ends it: for destructors that must wait.
template <class C>
inline constexpr bool shielded = requires { requires C::shielded; };

// What is common to a call's life, however it is woken. `Receiver` derives from it and has `void
// deliver() noexcept`, called when a call that `start` left unfinished is finished; it may destroy
// the call.
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
  /// @param engine  null where the socket has none (any more): the call ends with
  /// bad_file_descriptor.
  pending_call(Engine* engine, Call&& call, Limit l)
      : Engine::operation(&pending_call::on_completed), engine_(engine), call_(keep(call)) {
    if constexpr (requires { this->mark.where; }) this->mark.where = l.at(); // an observer asks
    if constexpr (may_end) this->due = l.when().when();
    if constexpr (may_be_stopped) token_ = l.token();
  }

  ~pending_call() {
    if constexpr (may_be_stopped) {
      if (engine_) watch_.forget(*engine_);
    }
    if (in_progress()) [[unlikely]]
      engine_->abandon(*this);
    // An answer that nobody took.
    if constexpr (requires { call_.discard(*this, *engine_); }) {
      if (engine_) call_.discard(*this, *engine_);
    }
  }

  /// True: finished. False: `deliver` will be called, before this returns perhaps where the engine
  /// is shared.
  bool start() noexcept {
    if (engine_ && prepare()) [[likely]]
      return start_prepared();
    return end_unasked();
  }

  /// Ends the call before it begins.
  void refuse(failure why) noexcept { this->cancel_reason = why; }
  /// For receivers that must not be delivered to inside `start`.
  void deliver_later() noexcept {
    this->complete = &pending_call::on_finished;
    engine_->defer(*this);
  }

  /// Started, and not told yet.
  [[nodiscard]] bool in_progress() const noexcept { return this->state != operation_state::idle; }
  [[nodiscard]] Engine* engine() const noexcept { return engine_; }
  [[nodiscard]] std::error_code code() const noexcept { return this->error.code(); }
  [[nodiscard]] value_type value() { return value_of(call_, *this); }

  /// The result; what went wrong goes into `ec` if there is one, else it is thrown.
  value_type take(std::error_code* ec) {
    if (this->error || (ec && *ec)) [[unlikely]]
      report(this->error, ec);
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

  // The call is done without having asked the engine for anything: it counts like any other, and
  // one without an engine counts in the loop that its caller runs in.
  ROUSE_NOINLINE bool end_unasked() noexcept {
    if (!engine_) {
      this->error = std::errc::bad_file_descriptor;
      engine_ = running<Engine>::here();
      if (!engine_) return true;
    }
    this->complete = &pending_call::on_finished;
    return engine_->count(*this);
  }

  // A sleep sets `due` itself; the limit then counts only if it is earlier.
  ROUSE_ALWAYS_INLINE bool prepare() noexcept {
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
        this->cancel_reason = std::errc::operation_canceled;
      else
        watch_.watch(*engine_, *this, token_);
    }
    if (!submit_first()) return false;
    if (!call_.advance(*this) && !proceed()) [[unlikely]]
      return false;
    disarm();
    return true;
  }
  ROUSE_ALWAYS_INLINE bool submit_first() noexcept {
    if constexpr (requires { call_.waiter; })
      return engine_->submit(*this, call_.waiter);
    else
      return engine_->submit(*this);
  }

  // Another round, and another, until one has to wait (false) or the call is finished. After false,
  // `this` may be gone.
  ROUSE_NOINLINE bool proceed() noexcept {
    do {
      this->continues = true;
      this->error = {};
      this->bytes = 0;
      if (!engine_->submit(*this)) return false;
    } while (!call_.advance(*this));
    return true;
  }

  void disarm() noexcept {
    if constexpr (may_be_stopped) watch_.forget(*engine_);
  }

  ROUSE_HOT static void on_completed(rouse::operation& base) noexcept {
    auto& self = static_cast<pending_call&>(static_cast<typename Engine::operation&>(base));
    if (!self.call_.advance(self) && !self.proceed()) [[unlikely]]
      return;
    self.disarm();
    static_cast<Receiver&>(self).deliver();
  }
  ROUSE_HOT static void on_finished(rouse::operation& base) noexcept {
    auto& self = static_cast<pending_call&>(static_cast<typename Engine::operation&>(base));
    static_cast<Receiver&>(self).deliver();
  }

  Engine* engine_;
  ROUSE_NO_UNIQUE_ADDRESS kept<Call> call_;
  ROUSE_NO_UNIQUE_ADDRESS std::conditional_t<may_be_stopped, std::stop_token, nothing> token_;
  ROUSE_NO_UNIQUE_ADDRESS std::conditional_t<may_be_stopped, stop_watch<Engine>, no_watch> watch_;
};

} // namespace detail

/// A call in progress, for wakers of one's own that give something other than the value.
///
/// What `initiate` makes derives from it, as `Receiver`: it `start`s, and where that leaves the
/// call unfinished, `void deliver() noexcept` is called once it is finished, on the thread that
/// runs the engine, and may destroy the call. `take` then gives the value, or throws. Destroying
/// one that is unfinished cancels it and waits for the kernel to let go (O5).
template <class Engine, class Call, class Limit, class Receiver>
using pending_call = detail::pending_call<Engine, Call, Limit, Receiver>;

}} // namespace rouse::ROUSE_ABI

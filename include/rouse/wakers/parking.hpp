// The parking waker: a call suspends its caller until it completes, then returns its value. To wake
// in a way of your own, write a parker.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/call.hpp>
#include <rouse/core/flow.hpp>
#include <rouse/core/waiter.hpp>

#include <concepts>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

namespace rouse { inline namespace ROUSE_ABI {

/// A way to suspend a caller and to resume it: of a fiber library, a thread, a GUI's event loop.
///
/// Each call constructs one on the caller's stack: from the scheduler (`P(Scheduler&)`) if the type
/// allows it, else by default.
/// - `park()` suspends the caller until `unpark()`, which may be called first.
/// - `unpark() noexcept` is called once, on the thread that runs the engine. As soon as it takes
///   effect, the caller may return and destroy the parker.
template <class P>
concept parker = requires(P p) {
  p.park();
  { p.unpark() } noexcept;
};

namespace detail {

// An operation for a waiter that could not enter at once. It has no limit. `Suspension` suspends
// and resumes its caller.
template <class Engine, class Suspension>
class parked_wait final : Engine::operation {
public:
  explicit parked_wait(Suspension caller) noexcept
      : Engine::operation(&parked_wait::on_completed), caller_(caller) {}

  // Suspends the caller until the waiter is admitted or cancelled; returns the error, if any.
  ROUSE_ALWAYS_INLINE failure enqueue(Engine& engine, list<waiter>& line, waiter& waiter) {
    engine.enqueue(line, waiter, *this);
    caller_.wait_for(*this);
    return this->error;
  }

private:
  static void on_completed(rouse::operation& op) noexcept {
    static_cast<parked_wait&>(static_cast<typename Engine::operation&>(op)).caller_.resume();
  }

  const Suspension caller_;
};

template <class Engine, class Call, class Limit, class Parker>
class parked_call final
    : public pending_call<Engine, Call, Limit, parked_call<Engine, Call, Limit, Parker>> {
  using base = pending_call<Engine, Call, Limit, parked_call>;
  friend base;

public:
  template <class Scheduler>
  ROUSE_ALWAYS_INLINE static typename Call::value_type wait_for(Scheduler* s, Call&& call, Limit l,
                                                                std::error_code* ec) {
    // Optional in a parker: `uncancelled` says whether the caller is a flow that was not cancelled.
    // The waiter then tries to enter before an operation is constructed.
    if constexpr (
        waits_in_queue<Call> && !base::may_end && requires { Parker::uncancelled(*s); } &&
        requires(Engine& engine) { engine.may_enter(); }) {
      if (s && s->engine().may_enter()) {
        if (const auto caller = Parker::uncancelled(*s)) {
          Engine& engine = s->engine();
          failure why;
          if (list<waiter>* line = engine.try_enter(call.waiter, why))
            why = parked_wait<Engine, std::remove_const_t<decltype(caller)>>(caller).enqueue(
                engine, *line, call.waiter);
          if (why || (ec && *ec)) base::report(why, ec);
          return call.value();
        }
      }
    }
    return parked_call(s ? &s->engine() : nullptr, std::move(call), std::move(l)).run(s, ec);
  }

private:
  parked_call(Engine* engine, Call&& call, Limit l) : base(engine, std::move(call), std::move(l)) {}

  template <class Scheduler>
  ROUSE_ALWAYS_INLINE typename Call::value_type run(Scheduler* s, std::error_code* ec) {
    if (!s && this_flow())
      s = running<Scheduler>::here(); // waits there if its fairness budget is used up
    if (!s)
      (void)this->start();
    else if (const char* why = wait(*s))
      refuse(why, ec);
    return this->take(ec);
  }

  void refuse(const char* why, std::error_code* ec) {
    this->error = std::errc::operation_not_permitted;
    if (!ec) throw_error(this->code(), std::string(Call::name) + ": " + why);
  }

  // Returns null, or why the caller cannot wait.
  template <class Scheduler>
  ROUSE_ALWAYS_INLINE const char* wait(Scheduler& s) {
    static_assert(
        std::constructible_from<Parker, Scheduler&> || std::default_initializable<Parker>,
        "rouse: a parker is made for each call, from nothing or from the scheduler: give it such a "
        "constructor");
    Parker parker = make_parker(s);
    parker_ = &parker;
    // Optional in a parker: `refusal` says why the caller cannot be suspended; `enter` registers
    // the operation with the caller's flow, so that a cancel of the flow finds it.
    if constexpr (requires { parker.refusal(); }) {
      if (const char* why = parker.refusal()) return why;
    }
    if constexpr (!shielded<Call> && requires { parker.enter(*this); }) parker.enter(*this);
    if (this->start()) return nullptr;
    if constexpr (requires { parker.park(this); })
      parker.park(this);
    else
      parker.park();
    return nullptr;
  }

  template <class Scheduler>
  static Parker make_parker(Scheduler& s) {
    if constexpr (std::constructible_from<Parker, Scheduler&>)
      return Parker(s);
    else
      return Parker();
  }

  void deliver() noexcept { parker_->unpark(); }

  Parker* parker_; // set while the call waits
};

} // namespace detail

/// Suspends and resumes callers with `Parker`. The calls of a scheduler
/// `basic_scheduler<native_engine, parking_waker<my_parker>>` wait that way.
template <class Parker>
class parking_waker {
  static_assert(
      requires(Parker p) { p.park(); }, "rouse: a parker needs \"void park()\": it suspends the "
                                        "caller until unpark(), which may be called first");
  static_assert(
      requires(Parker p) {
        { p.unpark() } noexcept;
      }, "rouse: a parker needs \"void unpark() noexcept\": it is called on the thread that runs "
         "the engine");

public:
  static constexpr bool blocking = true;
  template <class Value, class... How>
  static constexpr bool accepts = detail::gives_back<How...>;

  /// Waits for the call to complete, then returns its value.
  template <class Scheduler, class Call, class Limit, class... How>
  ROUSE_ALWAYS_INLINE static typename Call::value_type initiate(Scheduler* s, Call&& call, Limit l,
                                                                How&&... how) {
    using engine = typename Scheduler::engine_type;
    return detail::parked_call<engine, Call, Limit, Parker>::wait_for(
        s, std::move(call), std::move(l), detail::error_of(std::forward<How>(how)...));
  }
};

}} // namespace rouse::ROUSE_ABI

// What an engine is.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/error.hpp>
#include <rouse/core/limit.hpp>
#include <rouse/core/operation.hpp>
#include <rouse/core/waiting.hpp>

#include <concepts>
#include <memory>
#include <string>

namespace rouse { inline namespace ROUSE_ABI {

/// What the layers above ask of an engine at work. It knows operations; it knows neither sockets'
/// methods nor wakers.
///
/// `basic_engine` is the one of this library; its comments say what each function promises.
template <class C>
concept engine_core = std::derived_from<typename C::operation, operation> &&
                      requires(C& c, typename C::operation& op, one_shot_event& g, socket_state& d,
                               failure& why, void* owner) {
                        { c.submit(op) } noexcept -> std::same_as<bool>;
                        { c.count(op) } noexcept -> std::same_as<bool>;
                        c.defer(op);
                        c.cancel(op, why);
                        c.abandon(op);
                        c.set(g);
                        c.with_completions([](completions&) {});
                        c.wake();
                        c.home().enter();
                        c.shut_down();
                        c.orphan(owner);
                        { c.turn((clock::time_point::max)()) } noexcept;
                        { c.idle() } noexcept -> std::same_as<bool>;
                        { c.open(owner, 0, 0, 0, why) } -> std::same_as<socket_state*>;
                        c.cancel(d);
                        { c.busy(d, true) } noexcept -> std::same_as<bool>;
                        c.close(d);
                        c.release(d);
                        c.give_back(d);
                        { c.report() } -> std::convertible_to<std::string>;
                      };

/// An engine as a scheduler names it: which core, and how one is made (null, with the reason in the
/// failure, where the system refuses).
template <class E>
concept engine = engine_core<typename E::core> && requires(failure& why) {
  { E::make(why) } -> std::convertible_to<std::unique_ptr<typename E::core>>;
};

/// Says in words what a type lacks to be an engine.
template <class E>
consteval void explain_engine() {
  static_assert(
      requires { typename E::core; },
      "rouse: an engine names its core: \"using core = ...;\", what it is at work");
  static_assert(
      requires(failure& why) { E::make(why); },
      "rouse: an engine needs \"static std::unique_ptr<core> make(failure& why)\"");
  if constexpr (requires { typename E::core; }) {
    static_assert(engine_core<typename E::core>,
                  "rouse: the core of this engine lacks what engine_core asks for; derive it "
                  "from basic_engine, which has all but what concerns the kernel");
  }
}

}} // namespace rouse::ROUSE_ABI

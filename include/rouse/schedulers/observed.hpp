// A scheduler with an observer in its engine.
#pragma once
#include <rouse/config.hpp>
#include <rouse/core/observer.hpp>
#include <rouse/detail/threading.hpp>
#include <rouse/schedulers/basic_scheduler.hpp>

namespace rouse { inline namespace ROUSE_ABI {
namespace detail {

template <class Scheduler, class Observer>
struct observe;
template <class Driver, class Threading, class Waker, class Observer>
struct observe<basic_scheduler<basic_engine<Driver, Threading>, Waker>, Observer> {
  using type = basic_scheduler<basic_engine<Driver, observed_by<Threading, Observer>>, Waker>;
};

} // namespace detail

/// The type of `Scheduler` with an observer in its engine: `age_observer`, `trace_observer`, or one
/// derived from `no_observer`.
///
///     rouse::observed<rouse::fibers, rouse::age_observer> sched;
template <class Scheduler, class Observer>
using observed = typename detail::observe<Scheduler, Observer>::type;

}} // namespace rouse::ROUSE_ABI
